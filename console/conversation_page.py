"""The conversation page: some of a conversation's turns as a chat, with search, editing and export.

It uses the same services and selectors as the API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse

from api.conversations.schemas import ConversationPatch
from console import staff
from console.admin.memories import link
from console.validation import validated
from conversations import lookup, services, transcript
from conversations.enrichment import entities
from conversations.messages import turn_of
from conversations.models import Conversation
from conversations.query import ConversationQuery
from conversations.search.semantic import search_messages
from conversations.transcript import Transcript, Turn
from conversations.transfer import exporting
from memories.models import Memory
from memories.search.relevance import FLOOR
from somamemory.errors import InvalidInput, SomaError
from somamemory.json_pieces import indented
from tenants.caller import Caller

PAGE = 50
HITS = 30
SHOWN = 20_000  # characters; longer messages are truncated
FORMATS = {exporting.MARKDOWN: "md", exporting.JSON: "json"}  # with the file extension of each


def described(request: HttpRequest, conversation: Conversation) -> dict[str, Any]:
    """Return what the page shows: the turns from `turn` onwards, and the hits of a search for `q`."""
    caller = staff.caller(request, conversation.tenant)
    user: Any = request.user
    shared = {
        "title": conversation.label or f"Conversation {conversation.number}",
        "conversation": conversation,
        "slug": conversation.tenant.slug,
        "may_read": "read" in caller.scopes,
        "may_change": user.has_perm("memories.change_memory") and "read" in caller.scopes,
        "export": reverse("admin:conversation_export", args=[conversation.tenant.slug, conversation.id]),
        "metadata": json.dumps(conversation.metadata, indent=2, ensure_ascii=False, sort_keys=True)[:SHOWN],
    }
    if not shared["may_read"]:
        return shared
    try:
        return {**shared, **_chat(request, caller, conversation), **_found(request, caller, conversation)}
    except SomaError as error:
        return {**shared, "problem": error.detail}


def change(request: HttpRequest, conversation: Conversation) -> None:
    """Set the label and the folder. Raises the same errors as the API's PATCH route, such as InvalidInput."""
    body = validated(ConversationPatch, {name: request.POST.get(name, "") for name in ("label", "folder")})
    services.change(staff.caller(request, conversation.tenant), conversation.id, body.required_changes())


def export(request: HttpRequest, slug: str, id: UUID) -> StreamingHttpResponse:
    """Download a conversation as a file that can be imported."""
    user: Any = request.user
    caller = staff.caller(request, staff.tenant_named(request, slug))
    format = request.GET.get("format", exporting.MARKDOWN)
    if not user.has_perm("conversations.view_conversation") or "read" not in caller.scopes:
        raise PermissionDenied
    if format not in FORMATS:
        raise InvalidInput("format", f"must be one of {', '.join(FORMATS)}")
    conversation = lookup.find(caller, id)
    pieces = exporting.export(caller, ConversationQuery(id=id), format)
    name = f'attachment; filename="conversation-{conversation.number}.{FORMATS[format]}"'
    response = StreamingHttpResponse(pieces, content_type=exporting.CONTENT_TYPES[format])
    response.headers["Content-Disposition"] = name
    return response


def _chat(request: HttpRequest, caller: Caller, conversation: Conversation) -> dict[str, Any]:
    given = request.GET.get("turn", "")
    turn = min(int(given), conversation.last_turn) if given.isascii() and given.isdigit() and len(given) < 11 else 1
    first = max(1, (turn - 1) // PAGE * PAGE + 1)
    part = transcript.read(caller, conversation, first, PAGE)
    return {
        "turn": turn,
        "first_turn": first,
        "last_shown": (part.next_turn or conversation.last_turn + 1) - 1,
        "previous_turn": max(1, first - PAGE) if first > 1 else None,
        "next_turn": part.next_turn,
        "days": [_day(caller, day, list(turns), part) for day, turns in groupby(part.turns, _day_of)],
        "empty": not part.turns,
    }


def _day_of(turn: Turn) -> Any:
    return turn.memory.created_at.date()


def _day(caller: Caller, day: Any, turns: Sequence[Turn], part: Transcript) -> dict[str, Any]:
    return {
        "date": day,
        "summaries": [
            {**memory.payload, "covers": memory.metadata["covers"], "link": link(caller.tenant.slug, memory.id)}
            for memory in part.summaries.get(day, ())
        ],
        "turns": [_turn(caller, turn, part.entities) for turn in turns],
    }


def _turn(caller: Caller, turn: Turn, named: Mapping[str, Memory]) -> dict[str, Any]:
    text = turn.message.text
    return {
        "number": turn.message.turn,
        "role": turn.message.role or "unknown",
        "text": text[:SHOWN],
        "cut": max(0, len(text) - SHOWN),
        "said_at": turn.message.said_at,
        "memory": turn.memory,
        "link": link(caller.tenant.slug, turn.memory.id),
        "name": turn.message.more.get("name"),
        "answers": turn.message.more.get("tool_call_id"),
        "calls": [_call(call) for call in turn.message.more.get("tool_calls") or ()],
        "parts": len(turn.message.more.get("content_parts") or ()),
        "facts": [_fact(caller, fact, named) for fact in turn.facts],
        "links": [_link(caller, turn, edge) for edge in turn.links],
    }


def _call(call: Any) -> dict[str, str]:
    """Return the name and the arguments of a tool call, which may be in OpenAI's format or any other format."""
    function = call.get("function", call) if isinstance(call, dict) else {}
    if not isinstance(function, dict):
        return {"name": "tool", "arguments": _indented(call)}
    arguments = function.get("arguments", call)
    text = _readable(arguments) if isinstance(arguments, str) else _indented(arguments)
    return {"name": str(function.get("name", "tool")), "arguments": text}


def _readable(arguments: str) -> str:
    """Indent JSON that an app has stored as text, and return any other text unchanged.

    The text may contain anything, even nesting and characters that the API rejects elsewhere.
    """
    if len(arguments) > SHOWN:
        return arguments[:SHOWN]
    try:
        text = _indented(json.loads(arguments))
        text.encode()  # a lone surrogate raises ValueError
    except (ValueError, RecursionError):
        return arguments
    return text


def _indented(value: Any) -> str:
    return indented(value, SHOWN)


def _fact(caller: Caller, fact: Memory, named: Mapping[str, Memory]) -> dict[str, Any]:
    slug = caller.tenant.slug
    mentioned = [(name, named.get(entities.normal(name))) for name in fact.payload.get("entities", ())]
    return {
        "text": fact.payload.get("text", ""),
        "link": link(slug, fact.id),
        "ended": fact.valid_to,
        "entities": [{"name": name, "link": link(slug, row.id) if row else ""} for name, row in mentioned],
    }


def _link(caller: Caller, turn: Turn, edge: Any) -> dict[str, Any]:
    outgoing = edge.from_key == turn.memory.coordinate_key
    other = edge.end if outgoing else edge.start
    page = reverse("admin:graph_link_change", args=[edge.pk], query={"tenant": caller.tenant.slug})
    return {"type": edge.link_type, "outgoing": outgoing, "coord": other.text, "page": page}


def _found(request: HttpRequest, caller: Caller, conversation: Conversation) -> dict[str, Any]:
    """Search the conversation by meaning and keyword, and return the best hits."""
    words = request.GET.get("q", "").strip()[:8192]
    if not words:
        return {}
    filters = {"conversation_id": str(conversation.id)}
    results = search_messages(caller, words, filters, limit=HITS, min_relevance=FLOOR, shown=False)
    hits = [
        {"turn": turn_of(hit.message.coordinate_key), "text": str(hit.message.payload.get("content", ""))[:200],
         "role": hit.message.payload.get("role", ""), "relevance": hit.relevance}
        for hit in results.hits
    ]  # fmt: skip
    return {"q": words, "hits": hits, "degraded": results.degraded}

"""The tools of Sekha's MCP server. Each returns the `data` of its response."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpResponse

from api.compat.sekha.conversation_routes import created
from api.compat.sekha.exports import text_of
from api.compat.sekha.presenters import hit, pruning
from api.compat.sekha.requests import body_of
from api.compat.sekha.search_routes import searched
from api.conversations import routes
from api.conversations.schemas import ConversationPatch, Folder, Label, MessageListParams
from api.enrichment.routes import dry_run
from api.enrichment.schemas import ConversationIdBody, PruneBody
from api.json import JsonObject
from api.request import Request
from api.schemas import Body, Id
from conversations import selectors
from conversations.query import ConversationQuery
from somamemory.errors import InvalidInput

MAX_MESSAGES = 1000
_DESCRIPTIONS = {
    "memory_store": "Store a conversation.",
    "memory_search": "Search the messages of conversations.",
    "memory_query": "Search the messages of conversations. Older name for memory_search.",
    "memory_get_context": "Get a conversation with its messages.",
    "memory_update": "Change the label, folder, status or importance of a conversation.",
    "memory_prune": "List conversations that could be archived.",
    "memory_export": "Get a conversation with its messages, as JSON or Markdown.",
    "memory_stats": "Count conversations: all, those in a folder, or those with a label.",
}


class ExportBody(ConversationIdBody):
    format: str = "json"
    include_metadata: bool = True


class StatsBody(Body):
    folder: Folder | None = None
    label: Label | None = None


def described() -> list[JsonObject]:
    return [
        {"name": name, "description": text, "endpoint": f"/mcp/tools/{name}"} for name, text in _DESCRIPTIONS.items()
    ]


def store(request: Request, body: JsonObject) -> JsonObject:
    stored = _json(created(request, body))
    return {name: stored[name] for name in ("conversation_id", "id", "label", "folder")}


def search(request: Request, body: JsonObject) -> JsonObject:
    found = query(request, body)
    return {
        "query": body["query"],
        "total_results": len(found["results"]),
        "limit": found["page_size"],
        "results": found["results"],
        **({"degraded": found["degraded"]} if found["degraded"] else {}),
    }


def query(request: Request, body: JsonObject) -> dict[str, Any]:
    found = _json(searched(request, body))
    return {**found, "results": [hit(item) for item in found["results"]]}


def update(request: Request, body: JsonObject) -> JsonObject:
    id = body_of(request, {"conversation_id": body.get("conversation_id")}, ConversationIdBody).conversation_id
    named = {name: value for name, value in body.items() if name != "conversation_id" and value is not None}
    changes = body_of(request, named, ConversationPatch)
    routes.patch(request, id, changes)
    return {
        "conversation_id": str(id),
        "updated_fields": sorted(changes.model_fields_set),
        "message": "Conversation updated successfully",
    }


def prune(request: Request, body: JsonObject) -> JsonObject:
    options = body_of(request, {name: value for name, value in body.items() if value is not None}, PruneBody)
    suggested = pruning(_json(dry_run(request, options)))
    return {
        "threshold_days": options.threshold_days,
        "importance_threshold": options.importance_threshold,
        "total_suggestions": suggested["total"],
        "estimated_token_savings": suggested["estimated_token_savings"],
        "suggestions": suggested["suggestions"],
    }


def get_context(request: Request, body: JsonObject) -> JsonObject:
    return _with_messages(request, body_of(request, body, ConversationIdBody).conversation_id)


def export(request: Request, body: JsonObject) -> JsonObject:
    options = body_of(request, body, ExportBody)
    context = _with_messages(request, options.conversation_id)
    messages = context.pop("messages")
    data: JsonObject = {
        "conversation": context,
        "messages": messages,
        "format": options.format,
        "include_metadata": options.include_metadata,
    }
    if options.format == "markdown":
        data["content"] = text_of(request, ConversationQuery(id=options.conversation_id), "markdown")
    return data


def stats(request: Request, body: JsonObject) -> JsonObject:
    options = body_of(request, body, StatsBody)
    if options.folder is not None and options.label is not None:
        raise InvalidInput("label", "cannot be combined with folder; send only one of them")
    summary = selectors.summary(request.caller, ConversationQuery(label=options.label, folder=options.folder))
    groups = {"labels": [options.label]} if options.label is not None else {"folders": summary.folders}
    return {
        "total_conversations": summary.count,
        "average_importance": summary.average_importance,
        **groups,
    }


def _with_messages(request: Request, id: Id) -> dict[str, Any]:
    """Return a conversation with its first thousand messages."""
    conversation = _json(routes.fetch(request, id))
    page = _json(routes.messages(request, id, MessageListParams(limit=MAX_MESSAGES)))
    shown: dict[str, Any] = {**conversation, "session_count": 1, "messages": page["items"]}
    if omitted := page["total"] - len(page["items"]):
        shown["messages_omitted"] = omitted
    return shown


def _json(response: HttpResponse) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(response.content)
    return body

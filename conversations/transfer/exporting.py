"""Export conversations as streamed files that `importing` can read, with only one page of messages in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from conversations.lifecycle import tiers
from conversations.messages import Message
from conversations.models import Conversation
from conversations.query import ConversationQuery
from conversations.transfer.formats import simple, text
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.times import rfc3339
from tenants.caller import Caller

JSON, JSONL, MARKDOWN = "json", "jsonl", "markdown"
CONTENT_TYPES = {
    JSON: "application/json",
    JSONL: "application/x-ndjson",
    MARKDOWN: "text/markdown; charset=utf-8",
}
_PAGE = 500


def export(caller: Caller, query: ConversationQuery, format: str) -> Iterator[bytes]:
    """Yield the contents of the file, with the conversations ordered by number. The file is not a snapshot."""
    caller.require("read", [CONVERSATIONS])
    return _EXPORTS[format](caller, query)


def _json(caller: Caller, query: ConversationQuery) -> Iterator[bytes]:
    yield b"["
    for at, conversation in enumerate(_conversations(caller, query)):
        yield b",\n" if at else b"\n"
        yield from _object(caller, conversation)
    yield b"\n]\n"


def _jsonl(caller: Caller, query: ConversationQuery) -> Iterator[bytes]:
    for conversation in _conversations(caller, query):
        yield from _object(caller, conversation)
        yield b"\n"


def _object(caller: Caller, conversation: Conversation) -> Iterator[bytes]:
    yield orjson.dumps(_properties(conversation))[:-1] + b',"messages":['
    for at, message in enumerate(_messages(caller, conversation)):
        yield (b"," if at else b"") + orjson.dumps(message)
    yield b"]}"


def _markdown(caller: Caller, query: ConversationQuery) -> Iterator[bytes]:
    for conversation in _conversations(caller, query):
        heading = " ".join(conversation.label.split()) or "Conversation"
        head = f"{text.mark('conversation', _properties(conversation))}\n# {heading}\n\n"
        yield head.encode()
        for message in _messages(caller, conversation):
            content = message.pop("content")
            part = f"{text.mark('message', message)}\n## {message['role']}\n\n{text.escaped(content)}\n\n"
            yield part.encode()


def _conversations(caller: Caller, query: ConversationQuery) -> Iterator[Conversation]:
    """Yield the conversations, reading them page by page.

    A single query would keep a transaction open until the client has downloaded the file.
    """
    rows = Conversation.objects.for_tenant(caller.tenant).filter(query.condition()).order_by("key")
    page = list(rows[:_PAGE])
    while page:
        yield from page
        page = list(rows.filter(key__gt=page[-1].key)[:_PAGE])


def _messages(caller: Caller, conversation: Conversation) -> Iterator[dict[str, Any]]:
    for row in tiers.messages(caller, conversation):
        message = Message.of(row)
        yield {
            "role": message.role,
            "content": message.text,
            **message.more,
            "timestamp": rfc3339(message.said_at),
            "metadata": row.metadata,
        }


def _properties(conversation: Conversation) -> dict[str, Any]:
    return {
        "format": simple.FORMAT,
        "id": str(conversation.id),
        "external_id": conversation.external_id,
        "label": conversation.label,
        "folder": conversation.folder,
        "status": conversation.status,
        "importance_score": conversation.importance,
        "metadata": conversation.metadata,
        **conversation.ids,
        "created_at": rfc3339(conversation.created_at),
        "updated_at": rfc3339(conversation.updated_at),
    }


_EXPORTS = {JSON: _json, JSONL: _jsonl, MARKDOWN: _markdown}

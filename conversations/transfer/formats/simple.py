"""Our own export, and the simple formats that many tools use: an object with `messages`, a list of messages, or a file
that consists of the messages of one conversation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from conversations.messages import MORE, NewMessage
from conversations.models import DEFAULT_IMPORTANCE
from conversations.transfer.formats.base import Imported, Unreadable, label_of, moment, role_of
from conversations.transfer.formats.claude import text_of
from memories.models import IDS, Ids
from memories.payloads import Json

SOMA = "soma"
SOURCE = "messages"
FORMAT = "somamemory.conversation/1"
_KEPT = tuple(name for name in MORE if name != "content_parts")  # fields of model APIs to keep; parts become text


def is_ours(item: Json) -> bool:
    return item.get("format") == FORMAT


def is_message(item: Any) -> bool:
    """Return whether an object at the top level of a file is a message. If so, the file is one conversation."""
    if not isinstance(item, dict) or isinstance(item.get("messages"), list):
        return False
    return isinstance(item.get("role", item.get("sender")), str) and ("content" in item or "text" in item)


def is_one(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("messages"), list)


def ours(item: Json) -> Imported:
    """Read a conversation from our own export. Raises Unreadable if it is not valid."""
    importance = item.get("importance_score", DEFAULT_IMPORTANCE)
    if isinstance(importance, bool) or not isinstance(importance, int | float) or not 1 <= importance <= 10:
        raise Unreadable("importance_score must be a number between 1 and 10")
    return Imported(
        source=SOMA,
        source_id=_text(item, "id"),
        messages=[_ours(message) for message in item["messages"]],
        label=_text(item, "label"),
        folder=_text(item, "folder"),
        status=_text(item, "status") or "active",
        importance=float(importance),
        metadata=_object(item.get("metadata")),
        created_at=moment(item.get("created_at")),
        ids=_ids(item),
        external_id=_text(item, "external_id") or None,
    )


def conversation(item: Json) -> Imported:
    """Read a conversation that another tool exported. Raises Unreadable if it is not valid."""
    left_out: Counter[str] = Counter()
    messages = [message for raw in item["messages"] if (message := _message(raw, left_out)) is not None]
    label, full_title = label_of(item.get("label") or item.get("title") or item.get("name"))
    given = item.get("id") or item.get("uuid") or item.get("conversation_id")
    source_id = str(given) if isinstance(given, str | int) else by_beginning(label, messages)
    return Imported(
        source=SOURCE,
        source_id=source_id,
        messages=messages,
        label=label,
        folder=item["folder"] if isinstance(item.get("folder"), str) else "",
        metadata={"imported_from": SOURCE, "source_id": source_id, **full_title},
        created_at=moment(item.get("created_at") or item.get("create_time")),
        left_out=+left_out,
    )


def by_beginning(label: str, messages: list[NewMessage]) -> str:
    """Return an id for a conversation without one. Appending messages to the conversation does not change this id."""
    first = messages[0].content if messages else ""
    return hashlib.sha256(f"{label}\0{first}".encode("utf-8", "surrogatepass")).hexdigest()


def _ours(raw: Any) -> NewMessage:
    if not isinstance(raw, dict) or not isinstance(raw.get("content"), str):
        raise Unreadable("a message has no content")
    return NewMessage(
        role=role_of(raw.get("role")),
        content=raw["content"],
        metadata=_object(raw.get("metadata")),
        timestamp=moment(raw.get("timestamp")),
        more={name: raw[name] for name in MORE if _is_as_exported(name, raw.get(name))},
    )


def _is_as_exported(name: str, value: Any) -> bool:
    if name in ("content_parts", "tool_calls"):
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return isinstance(value, str)


def _message(raw: Any, left_out: Counter[str]) -> NewMessage | None:
    if not isinstance(raw, dict):
        raise Unreadable("a message is not an object")
    content = raw.get("content", raw.get("text"))
    text = "\n\n".join(part for part in text_of(content, left_out) if part.strip())
    more = {name: raw[name] for name in _KEPT if raw.get(name) and _is_as_exported(name, raw[name])}
    if not text and "tool_calls" not in more and "tool_call_id" not in more:
        left_out["empty"] += 1
        return None
    metadata = raw.get("metadata")
    return NewMessage(
        role=role_of(raw.get("role") or raw.get("sender")),
        content=text,
        metadata=metadata if isinstance(metadata, dict) else {},
        timestamp=moment(raw.get("timestamp") or raw.get("created_at")),
        more=more,
    )


def _ids(item: Json) -> Ids:
    user, agent, session = (_text(item, name) or None for name in IDS)
    return Ids(user_id=user, agent_id=agent, session_id=session)


def _text(item: Json, name: str) -> str:
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"{name} must be a string")
    return value or ""


def _object(value: Any) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("metadata must be an object")
    return value

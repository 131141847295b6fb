"""Conversations read from a file, their limits, and errors for invalid parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings

from conversations import content_parts, folders
from conversations.messages import NewMessage
from conversations.models import (
    DEFAULT_IMPORTANCE,
    MAX_LABEL_LENGTH,
    MAX_METADATA_BYTES,
    Conversation,
    problem_with_external_id,
)
from memories.models import Ids
from memories.payloads import Json
from somamemory import times
from tenants.models import problem_with_id

MAX_CONTENT_LENGTH = 1_000_000  # characters per message
MAX_MESSAGES = 50_000  # messages per conversation
MAX_SOURCE_ID_LENGTH = 255
MAX_DEPTH = 32  # nesting depth of metadata and message parts, as in the API
_INT64 = 1 << 63
_NOT_STORABLE = "contains a NUL character or an unpaired surrogate, which cannot be stored"
_ROLES = {
    "user": "user", "human": "user", "you": "user", "me": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "bot": "assistant",
    "chatgpt": "assistant", "claude": "assistant", "gemini": "assistant", "gpt": "assistant",
    "system": "system", "developer": "developer",
    "tool": "tool", "function": "tool",
}  # fmt: skip


class Unreadable(ValueError):
    """Raised if a conversation cannot be imported; the message says why. Other conversations are not affected."""


@dataclass(frozen=True)
class Broken:
    """A part of the source that is not a valid conversation, with its position."""

    place: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """An imported conversation. `left_out` counts the parts that are not messages, by kind."""

    source: str
    source_id: str
    messages: list[NewMessage]
    label: str = ""
    folder: str = ""
    status: str = Conversation.Status.ACTIVE
    importance: float = DEFAULT_IMPORTANCE
    metadata: Json = field(default_factory=dict)
    created_at: datetime | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    ids: Ids = field(default_factory=Ids)
    external_id: str | None = None


def dated(item: Imported) -> Imported:
    """Give each message without a time the time of the message before it, so that times follow the order of the turns.

    The first messages get the first time that is known. If none is known, the messages count as sent now.
    """
    at = next((message.timestamp for message in item.messages if message.timestamp is not None), None)
    messages = []
    for message in item.messages:
        at = message.timestamp or at
        messages.append(replace(message, timestamp=at))
    return replace(item, messages=messages)


def checked(item: Imported) -> Imported:
    """Return the conversation. Raises Unreadable if it cannot be stored unchanged."""
    _check_text("id", item.source_id, MAX_SOURCE_ID_LENGTH)
    if not item.source_id:
        raise Unreadable("its id is missing")
    _check_text("label", item.label, MAX_LABEL_LENGTH)
    if not _storable(item.folder):
        raise Unreadable(f"its folder {_NOT_STORABLE}")
    if problem := folders.problem(item.folder):
        raise Unreadable(f"its folder {problem}")
    if item.status not in Conversation.Status.values:
        raise Unreadable("its status must be one of " + ", ".join(Conversation.Status.values))
    if len(item.messages) > MAX_MESSAGES:
        raise Unreadable(f"it has {len(item.messages)} messages, more than the limit of {MAX_MESSAGES}")
    for name, id in item.ids.items():
        if id is not None and (problem := problem_with_id(str(id))):
            raise Unreadable(f"its {name} {problem}")
    if item.external_id is not None and (problem := problem_with_external_id(item.external_id)):
        raise Unreadable(f"its external_id {problem}")
    _check_metadata(item.metadata)
    for turn, message in enumerate(item.messages, start=1):
        _check_message(turn, message)
    return item


def _check_text(name: str, text: str, max_length: int) -> None:
    if len(text) > max_length:
        raise Unreadable(f"its {name} is longer than {max_length} characters")
    if not _storable(text):
        raise Unreadable(f"its {name} {_NOT_STORABLE}")


def _check_message(turn: int, message: NewMessage) -> None:
    if len(message.content) > MAX_CONTENT_LENGTH:
        raise Unreadable(f"message {turn} is longer than {MAX_CONTENT_LENGTH} characters")
    if not _storable(message.content):
        raise Unreadable(f"message {turn} {_NOT_STORABLE}")
    _check_json(message.metadata, f"the metadata of message {turn}")
    if message.more:
        _check_more(turn, message.more)
    if len(orjson.dumps([message.metadata, message.more])) > settings.MAX_BODY_BYTES:
        raise Unreadable(f"the metadata and parts of message {turn} are larger than {settings.MAX_BODY_BYTES} bytes")


def _check_more(turn: int, more: Json) -> None:
    """Apply the API's limits to the fields of a message other than its text."""
    for name, value in more.items():
        what = f"{name} of message {turn}"
        if len(value) > (content_parts.MAX_NAME_LENGTH if isinstance(value, str) else content_parts.MAX_PARTS):
            raise Unreadable(f"{what} is too long")
        _check_json(value, what)
    for part in more.get("content_parts", ()):
        if problem := content_parts.problem(part):
            raise Unreadable(f"a part of message {turn} {problem}")


def _check_metadata(metadata: Json) -> None:
    _check_json(metadata, "its metadata")
    if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
        raise Unreadable(f"its metadata is larger than {MAX_METADATA_BYTES} bytes")


def role_of(name: object) -> str:
    """Return the role that corresponds to a speaker's name in an export. Raises Unreadable if there is none."""
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise Unreadable(f"unknown role {str(name)[:50]!r}")
    return role


def is_role(name: str) -> bool:
    return name.lower() in _ROLES


def label_of(title: object) -> tuple[str, Json]:
    """Return a label and metadata. A title that is too long for a label is kept in full in the metadata."""
    text = title.strip() if isinstance(title, str) else ""
    if len(text) > MAX_LABEL_LENGTH:
        text = " ".join(text.split())
    if len(text) <= MAX_LABEL_LENGTH:
        return text, {}
    return text[: MAX_LABEL_LENGTH - 1] + "…", {"title": text}


def moment(value: object) -> datetime | None:
    """Parse a time, given in RFC 3339 format or as seconds since 1970.

    Return None for None, "" and numbers that are not finite and positive. Raises Unreadable for other invalid values.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, int | float):
            if not math.isfinite(value) or value <= 0:
                return None
            instant = datetime.fromtimestamp(value, UTC)
        else:
            instant = datetime.fromisoformat(str(value))
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
        if not times.is_convertible(instant):
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"{str(value)[:50]!r} is not a valid time") from None
    return instant.astimezone(UTC)


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list, or an empty list if the value is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def _check_json(value: Any, what: str) -> None:
    """Apply the API's limits to JSON that is stored unchanged. Raises Unreadable if it exceeds a limit."""
    nodes = [(value, 0)]
    while nodes:
        node, depth = nodes.pop()
        if depth > MAX_DEPTH:
            raise Unreadable(f"{what} is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, dict):
            nodes += [(child, depth + 1) for pair in node.items() for child in pair]
        elif isinstance(node, list):
            nodes += [(child, depth + 1) for child in node]
        elif isinstance(node, str):
            if not _storable(node):
                raise Unreadable(f"{what} {_NOT_STORABLE}")
        elif isinstance(node, int) and not -_INT64 <= node < _INT64:
            raise Unreadable(f"{what} contains an integer outside the 64-bit range")
        elif isinstance(node, float) and not math.isfinite(node):
            raise Unreadable(f"{what} contains a number that is not finite")

"""What an import is made of: conversations as their source tells them, and what could not be read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from conversations import folders
from conversations.messages import NewMessage
from conversations.models import DEFAULT_IMPORTANCE, MAX_LABEL_LENGTH, MAX_METADATA_BYTES, Conversation
from memories.payloads import Json

MAX_CONTENT_LENGTH = 1_000_000  # characters of one message
MAX_MESSAGES = 50_000  # of one conversation
MAX_SOURCE_ID_LENGTH = 255
_MAX_DEPTH = 16  # of metadata
_MAX_NODES = 10_000
_INT64 = 1 << 63
_ROLES = {
    "user": "user", "human": "user", "you": "user", "me": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "bot": "assistant",
    "chatgpt": "assistant", "claude": "assistant", "gemini": "assistant", "gpt": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool",
}  # fmt: skip


class Unreadable(ValueError):
    """This conversation cannot be taken over; the message says why. The others can."""


@dataclass(frozen=True)
class Broken:
    """Something in the source that is no conversation, and where it stands."""

    place: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """A conversation as its source tells it. `left_out` counts what stands there and is no message, by kind."""

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


def checked(found: Imported) -> Imported:
    """The conversation, if it could be stored as it is. Raises Unreadable."""
    if not 0 < len(found.source_id) <= MAX_SOURCE_ID_LENGTH or not _storable(found.source_id):
        raise Unreadable("its id is missing, too long, or holds what is no text")
    if len(found.label) > MAX_LABEL_LENGTH or not _storable(found.label):
        raise Unreadable(f"its label is longer than {MAX_LABEL_LENGTH} characters, or holds what is no text")
    if not _storable(found.folder) or (problem := folders.problem(found.folder)):
        raise Unreadable(f"its folder {problem}" if _storable(found.folder) else "its folder holds what is no text")
    if found.status not in Conversation.Status.values:
        raise Unreadable("its status is none of " + ", ".join(Conversation.Status.values))
    if not 1 <= found.importance <= 10:
        raise Unreadable("its importance is not between 1 and 10")
    if len(found.messages) > MAX_MESSAGES:
        raise Unreadable(f"it has {len(found.messages)} messages; at most {MAX_MESSAGES} are taken over")
    _check_metadata(found.metadata)
    for turn, message in enumerate(found.messages, start=1):
        if len(message.content) > MAX_CONTENT_LENGTH:
            raise Unreadable(f"message {turn} is longer than {MAX_CONTENT_LENGTH} characters")
        if not _storable(message.content):
            raise Unreadable(f"message {turn} holds a NUL character or half of one, which no database can keep")
        _check_json(message.metadata, f"the metadata of message {turn}")
    return found


def _check_metadata(metadata: Json) -> None:
    _check_json(metadata, "its metadata")
    if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
        raise Unreadable(f"its metadata have more than {MAX_METADATA_BYTES} bytes")


def role_of(name: object) -> str:
    """Raises Unreadable for a role that is none of ours, by whatever name."""
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise Unreadable(f"somebody speaks as {str(name)[:50]!r}, which is no role")
    return role


def is_role(name: str) -> bool:
    return name.lower() in _ROLES


def label_of(title: object) -> tuple[str, Json]:
    """A label, and what to note of a title that is too long to be one."""
    text = title.strip() if isinstance(title, str) else ""
    if len(text) > MAX_LABEL_LENGTH:
        text = " ".join(text.split())
    if len(text) <= MAX_LABEL_LENGTH:
        return text, {}
    return text[: MAX_LABEL_LENGTH - 1] + "…", {"title": text}


def moment(value: object) -> datetime | None:
    """Seconds since 1970, or an RFC 3339 time; None stays none. Raises Unreadable."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC) if math.isfinite(value) and value > 0 else None
        instant = datetime.fromisoformat(str(value))
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        if not 1 < instant.year < 9999:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"{str(value)[:50]!r} is no time") from None
    return instant.astimezone(UTC)


def objects(value: object) -> list[dict[str, Any]]:
    """Those items of a list that are objects; of anything else, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def _check_json(value: Any, what: str) -> None:
    """Metadata that the API would have taken, too."""
    nodes, left = [(value, 0)], _MAX_NODES
    while nodes:
        node, depth = nodes.pop()
        left -= 1
        if depth > _MAX_DEPTH or left < 0:
            raise Unreadable(f"{what} is nested deeper than {_MAX_DEPTH}, or has more than {_MAX_NODES} values")
        if isinstance(node, dict):
            nodes += [(each, depth + 1) for pair in node.items() for each in pair]
        elif isinstance(node, list):
            nodes += [(each, depth + 1) for each in node]
        elif isinstance(node, str):
            if not _storable(node):
                raise Unreadable(f"{what} holds a NUL character or half of one, which no database can keep")
        elif isinstance(node, int) and not -_INT64 <= node < _INT64:
            raise Unreadable(f"{what} holds a whole number outside the 64-bit range")
        elif isinstance(node, float) and not math.isfinite(node):
            raise Unreadable(f"{what} holds a number that is not finite")

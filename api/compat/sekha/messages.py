"""Translate messages from Sekha's clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from api.compat.changes import Changes
from api.compat.lenient import known
from api.compat.sekha.requests import ALIASES, a_time
from api.conversations.schemas import MAX_CONTENT_LENGTH, MessageBody, Role
from api.json import JsonObject
from api.schemas import MAX_BULK
from somamemory.errors import InvalidInput

MAX_MESSAGES = 20 * MAX_BULK
_ROLES = get_args(Role)


def translated(messages: object, changes: Changes) -> list[object]:
    """Convert messages, as far as possible, to the form that our routes accept.

    Raises InvalidInput if there are too many.
    """
    if not isinstance(messages, list):
        return [messages] if messages else []
    if len(messages) > MAX_MESSAGES:
        raise InvalidInput("messages", f"must have at most {MAX_MESSAGES:,} items; store them in several requests")
    found: list[object] = []
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            found += _message(message, f"messages.{index}", changes)
        else:
            found.append(message)  # the schema rejects it
    return found


def text_of(content: object) -> object:
    """Return a query's text. The query may be given as content parts."""
    if not isinstance(content, list):
        return content
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _message(raw: JsonObject, at: str, changes: Changes) -> Iterator[JsonObject]:
    message = known(raw, MessageBody, changes, f"{at}.", ALIASES)
    message["role"] = _role(message, at, changes)
    if "timestamp" in message:
        message["timestamp"] = a_time(message["timestamp"], f"{at}.timestamp", changes)
    if isinstance(parts := message.get("content"), list):
        message["content"] = [_part(part) for part in parts]
    if _is_empty(message):
        changes.note(at, "empty, dropped")
        return
    yield from _pieces(message, at, changes)


def _role(message: JsonObject, at: str, changes: Changes) -> object:
    role = message.get("role")
    if not isinstance(role, str) or role in _ROLES:
        return role
    changes.note(f"{at}.role", "unknown, stored as user")
    return "user"


def _part(part: object) -> object:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, dict) and "type" not in part and "text" in part:
        return {"type": "text", **part}
    return part


def _is_empty(message: JsonObject) -> bool:
    content = message.get("content")
    if message.get("role") == "tool" or message.get("tool_calls") or not isinstance(content, str | list | None):
        return False
    if isinstance(content, list):
        return not content or all(_is_blank_text(part) for part in content)
    return not (content or "").strip()


def _is_blank_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and not str(part.get("text", "")).strip()


def _pieces(message: JsonObject, at: str, changes: Changes) -> Iterator[JsonObject]:
    """Yield the message, or several messages if its text exceeds the maximum length."""
    content = message.get("content")
    if not isinstance(content, str) or len(content) <= MAX_CONTENT_LENGTH:
        yield message
        return
    texts = [content[start : start + MAX_CONTENT_LENGTH] for start in range(0, len(content), MAX_CONTENT_LENGTH)]
    texts = [text for text in texts if text.strip()]
    changes.note(at, f"stored as {len(texts)} messages, because of its length")
    for text in texts:
        yield {**message, "content": text}

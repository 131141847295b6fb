"""Tool results: compact memories, and lists that fit within a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from conversations.context import tokens

_TEXT_FIELDS = ("content", "text")
_PLAIN = (
    "key",
    "score",
    "relevance",
    "version",
    "created_at",
    "updated_at",
    "expires_at",
    "valid_from",
    "valid_to",
    "source",
)
_OWNERS = ("user_id", "agent_id", "session_id")
_MARKS = 40  # tokens reserved for the fields that say what was left out


def memory(memory: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a model needs from a route's JSON for a memory.

    Empty fields are left out.
    """
    result: dict[str, Any] = {"id": memory["id"], **_payload(memory["payload"])}
    result |= {name: memory[name] for name in (*_PLAIN, *_OWNERS) if memory.get(name) is not None}
    result |= {name: memory[name] for name in ("metadata", "importance") if memory[name]}
    if memory["memory_type"] != "episodic":
        result["memory_type"] = memory["memory_type"]
    return result | {name: round(result[name], 3) for name in ("score", "relevance") if name in result}


def text_of(payload: dict[str, Any]) -> str:
    """Return the text of a payload, or the payload as JSON if it contains anything besides text."""
    fields = _payload(payload)
    return str(fields["content"]) if "content" in fields else orjson.dumps(payload).decode()


def within(items: Sequence[dict[str, Any]], max_tokens: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the longest prefix of items whose JSON fits in the token budget, and whether it contains all items.

    If even the first item is too long, it is returned with only the beginning of its text, and with `truncated` set.
    """
    if len(orjson.dumps(items)) <= max_tokens:  # a token is at least one byte, so there is no need to count tokens
        return list(items), True
    sizes = tokens.count(_countable(items, max_tokens))
    kept, used = 0, _MARKS
    while kept < len(sizes) and used + sizes[kept] <= max_tokens:
        used += sizes[kept]
        kept += 1
    if not kept and items:
        return [_shortened(items[0], max_tokens)], len(items) == 1
    return list(items[:kept]), kept == len(items)


def _countable(items: Sequence[dict[str, Any]], max_tokens: int) -> list[str]:
    """Return the first items as JSON, without those that would certainly exceed the budget.

    Counting the tokens in 10 MB of JSON would take up 735 MB of memory.
    """
    texts: list[str] = []
    left = max_tokens * tokens.LONGEST_TOKEN
    for item in items:
        text = orjson.dumps(item).decode()
        left -= len(text)
        if left < 0:
            break
        texts.append(text)
    return texts


def shortened(text: str, max_tokens: int) -> tuple[str, bool]:
    """Truncate a text to the token budget. Return the text, and whether it was truncated."""
    if len(text.encode()) <= max_tokens:
        return text, False
    beginning = tokens.cut(text, max_tokens)
    return beginning, len(beginning) < len(text)


def _payload(payload: dict[str, Any]) -> dict[str, Any]:
    if len(payload) == 1:
        name, text = next(iter(payload.items()))
        if name in _TEXT_FIELDS and isinstance(text, str):
            return {"content": text}
    return {"payload": payload}


def _shortened(item: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """Return the item with the beginning of its text, without its metadata, and without its key if the key is long."""
    few: dict[str, Any] = {name: item[name] for name in ("id", "key", "score", "version", "created_at") if name in item}
    if _cost(few) > max_tokens / 2:
        few.pop("key", None)
    text = item.get("content") or orjson.dumps(item.get("payload", item)).decode()
    size = left = max(max_tokens - _MARKS - _cost(few), 0)
    while size and (cost := _cost(tokens.cut(text, size))) > left:  # as JSON, quotes and line breaks are longer
        size = size * left // cost
    return {**few, "content": tokens.cut(text, size), "truncated": True}


def _cost(value: Any) -> int:
    """Return the number of tokens in a value's JSON."""
    return tokens.count([orjson.dumps(value).decode()])[0]

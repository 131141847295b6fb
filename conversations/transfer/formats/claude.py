"""Claude's export: `conversations.json` with `chat_messages`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from conversations.messages import NewMessage
from conversations.transfer.formats.base import Imported, Unreadable, label_of, moment, objects, role_of
from memories.payloads import Json

SOURCE = "claude"
_MAX_INDENTED_LEVELS = 16
_IMAGES = {"image", "image_url", "input_image"}
_NOT_SAID = {"thinking", "redacted_thinking", "token_budget", "flag"}


def is_one(item: Json) -> bool:
    return isinstance(item.get("chat_messages"), list)


def conversation(item: Json) -> Imported:
    """Read a conversation from Claude's export. Raises Unreadable if it is not valid."""
    left_out: Counter[str] = Counter()
    messages = [message for raw in item["chat_messages"] if (message := _message(raw, left_out)) is not None]
    source_id = item.get("uuid") or item.get("id")
    if not isinstance(source_id, str):
        raise Unreadable("uuid is missing")
    label, full_title = label_of(item.get("name"))
    return Imported(
        source=SOURCE,
        source_id=source_id,
        messages=messages,
        label=label,
        metadata={"imported_from": SOURCE, "source_id": source_id, **full_title},
        created_at=moment(item.get("created_at")),
        left_out=+left_out,
    )


def _message(raw: Any, left_out: Counter[str]) -> NewMessage | None:
    if not isinstance(raw, dict):
        raise Unreadable("a message is not an object")
    # Newer exports have blocks in `content`; older ones have only `text`.
    texts = list(text_of(raw.get("content"), left_out)) or _text(raw.get("text"))
    for file in objects(raw.get("attachments")):
        texts.append(
            f"[file: {file.get('file_name') or 'without a name'}]\n{file.get('extracted_content') or ''}".strip()
        )
    texts += [f"[file: {file['file_name']}]" for file in objects(raw.get("files")) if file.get("file_name")]
    text = "\n\n".join(part for part in texts if part.strip())
    if not text:
        left_out["empty"] += 1
        return None
    source_id = raw.get("uuid")
    return NewMessage(
        role=role_of(raw.get("sender")),
        content=text,
        metadata={"source_id": source_id} if isinstance(source_id, str) else {},
        timestamp=moment(raw.get("created_at")),
    )


def _text(value: object) -> list[str]:
    return [value] if isinstance(value, str) else []


def text_of(content: object, left_out: Counter[str]) -> Iterator[str]:
    """Yield the content if it is a string, otherwise the text of each content block (as in Anthropic's API)."""
    if isinstance(content, str):
        yield content
        return
    for block in objects(content):
        kind = str(block.get("type"))
        if kind in _NOT_SAID:
            left_out["thoughts"] += 1
        elif kind == "tool_use":
            yield f"[tool: {block.get('name')}]\n{_json(block.get('input'))}"
        elif kind == "tool_result":
            yield f"[result: {block.get('name') or 'tool'}]\n" + "\n".join(text_of(block.get("content"), left_out))
        elif isinstance(block.get("text"), str):
            yield block["text"]
        elif kind in _IMAGES:
            yield "[image]"


def _json(value: Any) -> str:
    """Return JSON, indented unless it is so deeply nested that the indentation would multiply its size."""
    return json.dumps(value, ensure_ascii=False, indent=2 if _is_shallow(value) else None)


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_INDENTED_LEVELS):
        level = [child for node in level for child in _children(node)]
        if not level:
            return True
    return False


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()

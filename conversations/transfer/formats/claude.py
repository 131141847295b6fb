"""Claude's export: `conversations.json` with `chat_messages`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from conversations.messages import NewMessage
from conversations.transfer.formats.base import Imported, Unreadable, label_of, moment, objects, role_of
from memories.payloads import Json

SOURCE = "claude"
_NOT_SAID = {"thinking", "redacted_thinking", "token_budget", "flag"}


def is_one(item: Json) -> bool:
    return isinstance(item.get("chat_messages"), list)


def conversation(item: Json) -> Imported:
    """Raises Unreadable."""
    left_out: Counter[str] = Counter()
    messages = [message for told in item["chat_messages"] if (message := _message(told, left_out)) is not None]
    source_id = item.get("uuid") or item.get("id")
    if not isinstance(source_id, str):
        raise Unreadable("it has no uuid")
    label, more = label_of(item.get("name"))
    return Imported(
        source=SOURCE,
        source_id=source_id,
        messages=messages,
        label=label,
        metadata={"imported_from": SOURCE, "source_id": source_id, **more},
        created_at=moment(item.get("created_at")),
        left_out=+left_out,
    )


def _message(told: Any, left_out: Counter[str]) -> NewMessage | None:
    if not isinstance(told, dict):
        raise Unreadable("one of its messages is no object")
    # Newer exports have everything in `content`, older ones only the `text`.
    texts = list(text_of(told.get("content"), left_out)) or _text(told.get("text"))
    for file in objects(told.get("attachments")):
        texts.append(
            f"[file: {file.get('file_name') or 'without a name'}]\n{file.get('extracted_content') or ''}".strip()
        )
    texts += [f"[file: {file['file_name']}]" for file in objects(told.get("files")) if file.get("file_name")]
    text = "\n\n".join(each for each in texts if each.strip())
    if not text:
        left_out["empty"] += 1
        return None
    source_id = told.get("uuid")
    return NewMessage(
        role=role_of(told.get("sender")),
        content=text,
        metadata={"source_id": source_id} if isinstance(source_id, str) else {},
        timestamp=moment(told.get("created_at")),
    )


def _text(value: object) -> list[str]:
    return [value] if isinstance(value, str) else []


def text_of(content: object, left_out: Counter[str]) -> Iterator[str]:
    """The words of a text, or of the blocks of Anthropic's messages."""
    if isinstance(content, str):
        yield content
        return
    for block in objects(content):
        kind = block.get("type")
        if kind in _NOT_SAID:
            left_out["thoughts"] += 1
        elif kind == "tool_use":
            yield f"[tool: {block.get('name')}]\n{_shown(block.get('input'))}"
        elif kind == "tool_result":
            yield f"[result: {block.get('name') or 'tool'}]\n" + "\n".join(text_of(block.get("content"), left_out))
        elif isinstance(block.get("text"), str):
            yield block["text"]
        elif kind == "image":
            yield "[image]"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)

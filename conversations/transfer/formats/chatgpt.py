"""ChatGPT's export: `conversations.json`, in which each conversation is a tree of messages.

Every edit and every regenerated answer is a branch. Only the branch that ends at `current_node` is imported. Content
that was never shown (empty and hidden messages, a model's thoughts) is left out. Images and other files are replaced
with their names, because the JSON file does not contain them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from conversations.messages import NewMessage
from conversations.transfer.formats.base import Imported, Unreadable, label_of, moment, objects, role_of
from memories.payloads import Json

SOURCE = "chatgpt"
_POINTERS = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
    "real_time_user_audio_video_asset_pointer": "audio",
}
_NOT_SAID = {"thoughts": "thoughts", "reasoning_recap": "thoughts", "user_editable_context": "hidden"}
# The fields that hold the text of other content types, in reading order.
_FIELDS = ("title", "url", "name", "text", "result", "summary", "content", "response", "output")


def is_one(item: Json) -> bool:
    return isinstance(item.get("mapping"), dict)


def conversation(item: Json) -> Imported:
    """Read a conversation from ChatGPT's export. Raises Unreadable if it is not valid."""
    nodes: dict[str, Any] = item["mapping"]
    path = _path(nodes, item.get("current_node"))
    left_out: Counter[str] = Counter()
    messages = [message for node in path if (message := _message(node, left_out)) is not None]
    if other := _branches(nodes) - 1:
        left_out["other branches"] = max(other, 0)
    source_id = item.get("conversation_id") or item.get("id")
    if not isinstance(source_id, str):
        raise Unreadable("conversation_id is missing")
    label, full_title = label_of(item.get("title"))
    details = {"model": item.get("default_model_slug"), "gizmo_id": item.get("gizmo_id")}
    return Imported(
        source=SOURCE,
        source_id=source_id,
        messages=messages,
        label=label,
        status="archived" if item.get("is_archived") is True else "active",
        metadata={
            "imported_from": SOURCE,
            "source_id": source_id,
            **{name: value for name, value in details.items() if isinstance(value, str)},
            **full_title,
        },
        created_at=moment(item.get("create_time")),
        left_out=+left_out,
    )


def _path(nodes: dict[str, Any], leaf: object) -> list[Json]:
    """Return the nodes from the root to the last message of the conversation."""
    at = leaf if isinstance(leaf, str) and leaf in nodes else _latest_leaf(nodes)
    path: list[Json] = []
    seen: set[str] = set()
    while isinstance(at, str):
        if at in seen:
            raise Unreadable("its messages form a cycle")
        seen.add(at)
        node = nodes.get(at)
        if not isinstance(node, dict):
            raise Unreadable(f"message {at[:50]!r} is missing")
        path.append(node)
        at = node.get("parent")
    return path[::-1]


def _leaves(nodes: dict[str, Any]) -> Iterator[tuple[str, Json]]:
    for name, node in nodes.items():
        if isinstance(node, dict) and not node.get("children"):
            yield name, node


def _latest_leaf(nodes: dict[str, Any]) -> str | None:
    def time_of(leaf: tuple[str, Json]) -> float:
        message = leaf[1].get("message")
        created = message.get("create_time") if isinstance(message, dict) else None
        return created if isinstance(created, int | float) else 0.0

    return max(_leaves(nodes), key=time_of, default=(None, {}))[0]


def _branches(nodes: dict[str, Any]) -> int:
    return sum(1 for _ in _leaves(nodes))


def _message(node: Json, left_out: Counter[str]) -> NewMessage | None:
    """Return a node's message, or None for the root and for content that was never shown."""
    item = node.get("message")
    if item is None:
        return None  # the root
    if not isinstance(item, dict) or not isinstance(item.get("author"), dict):
        raise Unreadable(f"message {str(node.get('id'))[:50]!r} has no author")
    content = item.get("content")
    if not isinstance(content, dict):
        raise Unreadable(f"message {str(item.get('id'))[:50]!r} has no content")
    metadata: Json = item["metadata"] if isinstance(item.get("metadata"), dict) else {}
    kind = str(content.get("content_type"))
    if metadata.get("is_visually_hidden_from_conversation") is True or kind in _NOT_SAID:
        left_out[_NOT_SAID.get(kind, "hidden")] += 1
        return None
    text = "\n\n".join(_texts(content, metadata))
    if not text.strip():
        left_out["empty"] += 1
        return None
    return NewMessage(
        role=role_of(item["author"].get("role")),
        content=text,
        metadata=_details(item, metadata),
        timestamp=moment(item.get("create_time")),
    )


def _texts(content: Json, metadata: Json) -> Iterator[str]:
    """Yield the text of a message, part by part."""
    if content.get("content_type") == "code" and isinstance(content.get("text"), str):
        language = content.get("language")
        yield f"```{language if isinstance(language, str) and language != 'unknown' else ''}\n{content['text']}\n```"
    elif isinstance(content.get("parts"), list):
        for part in content["parts"]:
            yield from _part(part)
    else:
        yield from (content[name] for name in _FIELDS if isinstance(content.get(name), str) and content[name])
    for file in objects(metadata.get("attachments")):
        if isinstance(file.get("name"), str):
            yield f"[file: {file['name']}]"


def _part(part: object) -> Iterator[str]:
    if isinstance(part, str):
        if part:
            yield part
    elif isinstance(part, dict):
        kind = str(part.get("content_type"))
        if kind in _POINTERS:
            size = f" {part['width']}x{part['height']}" if part.get("width") and part.get("height") else ""
            yield f"[{_POINTERS[kind]}: {part.get('asset_pointer') or 'not in the export'}{size}]"
        elif isinstance(part.get("text"), str):  # audio_transcription, and others that contain text
            yield part["text"]
        else:
            yield f"[{kind}]"


def _details(item: Json, metadata: Json) -> Json:
    details = {
        "source_id": item.get("id"),
        "model": metadata.get("model_slug"),
        "tool": item["author"].get("name"),
        "recipient": item.get("recipient") if item.get("recipient") != "all" else None,
    }
    return {name: value for name, value in details.items() if isinstance(value, str)}

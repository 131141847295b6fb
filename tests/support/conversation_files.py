"""Export files of other services, written by hand in their real formats. They contain no real conversations."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def node(
    id: str,
    parent: str | None,
    children: list[str],
    role: str = "",
    content: Json | None = None,
    at: float | None = None,
    **more: Any,
) -> Json:
    """Return a node of ChatGPT's tree. Without a role it is the root, which has no message."""
    message = None
    if role:
        message = {
            "id": id,
            "author": {"role": role, "name": more.pop("name", None), "metadata": {}},
            "create_time": at,
            "update_time": None,
            "content": content,
            "status": "finished_successfully",
            "end_turn": True,
            "weight": 1.0,
            "metadata": more.pop("metadata", {}),
            "recipient": more.pop("recipient", "all"),
            "channel": None,
        }
    return {"id": id, "message": message, "parent": parent, "children": children}


def text(*parts: Any) -> Json:
    return {"content_type": "text", "parts": list(parts)}


def chatgpt() -> Json:
    """Return a ChatGPT export with a branch (an edited question), a hidden message, an image, a tool, code, thoughts
    and emoji.
    """
    image = {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-abc123",
        "size_bytes": 81234,
        "width": 1024,
        "height": 768,
        "fovea": None,
        "metadata": {"sanitized": False},
    }
    nodes = [
        node("root", None, ["system"]),
        node("system", "root", ["q1", "q1-edited"], "system", text(""), None),
        node("q1", "system", ["a1"], "user", text("What is an aardvark?"), 1700000000.5),
        node("a1", "q1", [], "assistant", text("A mammal."), 1700000001.0),
        node(
            "q1-edited",
            "system",
            ["ctx"],
            "user",
            {"content_type": "multimodal_text", "parts": [image, "What is this animal? 🐜"]},
            1700000100.25,
            metadata={"attachments": [{"id": "file-abc123", "name": "animal.png", "size": 81234}]},
        ),
        node(
            "ctx",
            "q1-edited",
            ["think"],
            "user",
            {"content_type": "user_editable_context", "user_profile": "secret profile", "user_instructions": "x"},
            metadata={"is_visually_hidden_from_conversation": True},
        ),
        node(
            "think",
            "ctx",
            ["call"],
            "assistant",
            {"content_type": "thoughts", "thoughts": [{"summary": "Hmm", "content": "It digs."}]},
            1700000101.0,
        ),
        node(
            "call",
            "think",
            ["result"],
            "assistant",
            {"content_type": "code", "language": "python", "text": "print(4 ** 2)"},
            1700000102.0,
            recipient="python",
            metadata={"model_slug": "gpt-4o"},
        ),
        node(
            "result",
            "call",
            ["a2"],
            "tool",
            {"content_type": "execution_output", "text": "16"},
            1700000103.0,
            name="python",
        ),
        node("a2", "result", [], "assistant", text("An aardvark, которому нравятся муравьи."), 1700000104.0),
    ]
    return {
        "title": "Animals 🐜",
        "create_time": 1700000000.0,
        "update_time": 1700000104.0,
        "mapping": {node["id"]: node for node in nodes},
        "moderation_results": [],
        "current_node": "a2",
        "plugin_ids": None,
        "conversation_id": "6f1c1f0e-1111-4000-8000-000000000001",
        "conversation_template_id": None,
        "gizmo_id": None,
        "is_archived": False,
        "safe_urls": [],
        "default_model_slug": "gpt-4o",
        "id": "6f1c1f0e-1111-4000-8000-000000000001",
    }


def claude() -> Json:
    """Return a Claude export with an attachment (with extracted text), a tool and its result, thoughts and an empty
    message.
    """
    return {
        "uuid": "6f1c1f0e-2222-4000-8000-000000000002",
        "name": "Garden plans",
        "summary": "",
        "created_at": "2025-03-01T09:30:00.123456Z",
        "updated_at": "2025-03-01T09:35:00.000000Z",
        "account": {"uuid": "6f1c1f0e-3333-4000-8000-000000000003"},
        "chat_messages": [
            {
                "uuid": "m1",
                "text": "Where do beans grow best?",
                "content": [
                    {
                        "start_timestamp": "2025-03-01T09:30:00.1Z",
                        "stop_timestamp": "2025-03-01T09:30:00.1Z",
                        "type": "text",
                        "text": "Where do beans grow best?",
                        "citations": [],
                    }
                ],
                "sender": "human",
                "created_at": "2025-03-01T09:30:00.100000Z",
                "updated_at": "2025-03-01T09:30:00.100000Z",
                "attachments": [
                    {
                        "file_name": "soil.txt",
                        "file_size": 12,
                        "file_type": "txt",
                        "extracted_content": "Clay and sand",
                    }
                ],
                "files": [{"file_name": "bed.jpg"}],
            },
            {
                "uuid": "m2",
                "text": "",
                "content": [
                    {"type": "thinking", "thinking": "Sunlight matters.", "summaries": []},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "name": "web_search", "input": {"query": "beans sun"}, "message": None},
                    {
                        "type": "tool_result",
                        "name": "web_search",
                        "content": [{"type": "text", "text": "Six hours of sun."}],
                        "is_error": False,
                    },
                    {"type": "text", "text": "In full sun."},
                ],
                "sender": "assistant",
                "created_at": "2025-03-01T09:31:00.000000Z",
                "updated_at": "2025-03-01T09:31:00.000000Z",
                "attachments": [],
                "files": [],
            },
            {
                "uuid": "m3",
                "text": "",
                "content": [],
                "sender": "human",
                "created_at": "2025-03-01T09:32:00.000000Z",
                "updated_at": "2025-03-01T09:32:00.000000Z",
                "attachments": [],
                "files": [],
            },
        ],
    }


def grown(conversation: Json, *texts: str) -> Json:
    """Return ChatGPT's conversation with more messages at the end."""
    longer: Json = json.loads(json.dumps(conversation))
    for at, words in enumerate(texts):
        id, before = f"more-{at}", longer["current_node"]
        longer["mapping"][before]["children"].append(id)
        role = "user" if at % 2 == 0 else "assistant"
        longer["mapping"][id] = node(id, before, [], role, text(words), 1700001000.0 + at)
        longer["current_node"] = id
    return longer


def file_of(*conversations: Any) -> bytes:
    return json.dumps(list(conversations)).encode()

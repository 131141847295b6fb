"""Export files from other services, written by hand in their real formats. They contain no real conversations."""

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
    nodes = [
        node("root", None, ["system"]),
        node("system", "root", ["q1", "q1-edited"], "system", text(""), None),
        *first_question(),
        *edited_question(),
        *answer_with_a_tool(),
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


def first_question() -> list[Json]:
    """Return the branch that the user left by editing the question."""
    return [
        node("q1", "system", ["a1"], "user", text("What is an aardvark?"), 1700000000.5),
        node("a1", "q1", [], "assistant", text("A mammal."), 1700000001.0),
    ]


def edited_question() -> list[Json]:
    """Return a question with an image, and the hidden message that follows it."""
    question = {"content_type": "multimodal_text", "parts": [image(), "What is this animal? 🐜"]}
    attachments = [{"id": "file-abc123", "name": "animal.png", "size": 81234}]
    profile = {"content_type": "user_editable_context", "user_profile": "secret profile", "user_instructions": "x"}
    hidden = {"is_visually_hidden_from_conversation": True}
    return [
        node("q1-edited", "system", ["ctx"], "user", question, 1700000100.25, metadata={"attachments": attachments}),
        node("ctx", "q1-edited", ["think"], "user", profile, metadata=hidden),
    ]


def image() -> Json:
    return {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-abc123",
        "size_bytes": 81234,
        "width": 1024,
        "height": 768,
        "fovea": None,
        "metadata": {"sanitized": False},
    }


def answer_with_a_tool() -> list[Json]:
    """Return thoughts, a tool call, its result, and the answer."""
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Hmm", "content": "It digs."}]}
    code = {"content_type": "code", "language": "python", "text": "print(4 ** 2)"}
    output = {"content_type": "execution_output", "text": "16"}
    model = {"model_slug": "gpt-4o"}
    return [
        node("think", "ctx", ["call"], "assistant", thoughts, 1700000101.0),
        node("call", "think", ["result"], "assistant", code, 1700000102.0, recipient="python", metadata=model),
        node("result", "call", ["a2"], "tool", output, 1700000103.0, name="python"),
        node("a2", "result", [], "assistant", text("An aardvark, которому нравятся муравьи."), 1700000104.0),
    ]


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
            claude_question(),
            claude_message("m2", "", claude_answer(), "assistant", "2025-03-01T09:31:00.000000Z"),
            claude_message("m3", "", [], "human", "2025-03-01T09:32:00.000000Z"),
        ],
    }


def claude_message(uuid: str, text: str, content: list[Json], sender: str, at: str) -> Json:
    return {
        "uuid": uuid,
        "text": text,
        "content": content,
        "sender": sender,
        "created_at": at,
        "updated_at": at,
        "attachments": [],
        "files": [],
    }


def claude_question() -> Json:
    """Return a question with an attachment and an image."""
    question = "Where do beans grow best?"
    part = {
        "start_timestamp": "2025-03-01T09:30:00.1Z",
        "stop_timestamp": "2025-03-01T09:30:00.1Z",
        "type": "text",
        "text": question,
        "citations": [],
    }
    soil = {"file_name": "soil.txt", "file_size": 12, "file_type": "txt", "extracted_content": "Clay and sand"}
    message = claude_message("m1", question, [part], "human", "2025-03-01T09:30:00.100000Z")
    return {**message, "attachments": [soil], "files": [{"file_name": "bed.jpg"}]}


def claude_answer() -> list[Json]:
    """Return the parts of an answer: thoughts, a tool call with its result, and texts."""
    return [
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
    ]


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

"""Run 62 checks of Sekha's Python SDK 0.2 (from PyPI), which cover every method with its options."""

from __future__ import annotations

import asyncio
from typing import Any

from checks import KEY, OPERATOR_KEY, URL, raises, run, wait_for_index
from sekha.client import SekhaClient
from sekha.errors import SekhaNotFoundError, SekhaValidationError
from sekha.models import MessageDto, NewConversation
from sekha.types import ClientConfig
from sekha.unified import MCPClient
from sekha.unified import SekhaClient as Unified

NOBODY = "00000000-0000-0000-0000-000000000001"
CONFIG = ClientConfig(api_key=KEY, base_url=URL)


def call(method: str, *args: Any, key: str = KEY, **options: Any) -> Any:
    async def run_once() -> Any:
        async with SekhaClient(ClientConfig(api_key=key, base_url=URL)) as client:
            return await getattr(client, method)(*args, **options)

    return asyncio.run(run_once())


def mcp(method: str, *args: Any, **options: Any) -> Any:
    async def run_once() -> Any:
        async with MCPClient(URL, KEY) as client:
            return await getattr(client, method)(*args, **options)

    return asyncio.run(run_once())


def unified(method: str, *args: Any, **options: Any) -> Any:
    async def run_once() -> Any:
        async with Unified(controller_url=URL, api_key=KEY, bridge_url="http://127.0.0.1:1", max_retries=1) as client:
            return await getattr(client, method)(*args, **options)

    return asyncio.run(run_once())


def message(content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def new(label: str, *messages: dict[str, Any], **more: Any) -> Any:
    return call("create_conversation", {"label": label, "folder": "/sdk", "messages": list(messages), **more})


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
talk = new("Safari", message("I fly to Nairobi in June"), message("Noted: Nairobi in June", "assistant"))
other = new("Yeast", message("The bread needs yeast"))
wait_for_index()
hit = call("query", "Nairobi")["results"][0]
suggestion = call("suggest_labels", talk["id"])["suggestions"][0]

run(
    "Sekha Python SDK 0.2",
    {
        "create": lambda: talk["message_count"] == 2,
        "create from a model": lambda: (
            call(
                "create_conversation", NewConversation(messages=[MessageDto(role="user", content="x")], label="Model")
            )["folder"]
            == "/"
        ),
        "create with a score": lambda: new("S", message("x"), importance_score=8.0)["importance_score"] == 8,
        "create with metadata": lambda: new("S", message("x"), metadata={"a": [1]})["metadata"] == {"a": [1]},
        "create with a naive time": lambda: new("S", message("x", timestamp="2026-01-02T03:04:05"))["id"],
        "create with parts": lambda: new("S", message([{"type": "text", "text": "Look"}, IMAGE]))["message_count"] == 1,
        "create with an image only": lambda: new("S", message([IMAGE]))["message_count"] == 1,
        "create with null metadata": lambda: new("S", message("x", metadata=None), metadata=None)["id"],
        "create with a developer": lambda: new("S", message("x", "developer"))["message_count"] == 1,
        "create with another role": lambda: new("S", message("x", "human"))["message_count"] == 1,
        "create with empty content": lambda: new("S", message(""), message("x"))["id"],
        "create with unknown fields": lambda: new("S", message("x", name="Ada", seed=1), session_count=2, mood="ok")[
            "id"
        ],
        "create with tool calls": lambda: new("S", message(None, "assistant", tool_calls=[{"id": "1"}]))["id"],
        "create without messages": lambda: new("Empty")["message_count"] == 0,
        "create 1,500 messages": lambda: new("L", *[message("x")] * 1500)["message_count"] == 1500,
        "create 150,000 characters": lambda: new("L", message("x " * 75_000))["id"],
        "create in //x": lambda: call("create_conversation", {"label": "x", "folder": "//x", "messages": []})["id"],
        "create in Unicode": lambda: new("Żółć 🦓", message("Żółć 🦓"))["label"] == "Żółć 🦓",
        "invalid content": lambda: raises(SekhaValidationError, lambda: new("x", {"role": "user", "content": 7})),
        "get": lambda: call("get_conversation", talk["id"])["label"] == "Safari",
        "get the unknown": lambda: raises(SekhaNotFoundError, lambda: call("get_conversation", NOBODY)),
        "list": lambda: call("list_conversations")["total"] > 10,
        "list by label": lambda: (
            call("list_conversations", label="Safari")["results"][0]["conversation_id"] == talk["id"]
        ),
        "list by folder": lambda: call("list_conversations", folder="/sdk")["total"] > 10,
        "list the pinned": lambda: isinstance(call("list_conversations", pinned=True)["results"], list),
        "list the archived": lambda: isinstance(call("list_conversations", archived=False)["results"], list),
        "list a page": lambda: call("list_conversations", page=2, page_size=3)["page"] == 2,
        "list large pages": lambda: call("list_conversations", page_size=500)["page_size"] == 500,
        "update label": lambda: call("update_label", other["id"], "Baking", "/food") is None,
        "update folder": lambda: call("update_folder", other["id"], "/food/bread") is None,
        "updates are stored": lambda: call("get_conversation", other["id"])["folder"] == "/food/bread",
        "update the unknown": lambda: raises(SekhaNotFoundError, lambda: call("update_folder", NOBODY, "/x")),
        "pin": lambda: call("pin_conversation", talk["id"]) is None,
        "archive": lambda: call("archive_conversation", other["id"]) is None,
        "archive the unknown": lambda: raises(SekhaNotFoundError, lambda: call("archive_conversation", NOBODY)),
        "count": lambda: call("count_conversations") > 10,
        "count by label": lambda: call("count_conversations", label="Safari") >= 1,
        "count by folder": lambda: call("count_conversations", folder="/food") >= 1,
        "query": lambda: "Nairobi" in hit["content"] and hit["score"] > 0,
        "query with limit and offset": lambda: len(call("query", "June", limit=1, offset=1)["results"]) == 1,
        "query with labels": lambda: (
            {item["label"] for item in call("query", "June", filters={"labels": ["Safari"]})["results"]} == {"Safari"}
        ),
        "blank query": lambda: raises(SekhaValidationError, lambda: call("query", "")),
        "smart query": lambda: len(call("smart_query", "Nairobi", limit=5)["results"]) > 0,
        "full text": lambda: call("full_text_search", "Nairobi NOT bread")["total"] >= 1,
        "full text prefix": lambda: call("full_text_search", 'Nair* AND "in June"', limit=3)["total"] >= 1,
        "rebuild embeddings": lambda: call("rebuild_embeddings", key=OPERATOR_KEY) is None,
        "rebuild while one runs": lambda: call("rebuild_embeddings", key=OPERATOR_KEY) is None,
        "assemble context": lambda: len(call("assemble_context", "Nairobi")) > 0,
        "assemble with options": lambda: isinstance(
            call("assemble_context", "Nairobi", ["Safari"], 500, ["/private"]), list
        ),
        "assemble for parts": lambda: isinstance(call("assemble_context", [{"type": "text", "text": "Nairobi"}]), list),
        "summarize": lambda: call("summarize", talk["id"])["summary"] != "",
        "summarize a month": lambda: call("generate_summary", talk["id"], level="monthly")["level"] == "monthly",
        "pruning": lambda: (
            isinstance(call("prune_dry_run")["suggestions"], list)
            and call("get_pruning_suggestions", threshold_days=0)["total_reviewed"] > 0
        ),
        "prune": lambda: call("prune_execute", [other["id"]]) is None,
        "suggest labels": lambda: suggestion["folder"] == "/sdk" and suggestion["confidence"] > 0,
        "auto label": lambda: call("auto_label", talk["id"], threshold=0.0) == suggestion["label"],
        "export": lambda: "Nairobi" in call("export") and "Nairobi" in call("export", folder="/sdk", format="json"),
        "score": lambda: call("score_message_importance", hit["message_id"])["importance_score"] >= 1,
        "tools": lambda: len(call("get_mcp_tools")) >= 7,
        "MCP client": lambda: (
            mcp("memory_stats", {})["total_conversations"] > 10
            and len(mcp("memory_search", "Nairobi", limit=5)["results"]) > 0
        ),
        "store and query": lambda: unified("store_and_query", [message("Nairobi again")], "Nairobi", label="U")[
            "results"
        ],
        "delete": lambda: (
            call("delete_conversation", other["id"]) is None
            and raises(SekhaNotFoundError, lambda: call("get_conversation", other["id"]))
        ),
    },
    expected=58,
)

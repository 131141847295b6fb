"""Run 38 checks of Sekha's Python SDK 0.5 (from its repository), which cover every method with its options."""

from __future__ import annotations

from typing import Any

from checks import KEY, URL, raises, run, wait_for_index
from sekha.client import ClientConfig, SekhaClient, SyncSekhaClient
from sekha.errors import SekhaAPIError, SekhaError, SekhaNotFoundError, SekhaValidationError
from sekha.models import MessageDto, NewConversation, SummaryLevel

NOBODY = "00000000-0000-0000-0000-000000000001"
CONFIG = ClientConfig(api_key=KEY, base_url=URL)


def call(method: str, *args: Any, **options: Any) -> Any:
    async def run_once() -> Any:
        async with SekhaClient(CONFIG) as client:
            return await getattr(client, method)(*args, **options)

    import asyncio

    return asyncio.run(run_once())


def new(label: str | None, folder: str | None, *contents: str, **more: Any) -> NewConversation:
    messages = [MessageDto(role="user" if n % 2 == 0 else "assistant", content=text) for n, text in enumerate(contents)]
    return NewConversation(label=label, folder=folder, messages=messages, **more)


talk = call("create_conversation", new("Trip", "/travel", "I fly to Nairobi in May", "Noted: Nairobi in May"))
other = call("create_conversation", new("Bread", "/kitchen", "The bread needs yeast", "Noted"))
wait_for_index()
hit = call("smart_query", "Nairobi").results[0]


def exported(**options: Any) -> str:
    text: str = call("export", **options)
    return text


run(
    "Sekha Python SDK 0.5",
    {
        "create": lambda: talk.message_count == 2 and talk.label == "Trip",
        "create without label and folder": lambda: call("create_conversation", new(None, None, "x")).label == "",
        "create without messages": lambda: call("create_conversation", new("Empty", "/x")).message_count == 0,
        "create with metadata": lambda: call("create_conversation", new("M", "/m", "x", metadata={"a": 1})).id != "",
        "create with an empty message": lambda: call("create_conversation", new("E", "/e", "", "x")).id != "",
        "create in //x": lambda: call("create_conversation", new("F", "//x", "x")).folder == "/x",
        "create 1,200 messages": lambda: (
            call("create_conversation", new("L", "/l", *["x"] * 1200)).message_count > 1000
        ),
        "create 150,000 characters": lambda: call("create_conversation", new("C", "/c", "x " * 75_000)).id != "",
        "create a tool message": lambda: (
            call("create_conversation", NewConversation(messages=[MessageDto(role="tool", content="42")])).message_count
            == 1
        ),
        "get": lambda: call("get_conversation", talk.id) == call("get_conversation", talk.id),
        "get the unknown": lambda: raises(SekhaNotFoundError, lambda: call("get_conversation", NOBODY)),
        "get without a UUID": lambda: raises(SekhaAPIError, lambda: call("get_conversation", "none")),
        "list": lambda: len(call("list_conversations")) > 2,
        "list by label": lambda: talk.id in [item.id for item in call("list_conversations", label="Trip")],
        "list a page": lambda: len(call("list_conversations", page=2, page_size=2)) == 2,
        "list large pages": lambda: len(call("list_conversations", page_size=500)) > 2,
        "update label": lambda: call("update_label", other.id, "Baking") is None,
        "update label and folder": lambda: call("update_label", other.id, "Baking", "/food") is None,
        "updates are stored": lambda: call("get_conversation", other.id).folder == "/food",
        "update the unknown": lambda: raises(SekhaNotFoundError, lambda: call("update_label", NOBODY, "x")),
        "smart query": lambda: "Nairobi" in hit.content and hit.folder.startswith("/"),
        "smart query with limit": lambda: len(call("smart_query", "Nairobi", limit=1).results) == 1,
        "smart query with labels": lambda: (
            {item.label for item in call("smart_query", "in May", filters={"labels": ["Trip"]}).results} == {"Trip"}
        ),
        "blank query": lambda: raises(SekhaValidationError, lambda: call("smart_query", " ")),
        "score": lambda: 1 <= call("score_message_importance", hit.message_id).score <= 10,
        "score the unknown": lambda: raises(SekhaError, lambda: call("score_message_importance", NOBODY)),
        "daily summary": lambda: call("generate_summary", talk.id).level == "daily",
        "weekly summary": lambda: call("generate_summary", talk.id, SummaryLevel.WEEKLY).level == "weekly",
        "monthly summary": lambda: call("generate_summary", talk.id, SummaryLevel.MONTHLY).summary != "",
        "pruning suggestions": lambda: isinstance(call("get_pruning_suggestions"), list),
        "pruning suggestions by age": lambda: len(call("get_pruning_suggestions", 0, 10.0)) > 0,
        "suggest labels": lambda: call("suggest_labels", talk.id)[0].label != "",
        "auto label": lambda: call("auto_label", talk.id, threshold=0.0) != "",
        "pin": lambda: call("pin", talk.id) is None and call("get_conversation", talk.id).status == "pinned",
        "archive": lambda: call("archive", other.id) is None,
        "export": lambda: "Nairobi" in exported() and "Nairobi" in exported(format="json"),
        "delete": lambda: (
            call("delete_conversation", other.id) is None
            and raises(SekhaNotFoundError, lambda: call("get_conversation", other.id))
        ),
        "synchronous": lambda: (
            SyncSekhaClient(CONFIG).get_conversation(talk.id).id == talk.id and isinstance(call("get_mcp_tools"), list)
        ),
    },
    expected=38,
)

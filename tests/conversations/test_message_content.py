"""Messages as model APIs send them: content parts, tool calls, and messages without text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Api, problem_of
from tests.support.conversations import ROOT

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}


def stored(api: Api, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Store a conversation with these messages, and return them as the API lists them."""
    id = api.post(ROOT, {"messages": list(messages)}).json()["id"]
    items: list[dict[str, Any]] = api.get(f"{ROOT}/{id}/messages").json()["items"]
    return items


def test_the_text_of_content_parts_is_the_content_and_the_parts_are_kept(api: Api) -> None:
    parts = [{"type": "text", "text": "Who is this?"}, IMAGE, {"type": "input_text", "text": "My cat."}]

    (message,) = stored(api, {"role": "user", "content": parts})

    assert message["content"] == "Who is this?\nMy cat."
    assert message["content_parts"] == parts


def test_a_message_that_only_calls_tools_has_no_content(api: Api) -> None:
    (message,) = stored(api, {"role": "assistant", "content": None, "tool_calls": [CALL]})

    assert message["content"] == ""
    assert message["tool_calls"] == [CALL]


def test_the_result_of_a_tool_can_be_empty(api: Api) -> None:
    (message,) = stored(api, {"role": "tool", "content": "", "tool_call_id": "call_1", "name": "weather"})

    assert (message["content"], message["tool_call_id"], message["name"]) == ("", "call_1", "weather")


def test_a_message_can_consist_of_an_image(api: Api) -> None:
    (message,) = stored(api, {"role": "user", "content": [IMAGE]})

    assert (message["content"], message["content_parts"]) == ("", [IMAGE])


def test_a_developer_can_speak(api: Api) -> None:
    (message,) = stored(api, {"role": "developer", "content": "Be brief."})

    assert message["role"] == "developer"


def test_a_search_finds_the_text_of_parts_but_not_the_arguments_of_a_tool(api: Api) -> None:
    stored(
        api,
        {"role": "user", "content": [{"type": "text", "text": "Where is the umbrella?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    )

    def found(words: str) -> list[str]:
        results = api.post("/api/v1/search/fts", {"query": words}).json()["results"]
        return [result["content"] for result in results]

    assert found("umbrella") == ["Where is the umbrella?"]
    assert found("Bern") == []


def test_an_export_contains_what_was_sent(api: Api) -> None:
    stored(api, {"role": "assistant", "content": None, "tool_calls": [CALL], "name": "planner"})

    (conversation,) = json.loads(api.get("/api/v1/export?format=json").getvalue())

    (message,) = conversation["messages"]
    assert (message["tool_calls"], message["name"]) == ([CALL], "planner")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": []}, "content"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "assistant", "tool_calls": []}, "content"),
        ({"role": "user", "content": [{"type": "text", "text": " "}]}, "content"),
        ({"role": "user", "content": [{"text": "no type"}]}, "content.0"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0"),
        ({"role": "user", "content": [{"type": "text", "text": "x" * 60_000}] * 2}, "content"),
        ({"role": "user", "content": "x", "tool_calls": ["call"]}, "tool_calls.0"),
        ({"role": "user", "content": "x", "tool_calls": [{}] * 101}, "tool_calls"),
        ({"role": "user", "content": "x", "name": ""}, "name"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_message_without_content_or_with_bad_parts_is_rejected(api: Api, message: Any, field: str) -> None:
    problem_of(api.post(ROOT, {"messages": [message]}), 422, field=f"messages.0.{field}")

"""The tools of the default profile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest

from api.mcp import memory_tools, results
from conversations.context import tokens
from tests.conftest import Api, drain, issue_key
from tests.support.mcp import call, error_of, tools

MAX_TOOLS, MAX_LIST_TOKENS = 8, 1500


def test_the_default_tools_take_few_tokens(api: Api) -> None:
    listed = tools(api)

    assert len(listed) == MAX_TOOLS
    assert tokens.count([json.dumps(listed, separators=(",", ":"))])[0] < MAX_LIST_TOKENS


def test_every_tool_declares_whether_it_changes_anything(api: Api) -> None:
    hints = {tool["name"]: tool["annotations"] for tool in tools(api)}

    readers = {name for name, hint in hints.items() if hint["readOnlyHint"]}
    assert readers == {"memory_search", "memory_get", "memory_context", "memory_stats"}
    assert {name for name in hints if hints[name].get("destructiveHint")} == {"memory_update", "memory_delete"}


def test_a_stored_memory_is_found_by_its_meaning(api: Api) -> None:
    id = call(api, "memory_store", content="Cheese is made in the Emmental", metadata={"topic": "food"})["id"]
    call(api, "memory_store", content="The train leaves at noon")
    drain()

    best = call(api, "memory_search", query="Where is cheese made?", limit=1)["memories"]

    assert [(memory["id"], memory["content"], memory["metadata"]) for memory in best] == [
        (id, "Cheese is made in the Emmental", {"topic": "food"})
    ]


def test_the_filters_that_the_tool_suggests_match_the_metadata_of_a_memory(api: Api) -> None:
    (search,) = (tool for tool in tools(api) if tool["name"] == "memory_search")
    example = json.loads(search["inputSchema"]["properties"]["filters"]["description"].removeprefix("E.g. "))
    for year in (2025, 2026):
        call(api, "memory_store", content=f"Report of {year}", metadata={"project": "x", "year": year})
    drain()

    found = call(api, "memory_search", query="report", filters=example)["memories"]

    assert [memory["content"] for memory in found] == ["Report of 2026"]


def test_a_memory_with_a_key_replaces_the_one_that_has_it(api: Api) -> None:
    first = call(api, "memory_store", content="Ada sits in row 7", key="ada/seat")
    again = call(api, "memory_store", content="Ada sits in row 9", key="ada/seat")

    assert (first["created"], again["created"], again["version"]) == (True, False, 2)
    assert call(api, "memory_get", key="ada/seat")["content"] == "Ada sits in row 9"


def test_a_key_may_contain_any_character_of_a_path(api: Api) -> None:
    key = "a b/ü?x=1&y#z%2F"
    call(api, "memory_store", content="x", key=key)

    assert call(api, "memory_get", key=key)["key"] == key
    assert call(api, "memory_delete", key=key) == {"deleted": True}


def test_an_update_changes_only_the_given_fields(api: Api) -> None:
    id = call(api, "memory_store", content="Ada sits in row 7", metadata={"a": 1, "b": 1})["id"]

    assert call(api, "memory_update", id=id, content="Row 9", metadata={"b": None}) == {"id": id, "version": 2}

    memory = call(api, "memory_get", id=id)
    assert (memory["content"], memory["metadata"]) == ("Row 9", {"a": 1})


def test_an_update_replaces_the_text_of_a_memory_from_the_rest_api(api: Api) -> None:
    id = api.store("1,2", "Row 7")["id"]

    call(api, "memory_update", id=id, content="Row 9")

    assert call(api, "memory_get", id=id)["content"] == "Row 9"


def test_an_update_of_an_outdated_version_is_refused(api: Api) -> None:
    id = call(api, "memory_store", content="x")["id"]
    call(api, "memory_update", id=id, content="y", version=1)

    assert "is at version 2, not 1" in error_of(api, "memory_update", id=id, content="z", version=1)


def test_a_deleted_memory_can_be_restored(api: Api) -> None:
    id = call(api, "memory_store", content="x")["id"]

    assert call(api, "memory_delete", id=id) == {"deleted": True}
    assert "Use the search tool" in error_of(api, "memory_get", id=id)
    assert api.post(f"/memories/by-id/{id}/restore").status_code == 200


def test_a_link_is_visible_from_both_ends(api: Api) -> None:
    start, end = (call(api, "memory_store", content=text)["id"] for text in ("Bern", "Switzerland"))
    assert call(api, "memory_link", from_id=start, to_id=end, link_type="part_of") == {"created": True}

    for id, direction, other in ((start, "out", "Switzerland"), (end, "in", "Bern")):
        link = call(api, "memory_get", id=id, links=True)["links"][0]
        assert (link["link_type"], link["direction"], link["content"]) == ("part_of", direction, other)


def test_a_context_contains_earlier_conversations(api: Api) -> None:
    talk = {"label": "Bread", "messages": [{"role": "user", "content": "We bake our bread with rye"}]}
    assert api.post("/api/v1/conversations", talk).status_code == 201
    drain()

    assert "rye" in call(api, "memory_context", query="Which flour is in the bread?")


def test_a_context_contains_the_memories_of_the_namespace(api: Api) -> None:
    call(api, "memory_store", content="Our bread is baked with rye flour")
    call(api, "memory_store", "/mcp/apollo", content="The rocket burns rye bread")
    drain()

    context = call(api, "memory_context", query="Which flour is in the bread?")
    assert "rye flour" in context
    assert "rocket" not in context


def test_a_context_for_a_key_restricted_to_a_namespace_contains_its_memories_only(api: Api) -> None:
    talk = {"label": "Bread", "messages": [{"role": "user", "content": "We bake our bread with rye"}]}
    assert api.post("/api/v1/conversations", talk).status_code == 201
    call(api, "memory_store", content="Our bread is baked with spelt")
    call(api, "memory_store", "/mcp/apollo", content="The bread of Apollo is baked with oat flour")
    drain()
    restricted = Api(issue_key(api.tenant, ("read",), namespaces=["apollo"]), api.tenant)

    context = call(restricted, "memory_context", "/mcp/apollo", query="Which flour is in the bread?")

    assert "oat flour" in context
    assert not any(text in context for text in ("rye", "spelt"))
    assert "restricted to the namespaces apollo" in error_of(restricted, "memory_context", query="bread")


def test_stats_count_only_what_the_caller_may_read(api: Api) -> None:
    call(api, "memory_store", "/mcp/apollo", content="x")

    stats = call(api, "memory_stats", "/mcp/apollo")
    assert (stats["namespace"], stats["total_memories"], stats["namespaces"]) == ("apollo", 1, {"apollo": 1})


def test_stats_list_only_the_largest_of_many_namespaces(api: Api) -> None:
    items = [
        {"payload": {"text": "x"}, "namespace": f"project/{number}"} for number in range(memory_tools.MAX_NAMESPACES)
    ]
    assert (
        api.post("/api/v1/memories/bulk", {"items": [*items, items[0], {**items[0], "namespace": "a"}]}).status_code
        == 200
    )

    stats = call(api, "memory_stats")
    assert len(stats["namespaces"]) == memory_tools.MAX_NAMESPACES
    assert stats["namespaces"]["project/0"] == 2
    assert (stats["namespaces_omitted"], stats["total_memories"]) == (1, memory_tools.MAX_NAMESPACES + 2)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("memory_search", {}, "missing required field `query`"),
        ("memory_search", {"q": "x"}, "unknown field `q`"),
        ("memory_search", {"query": "x", "limit": "3"}, "Expected `int`"),
        ("memory_search", {"query": " "}, "must not be empty or blank"),
        ("memory_search", {"query": "x", "filters": {"a": {"near": 1}}}, "filters"),
        ("memory_get", {}, "Give either the id or the key"),
        ("memory_get", {"id": "1/history"}, "must be a UUID"),
        ("memory_get", {"id": "1", "key": "a"}, "Give either the id or the key"),
        ("memory_get", {"key": "a/../b"}, "must not contain the segment"),
        ("memory_get", {"key": "a\nb"}, "control characters"),
        ("memory_store", {"content": ""}, "length >= 1"),
        ("memory_update", {"key": "a"}, "must contain at least one field"),
        ("memory_update", {"key": "a", "content": ""}, "length >= 1"),
        ("memory_update", {"key": "a", "content": "b", "version": 0}, "$.version"),
        ("memory_update", {"key": "a", "content": "b", "version": 10**18}, "$.version"),
        ("memory_link", {"from_id": "x", "to_id": "y"}, "must be a UUID"),
        ("memory_store", {"content": "x", "importance": 11}, "<= 10"),
    ],
)
def test_an_invalid_argument_is_named(api: Api, tool: str, arguments: dict[str, Any], message: str) -> None:
    assert message in error_of(api, tool, **arguments)


def test_a_search_returns_what_fits_and_the_next_offset(api: Api) -> None:
    for number in range(6):
        call(api, "memory_store", content=f"Cheese number {number}: " + "a long story of curds and whey " * 40)
    drain()

    first = call(api, "memory_search", query="cheese", max_tokens=1000)
    rest = call(api, "memory_search", query="cheese", offset=first["next_offset"], max_tokens=20_000)

    assert tokens.count([json.dumps(first["memories"])])[0] <= 1000
    ids = [memory["id"] for memory in first["memories"] + rest["memories"]]
    assert len(first["memories"]) >= 1
    assert len(set(ids)) == len(ids) == 6


def test_no_more_text_is_counted_than_fits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    count = tokens.count

    def counting(texts: Sequence[str]) -> list[int]:
        counted.extend(map(len, texts))
        return count(texts)

    monkeypatch.setattr(tokens, "count", counting)
    for key, size in (("short", 5), ("long", 200_000)):
        api.put(f"/api/v1/memories/by-key/{key}", {"payload": {"text": "bees " * size}})

    short, long = (call(api, "memory_get", key=key, max_tokens=500) for key in ("short", "long"))

    assert "truncated" not in short
    assert long["truncated"]
    assert max(counted) <= 500 * tokens.LONGEST_TOKEN


def test_a_memory_that_is_too_long_is_truncated_and_marked(api: Api) -> None:
    id = call(api, "memory_store", content="curds and whey " * 2000)["id"]

    memory = call(api, "memory_get", id=id, max_tokens=200)

    assert memory["truncated"]
    assert memory["content"].startswith("curds and whey")
    assert tokens.count([json.dumps(memory)])[0] <= 200


@pytest.mark.parametrize("content", ['"\n' * 5000, "word " * 5000, "漢字" * 3000])
@pytest.mark.parametrize("key", ["notes", "é漢" * 120])
@pytest.mark.parametrize("max_tokens", [100, 1000])
def test_a_truncated_memory_fits_the_budget_as_json(content: str, key: str, max_tokens: int) -> None:
    memory = {
        "id": str(UUID(int=1 << 127)),
        "key": key,
        "content": content,
        "created_at": "2026-11-30T12:25:26.574520Z",
    }

    [fitting], is_complete = results.within([memory], max_tokens)

    assert is_complete
    assert fitting["truncated"]
    assert content.startswith(fitting["content"])
    assert tokens.count([orjson.dumps([fitting]).decode()])[0] <= max_tokens

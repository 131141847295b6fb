"""The store for LangGraph filters items as LangGraph's own stores do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.store.base import PutOp

from somamemory_client import AsyncClient, Client, InvalidArgument, InvalidInput
from somamemory_client.adapters.langgraph import AsyncSomaStore, SomaStore


@pytest.fixture
def store(client: Client, place: str) -> SomaStore:
    return SomaStore(client, namespace=place)


def found(store: SomaStore, filter: dict[str, Any]) -> list[str]:
    return sorted(item.key for item in store.search(("users",), filter=filter))


def test_an_object_in_a_filter_is_compared_field_by_field(store: SomaStore) -> None:
    store.put(("users",), "object", {"limits": {"gt": 5, "unit": {"name": "km"}}})
    store.put(("users",), "number", {"limits": 9})

    assert found(store, {"limits": {"gt": 5}}) == ["object"]
    assert found(store, {"limits": {"gt": {"$lt": 6}, "unit": {"name": "km"}}}) == ["object"]
    assert found(store, {"limits": {"$gt": 5}}) == ["number"]


def test_items_that_are_larger_than_a_request_are_stored(store: SomaStore) -> None:
    store.batch([PutOp(("users",), key, {"text": "tea " * 1_000_000}) for key in ("a", "b", "c")])

    assert found(store, {}) == ["a", "b", "c"]


def test_a_query_may_be_longer_than_the_service_accepts(store: SomaStore) -> None:
    store.put(("users",), "drink", {"text": "Ada drinks coffee"})

    assert [item.key for item in store.search(("users",), query="What does Ada drink? " * 500)] == ["drink"]


def test_a_blank_query_selects_like_no_query(store: SomaStore) -> None:
    store.put(("users",), "drink", {"text": "Ada drinks coffee"})

    assert [item.key for item in store.search(("users",), query=" ")] == ["drink"]


def test_a_store_with_a_scope_searches_and_lists_its_own_items_only(client: Client, place: str) -> None:
    ada, ben = (SomaStore(client.user(f"{place}/{user}"), namespace=place) for user in ("ada", "ben"))
    ada.put(("users",), "drink", {"text": "Ada drinks coffee"})
    ben.put(("users",), "food", {"text": "Ben eats at the coffee house"})
    ben.put(("projects",), "house", {"text": "a coffee house"})

    assert [item.key for item in ada.search(("users",), query="coffee")] == ["drink"]
    assert found(ada, {}) == ["drink"]
    assert ada.list_namespaces() == [("users",)]
    assert ben.list_namespaces() == [("projects",), ("users",)]


def test_a_store_with_a_namespace_as_scope_uses_its_own_namespaces(client: Client, place: str) -> None:
    store = SomaStore(client.namespace("elsewhere"), namespace=place)
    store.put(("users",), "drink", {"text": "Ada drinks coffee"})

    assert [item.key for item in store.search(("users",), query="coffee")] == ["drink"]
    assert found(store, {}) == ["drink"]
    assert store.list_namespaces() == [("users",)]


@pytest.mark.parametrize("filter", [{"a.b": 1}, {"a": {"b.c": 1}}, {"": 1}, {"a": {}}, {"a": {"$gt": 1, "lt": 5}}])
def test_a_filter_that_cannot_be_applied_is_rejected(store: SomaStore, filter: dict[str, Any]) -> None:
    store.put(("users",), "nested", {"a": {"b": 1}})

    with pytest.raises(InvalidArgument):
        store.search(("users",), filter=filter)


async def test_an_operation_that_is_rejected_fails_only_its_own_task(connected: AsyncClient, place: str) -> None:
    store = AsyncSomaStore(connected, namespace=place)
    await store.aput(("users",), "drink", {"text": "coffee"})

    outcomes = await asyncio.gather(
        store.aget(("users",), "drink"),
        store.asearch(("users",), filter={"a.b": 1}),
        store.asearch(("users",), filter={"text": "coffee"}),
        *(store.aput(("users",), f"number {number}", {"number": number}) for number in range(10)),
        store.aput(("users",), "too long " * 100, {}),
        store.aput(("users",), "same", {"number": 1}),
        store.aput(("users",), "same", {"number": {1}}),
        return_exceptions=True,
    )

    errors = {at: type(outcome) for at, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    assert errors == {1: InvalidArgument, 13: InvalidInput, 15: InvalidArgument}
    assert outcomes[0].value == {"text": "coffee"}
    assert [item.key for item in outcomes[2]] == ["drink"]
    assert {item.key for item in await store.asearch(("users",), limit=100)} == {
        "drink",
        "same",
        *(f"number {number}" for number in range(10)),
    }


async def test_equal_concurrent_searches_are_sent_once(
    connected: AsyncClient, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    raw = connected.raw

    async def recorded(operation: str, **fields: object) -> Any:
        sent.append(operation)
        return await raw(operation, **fields)

    monkeypatch.setattr(connected, "raw", recorded)
    store = AsyncSomaStore(connected, namespace=place)

    await asyncio.gather(*(store.asearch(("users",), query="coffee", filter={"kind": "drink"}) for _ in range(5)))

    assert sent.count("memories.search") == 1

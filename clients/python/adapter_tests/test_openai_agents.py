"""The session for OpenAI Agents follows the protocol, and concurrent programs lose no items."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import SessionSettings, TResponseInputItem
from agents.memory import Session

from somamemory_client import AsyncClient
from somamemory_client.adapters.openai_agents import SomaSession

ITEMS: list[TResponseInputItem] = [
    {"role": "user", "content": "What is the weather in Bern?"},
    {"type": "function_call", "call_id": "1", "name": "weather", "arguments": '{"city": "Bern"}'},
    {"type": "function_call_output", "call_id": "1", "output": "sunny"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]},  # type: ignore[list-item,misc]
]


async def test_items_are_returned_in_order_and_unchanged(connected: AsyncClient, place: str) -> None:
    session = SomaSession("thread/1 é", connected, namespace=place)
    assert isinstance(session, Session)
    assert await session.get_items() == []
    await session.add_items([])
    await session.add_items(ITEMS[:1])
    await session.add_items(ITEMS[1:])
    assert await SomaSession("thread/1 é", connected, namespace=place).get_items() == ITEMS
    assert await session.get_items(limit=2) == ITEMS[-2:]
    assert await session.get_items(limit=0) == []


async def test_items_that_are_larger_than_a_request_are_stored(connected: AsyncClient, place: str) -> None:
    session = SomaSession("1", connected, namespace=place)
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000_000, "detail": "auto"}
    items: list[Any] = [{"role": "user", "content": [image]} for _ in range(3)]
    await session.add_items(items)
    assert await session.get_items() == items


async def test_the_settings_limit_the_items(connected: AsyncClient, place: str) -> None:
    session = SomaSession("1", connected, namespace=place, session_settings=SessionSettings(limit=3))
    await session.add_items(ITEMS)
    assert await session.get_items() == ITEMS[-3:]
    assert await session.get_items(limit=1) == ITEMS[-1:]


async def test_pop_returns_the_latest_item_and_none_when_there_is_none(connected: AsyncClient, place: str) -> None:
    session = SomaSession("1", connected, namespace=place)
    await session.add_items(ITEMS)
    assert [await session.pop_item() for _ in range(5)] == [*reversed(ITEMS), None]
    assert await session.get_items() == []


async def test_clear_deletes_the_items_of_this_session_only(connected: AsyncClient, place: str) -> None:
    one, other = (SomaSession(name, connected, namespace=place) for name in ("1", "2"))
    await one.add_items(ITEMS)
    await other.add_items(ITEMS)
    await one.clear_session()
    assert (await one.get_items(), await other.get_items()) == ([], ITEMS)


async def test_concurrent_programs_lose_no_item_and_pop_none_twice(connected: AsyncClient, place: str) -> None:
    session = SomaSession("1", connected, namespace=place)
    texts = [f"message {number}" for number in range(40)]
    await asyncio.gather(*(session.add_items([{"role": "user", "content": text}]) for text in texts))
    popped = await asyncio.gather(*(session.pop_item() for _ in texts))
    assert sorted(str(item and item.get("content")) for item in popped) == sorted(texts)
    assert await session.get_items() == []


async def test_any_text_can_be_a_session_id(connected: AsyncClient, place: str, unusual: str) -> None:
    session, similar = (SomaSession(id, connected, namespace=place) for id in (unusual, unusual + "x"))
    await session.add_items(ITEMS)
    assert await session.get_items() == ITEMS
    assert await similar.get_items() == []

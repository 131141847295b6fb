"""The conversation store for Pydantic AI behaves like the framework's in-memory store."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from pydantic_ai import Agent, BinaryImage
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationStore, InMemoryConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.test import TestModel

from somamemory_client import AsyncClient
from somamemory_client.adapters.pydantic_ai import SomaConversationStore


def _asked(text: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(text)])


def _said(text: str) -> ModelMessage:
    return ModelResponse(parts=[TextPart(text)])


async def test_a_run_continues_a_stored_conversation(connected: AsyncClient, place: str) -> None:
    store, agent = SomaConversationStore(connected, place), Agent(TestModel())
    await store.save(await agent.run("I am Ada", conversation=Conversation(conversation_id="1")), scope="ada")
    loaded = await SomaConversationStore(connected, place).load("1", scope="ada")
    assert loaded is not None
    await store.save(await agent.run("Who am I?", conversation=loaded))
    again = await store.load("1")
    assert again is not None
    assert len(again.messages) == 4
    assert again.usage.requests == 2
    assert await store.load("1", scope="ben") is None


async def test_messages_are_returned_unchanged(connected: AsyncClient, place: str) -> None:
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart(["Look", BinaryImage(b"\x00\xff", media_type="image/png")])]),
        ModelResponse(parts=[ToolCallPart("weather", {"city": "Bern"}, "1"), TextPart("Wait")]),
    ]
    await SomaConversationStore(connected, place).save(Conversation(conversation_id="a/b é", messages=messages))
    loaded = await SomaConversationStore(connected, place).load("a/b é")
    assert loaded is not None
    assert loaded.messages == messages


async def test_messages_that_are_larger_than_a_request_are_stored(connected: AsyncClient, place: str) -> None:
    messages = [_asked("tea " * 600_000) for _ in range(3)]
    await SomaConversationStore(connected, place).save(Conversation(conversation_id="1", messages=messages))
    loaded = await SomaConversationStore(connected, place).load("1")
    assert loaded is not None
    assert len(loaded.messages) == 3


async def test_one_of_several_concurrent_writers_wins_completely(connected: AsyncClient, place: str) -> None:
    store = SomaConversationStore(connected, place)
    await store.save(Conversation(conversation_id="1", messages=[_asked("Hello")]))
    loaded = [await store.load("1") for _ in range(8)]
    for number, conversation in enumerate(loaded):
        assert conversation is not None
        conversation.messages.append(_said(str(number)))
    results = await asyncio.gather(*(store.save(one) for one in loaded if one), return_exceptions=True)
    assert sum(isinstance(result, ConversationConflict) for result in results) == 7
    assert len([entry async for entry in connected.memories.list(namespace=f"{place}/entries")]) == 2


async def test_a_search_finds_what_was_said(connected: AsyncClient, place: str) -> None:
    store = SomaConversationStore(connected, place)
    await store.save(Conversation(conversation_id="1", messages=[_asked("My cat is called Miezi"), _said("Nice")]))
    hits = await connected.memories.search("Miezi", namespace=f"{place}/entries")
    assert hits[0]["payload"] == {"text": "My cat is called Miezi", "role": "user"}


async def test_a_deleted_conversation_leaves_the_entries_of_a_fork(connected: AsyncClient, place: str) -> None:
    store = SomaConversationStore(connected, place)
    await store.save(Conversation(conversation_id="1", messages=[_asked("a"), _said("b")]))
    fork = await store.fork("1", at=1, new_conversation_id="2")
    await store.delete("1")
    again = await store.load("2")
    assert await store.load("1") is None
    assert again is not None
    assert again.messages == fork.messages
    await store.delete("2")
    assert [entry async for entry in connected.memories.list(namespace=f"{place}/entries")] == []


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_calls_has_the_results_of_the_store_in_memory(
    seed: int, connected: AsyncClient, place: str
) -> None:
    stores: list[ConversationStore] = [SomaConversationStore(connected, place), InMemoryConversationStore()]
    chance = random.Random(seed)
    for step in range(60):
        call = _random_call(chance, step)
        ours, theirs = [await _result(store, *call) for store in stores]
        assert ours == theirs, (step, call)


def _random_call(chance: random.Random, step: int) -> tuple[str, dict[str, Any]]:
    name = chance.choice("abc")
    return chance.choice(
        [
            ("extend", {"id": name, "text": str(step), "scope": chance.choice([None, "ada"])}),
            ("extend", {"id": name, "text": str(step), "scope": None}),
            ("rewrite", {"id": name, "keep": chance.randrange(3), "text": str(step)}),
            ("branch", {"id": name, "at": chance.randrange(4)}),
            ("fork", {"id": name, "at": chance.choice([None, 0, 1, 2]), "to": chance.choice("abcd")}),
            ("delete", {"id": name, "scope": chance.choice([None, "ben"])}),
            ("load", {"id": name, "limit": chance.choice([None, 0, 1, 3])}),
            ("list", {"scope": chance.choice([None, "ada"]), "limit": chance.choice([None, 1])}),
        ]
    )


async def _result(store: ConversationStore, kind: str, given: dict[str, Any]) -> Any:
    """Make a call, and return what both stores must agree on: messages and names, but no generated ids."""
    try:
        return await _called(store, kind, given)
    except (ConversationConflict, UserError) as error:
        return type(error).__name__


async def _called(store: ConversationStore, kind: str, given: dict[str, Any]) -> Any:
    if kind == "list":
        listed = await store.list_conversations(**given)
        return [(record.conversation_id, record.scope, record.forked_from, len(record.branches)) for record in listed]
    if kind == "delete":
        return await store.delete(given["id"], scope=given["scope"])
    if kind == "fork":
        return _texts((await store.fork(given["id"], at=given["at"], new_conversation_id=given["to"])).messages)
    loaded = await store.load(given["id"], limit=given.get("limit"))
    if kind == "load":
        return loaded and _texts(loaded.messages)
    if kind == "branch":
        revision = (loaded and loaded.revision) or ""
        return _texts((await store.branch(given["id"], at=given["at"], expected_revision=revision)).messages)
    conversation = loaded or Conversation(conversation_id=given["id"])
    kept = conversation.messages[: given["keep"]] if kind == "rewrite" else conversation.messages
    changed = Conversation(
        conversation_id=given["id"], messages=[*kept, _asked(given["text"])], revision=conversation.revision
    )
    return _texts([entry.message for entry in await store.save(changed, scope=given.get("scope"))])


def _texts(messages: list[ModelMessage]) -> list[str]:
    return [str(part.content) for message in messages for part in message.parts if isinstance(part, UserPromptPart)]


@pytest.mark.parametrize("id", [".", "a/../b", "x" * 600])
async def test_any_text_can_be_a_conversation_id(connected: AsyncClient, place: str, id: str) -> None:
    store = SomaConversationStore(connected, place)
    await store.save(Conversation(conversation_id=id, messages=[_asked("Hello")]))
    loaded = await store.load(id)
    assert loaded is not None
    assert loaded.conversation_id == id
    assert await store.load(id + "x") is None
    await store.delete(id)
    assert await store.load(id) is None

"""The memory block for LlamaIndex recalls messages that have left the short-term memory."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory

from somamemory_client import AsyncClient
from somamemory_client.adapters._namespaces import segment
from somamemory_client.adapters.llama_index import SomaMemoryBlock


async def test_messages_that_have_left_the_short_term_memory_are_recalled(connected: AsyncClient, place: str) -> None:
    block = SomaMemoryBlock(client=connected.user(place), context_budget=200)
    memory = Memory.from_defaults(
        session_id=f"{place}/1",
        token_limit=1000,
        chat_history_token_ratio=0.1,
        token_flush_size=10,
        memory_blocks=[block],
    )
    await memory.aput(ChatMessage(role="user", content="My cat is called Miezi, and she is three years old."))
    for number in range(12):
        await memory.aput(ChatMessage(role="assistant", content=f"This is answer number {number}, which says little."))
        await memory.aput(ChatMessage(role="user", content=f"This is question number {number}, about the weather."))
    await memory.aput(ChatMessage(role="user", content="What is the name of my cat?"))
    assert "Miezi" in str([message.content for message in await memory.aget()])


async def test_users_do_not_see_the_messages_of_others(connected: AsyncClient, place: str) -> None:
    question = [ChatMessage(role="user", content="What is the name of my cat?")]
    ada, ben = (SomaMemoryBlock(client=connected.user(f"{place}/{name}")) for name in ("ada", "ben"))
    await ada.aput([ChatMessage(role="user", content="My cat is called Miezi.")], session_id=f"{place}/1")
    assert "Miezi" in await ada.aget(question)
    assert "Miezi" not in await ben.aget(question)


async def test_messages_without_text_are_not_stored(connected: AsyncClient, place: str) -> None:
    messages = [ChatMessage(role="user", content=text) for text in ("My cat is called Miezi.", "", " \n")]
    await SomaMemoryBlock(client=connected).aput(messages, session_id=place)
    stored = [message["content"] async for message in connected.conversations.messages(external_id=segment(place))]
    assert stored == ["My cat is called Miezi."]


async def test_messages_that_are_larger_than_a_request_are_stored(connected: AsyncClient, place: str) -> None:
    messages = [ChatMessage(role="user", content="é" * 60_000) for _ in range(100)]
    await SomaMemoryBlock(client=connected).aput(messages, session_id=place)
    stored = [message async for message in connected.conversations.messages(external_id=segment(place))]
    assert len(stored) == 100


async def test_a_message_that_is_too_long_for_a_query_recalls_messages(connected: AsyncClient, place: str) -> None:
    block = SomaMemoryBlock(client=connected.user(place))
    await block.aput([ChatMessage(role="user", content="My cat is called Miezi.")], session_id=place)
    question = ChatMessage(role="user", content="What is the name of my cat? " + "She is a cat. " * 1000)
    assert "Miezi" in await block.aget([question])


async def test_a_blank_message_is_not_a_query(connected: AsyncClient, place: str) -> None:
    block = SomaMemoryBlock(client=connected.user(place))
    await block.aput([ChatMessage(role="user", content="My cat is called Miezi.")], session_id=place)
    messages = [ChatMessage(role="user", content=text) for text in ("What is the name of my cat?", " \n")]
    assert "Miezi" in await block.aget(messages)


async def test_an_empty_query_has_no_context(connected: AsyncClient) -> None:
    block = SomaMemoryBlock(client=connected)
    assert await block.aget([]) == await block.aget([ChatMessage(role="assistant", content="Hello")]) == ""


async def test_any_text_can_be_a_session_id(connected: AsyncClient, place: str, unusual: str) -> None:
    ada = connected.user(place)
    for session in (unusual, unusual + "x", unusual):
        await SomaMemoryBlock(client=ada).aput([ChatMessage(role="user", content="Hello")], session_id=session)
    stored = [conversation async for conversation in ada.conversations.list()]
    assert sorted(conversation["message_count"] for conversation in stored) == [1, 2]
    for conversation in stored:
        await ada.conversations.delete(conversation["id"])

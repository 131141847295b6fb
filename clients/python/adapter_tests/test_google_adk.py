"""The services for Google ADK behave like the framework's in-memory services."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event, EventActions
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions import InMemorySessionService, Session
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig
from google.genai.types import Content, FunctionCall, Part

from somamemory_client import AsyncClient, ConnectionLost
from somamemory_client.adapters.google_adk import SomaMemoryService, SomaSessionService

APP = "kitchen"


def _said(text: str, **fields: Any) -> Event:
    return Event(author="user", invocation_id="1", content=Content(role="user", parts=[Part(text=text)]), **fields)


async def _lost(*args: object, **fields: object) -> None:
    raise ConnectionLost("the connection was lost")


async def test_a_user_finds_their_own_events_only(connected: AsyncClient, place: str) -> None:
    memory = SomaMemoryService(connected, place)
    for user, text in (("ada", "I drink coffee"), ("ben", "I drink tea")):
        await memory.add_session_to_memory(Session(id="1", app_name=APP, user_id=user, events=[_said(text)]))
    found = (await memory.search_memory(app_name=APP, user_id="ada", query="What do I drink?")).memories
    assert [_text(entry) for entry in found] == ["I drink coffee"]
    assert found[0].author == "user"
    assert found[0].timestamp
    assert (await memory.search_memory(app_name="other", user_id="ada", query="coffee")).memories == []


async def test_a_session_that_is_added_again_adds_what_is_new_and_not_what_was_deleted(
    connected: AsyncClient, place: str
) -> None:
    memory = SomaMemoryService(connected, place)
    session = Session(id="1", app_name=APP, user_id="ada", events=[_said("I drink coffee"), _said("I like Bern")])
    session.events.append(Event(author="agent", content=Content(parts=[Part(function_call=FunctionCall(name="x"))])))
    await memory.add_session_to_memory(session)
    await memory.delete_memory(app_name=APP, user_id="ada", memory_id=session.events[0].id)
    session.events.append(_said("I cook on Sundays"))
    await memory.add_session_to_memory(session)
    await memory.add_events_to_memory(app_name=APP, user_id="ada", session_id="1", events=session.events)
    stored = [kept["payload"]["text"] async for kept in connected.memories.list(namespace=f"{place}/{APP}")]
    assert sorted(stored) == ["I cook on Sundays", "I like Bern"]


async def test_events_that_are_larger_than_a_request_are_added(connected: AsyncClient, place: str) -> None:
    events = [_said("tea " * 600_000) for _ in range(3)]
    memory = SomaMemoryService(connected, place)
    await memory.add_session_to_memory(Session(id="1", app_name=APP, user_id="ada", events=events))
    assert len([kept async for kept in connected.memories.list(namespace=f"{place}/{APP}")]) == 3


@pytest.mark.parametrize(("query", "expected"), [("coffee " * 2000, ["I drink coffee"]), ("", []), (" ", [])])
async def test_a_model_may_search_with_any_text(
    connected: AsyncClient, place: str, query: str, expected: list[str]
) -> None:
    memory = SomaMemoryService(connected, place)
    await memory.add_session_to_memory(Session(id="1", app_name=APP, user_id="ada", events=[_said("I drink coffee")]))
    found = (await memory.search_memory(app_name=APP, user_id="ada", query=query)).memories
    assert [_text(entry) for entry in found] == expected


async def test_memories_are_added_directly(connected: AsyncClient, place: str) -> None:
    memory = SomaMemoryService(connected, place)
    entry = MemoryEntry(content=Content(parts=[Part(text="Ada is a vegetarian")]), custom_metadata={"sure": True})
    await memory.add_memory(app_name=APP, user_id="a/ä", memories=[entry], custom_metadata={"by": "test"})
    (found,) = (await memory.search_memory(app_name=APP, user_id="a/ä", query="vegetarian")).memories
    assert found.custom_metadata == {"sure": True, "by": "test"}
    assert _text(found) == "Ada is a vegetarian"


async def test_the_id_of_a_session_is_taken_once(connected: AsyncClient, place: str) -> None:
    sessions = SomaSessionService(connected, place)
    await sessions.create_session(app_name=APP, user_id="ada", session_id="1")
    with pytest.raises(AlreadyExistsError):
        await sessions.create_session(app_name=APP, user_id="ada", session_id=" 1 ")
    assert (await sessions.create_session(app_name=APP, user_id="ben", session_id="1")).user_id == "ben"


async def test_an_event_of_a_missing_session_is_refused_and_not_stored(connected: AsyncClient, place: str) -> None:
    sessions = SomaSessionService(connected, place)
    session = await sessions.create_session(app_name=APP, user_id="ada", session_id="café 1")
    await sessions.delete_session(app_name=APP, user_id="ada", session_id=session.id)
    with pytest.raises(SessionNotFoundError, match="Session café 1 not found"):
        await sessions.append_event(session, _said("Hello"))
    assert [event async for event in connected.memories.list(namespace=f"{place}/{APP}/events")] == []


async def test_an_event_that_is_appended_again_after_a_failure_changes_the_state(
    connected: AsyncClient, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SomaSessionService(connected, place)
    session = await service.create_session(app_name=APP, user_id="ada", session_id="1")
    event = _said("Dark, please", actions=EventActions(state_delta={"app:theme": "dark", "user:name": "Ada"}))
    with monkeypatch.context() as patch:
        patch.setattr(connected.memories, "store", _lost)
        with pytest.raises(ConnectionLost):
            await service.append_event(session, event)
    await service.append_event(session, event)
    stored = await service.get_session(app_name=APP, user_id="ada", session_id="1")
    assert stored is not None
    assert stored.state == {"app:theme": "dark", "user:name": "Ada"}
    assert [found.id for found in stored.events] == [found.id for found in session.events] == [event.id]


async def test_an_event_that_is_appended_again_after_a_failure_is_in_the_session_once(
    connected: AsyncClient, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SomaSessionService(connected, place)
    session = await service.create_session(app_name=APP, user_id="ada", session_id="1")
    event = _said("Hello")
    with monkeypatch.context() as patch:
        patch.setattr(connected.memories, "store_many", _lost)
        with pytest.raises(ConnectionLost):
            await service.append_event(session, event)
    await service.append_event(session, event)
    assert [found.id for found in session.events] == [event.id]


async def test_processes_that_append_at_the_same_time_lose_nothing(connected: AsyncClient, place: str) -> None:
    sessions = SomaSessionService(connected, place)
    await sessions.create_session(app_name=APP, user_id="ada", session_id="1")

    async def append(number: int) -> None:
        own = await sessions.get_session(app_name=APP, user_id="ada", session_id="1")
        assert own is not None
        delta: dict[str, object] = {f"own{number}": number, f"user:of{number}": number, f"app:of{number}": number}
        await sessions.append_event(own, _said(str(number), actions=EventActions(state_delta=delta)))

    await asyncio.gather(*map(append, range(20)))
    session = await sessions.get_session(app_name=APP, user_id="ada", session_id="1")
    assert session is not None
    assert len(session.events) == 20
    assert len(session.state) == 60


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_calls_has_the_results_of_the_service_in_memory(
    seed: int, connected: AsyncClient, place: str
) -> None:
    services: list[BaseSessionService] = [SomaSessionService(connected, place), InMemorySessionService()]
    chance = random.Random(seed)
    for step in range(60):
        call = _random_call(chance, step)
        ours, theirs = [await _result(service, *call) for service in services]
        assert ours == theirs, (step, call)


def _random_call(chance: random.Random, step: int) -> tuple[str, dict[str, Any]]:
    place = {"app_name": APP, "user_id": chance.choice(["ada", "ben/é"])}
    values = [1, None, "x", {"a": [1, None]}, {"b": 2}, 0.5, True]
    state = {
        chance.choice(["", "app:", "user:", "temp:"]) + chance.choice("xy"): chance.choice(values) for _ in range(2)
    }
    named = place | {"session_id": chance.choice("12")}
    config = GetSessionConfig(
        num_recent_events=chance.choice([None, 0, 2]), after_timestamp=chance.choice([None, 1000.0 + step // 2])
    )
    return chance.choice(
        [
            ("create_session", named | {"state": state}),
            ("get_session", named | {"config": chance.choice([None, config])}),
            ("list_sessions", chance.choice([place, {"app_name": APP}])),
            ("delete_session", named),
            ("get_user_state", place),
            ("append", named | {"text": str(step), "state": state, "again": chance.random() < 0.2}),
            ("append", named | {"text": str(step), "state": state, "again": False}),
        ]
    )


async def _result(service: BaseSessionService, kind: str, given: dict[str, Any]) -> Any:
    try:
        return _comparable(await _called(service, kind, dict(given)))
    except AlreadyExistsError as error:
        return type(error).__name__


async def _called(service: BaseSessionService, kind: str, given: dict[str, Any]) -> Any:
    if kind != "append":
        return await getattr(service, kind)(**given)
    text, state, again = (given.pop(name) for name in ("text", "state", "again"))
    session = await service.get_session(**given)
    if session is None:
        return None
    event = _said(text, id=text, timestamp=1000.0 + int(text), actions=EventActions(state_delta=state))
    for _ in range(1 + again):
        await service.append_event(session, event)
    return session


def _comparable(result: Any) -> Any:
    """Return the parts of a result on which both services must agree, without session times."""
    if isinstance(result, Session):
        return result.id, result.user_id, result.state, [event.model_dump(exclude_none=True) for event in result.events]
    if hasattr(result, "sessions"):
        return sorted((session.user_id, session.id, repr(sorted(session.state.items()))) for session in result.sessions)
    return result


def _text(entry: MemoryEntry) -> str:
    return "".join(part.text or "" for part in entry.content.parts or ())


@pytest.mark.parametrize("user", ["ada", "日" * 50])
async def test_any_text_can_be_a_session_id(connected: AsyncClient, place: str, unusual: str, user: str) -> None:
    sessions, memory = SomaSessionService(connected, place), SomaMemoryService(connected, f"{place}/memories")
    for owner, id in ((user, unusual), (user, unusual + "x"), (user, "1"), (user + "x", "2")):
        session = await sessions.create_session(app_name=APP, user_id=owner, session_id=id)
        await sessions.append_event(session, _said(id))
    stored = await sessions.get_session(app_name=APP, user_id=user, session_id=unusual)
    assert stored is not None
    assert [_text(event) for event in stored.events] == [unusual]
    await memory.add_session_to_memory(stored)
    await sessions.delete_session(app_name=APP, user_id=user, session_id=unusual)
    listed = (await sessions.list_sessions(app_name=APP, user_id=user)).sessions
    assert [session.id for session in listed] == [unusual + "x", "1"]

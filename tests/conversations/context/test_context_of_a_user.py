"""A context for a user, an agent or a session contains no one else's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Api, drain, issue_key

USERS = 6
SESSIONS = 4
TOPICS = [
    ("on the night train to Vienna", "in the theatre for Hamlet"),
    ("at the sushi restaurant", "on the ferry over the lake"),
    ("in the library next to the physics books", "for the flight to Lisbon in spring"),
    ("in the office near the kitchen", "on the bus to school"),
]


@dataclass(frozen=True)
class World:
    api: Api


@pytest.fixture
def world(api: Api) -> World:
    """Users who all talk about the same subjects, so that only the ids distinguish them."""
    for user in range(USERS):
        for session in range(SESSIONS):
            marks = {"user": user, "session": session}
            body = {
                "label": "Travel",
                "user_id": f"user-{user}",
                "session_id": f"{user}-{session}",
                "agent_id": f"agent-{session % 2}",
                "messages": [
                    {"role": "user", "content": f"A window seat {words}, please", "metadata": marks}
                    for words in TOPICS[session]
                ],
            }
            made = api.post("/api/v1/conversations", body).json()
            if session == 0:
                api.request("PUT", f"/api/v1/conversations/{made['id']}/pin")
            if session == 1:
                api.request("PUT", f"/api/v1/conversations/{made['id']}/archive")
    drain()
    return World(api)


def context(api: Api, **ids: str) -> list[dict[str, Any]]:
    body = {"query": "window seat", "preferred_labels": ["Travel"], "context_budget": 100_000, **ids}
    response = api.post("/api/v1/context/assemble?manifest=true", body)
    assert response.status_code == 200, response.content
    manifest = response.json()
    return [item["metadata"] for item in [*manifest["items"], *manifest["left_out"]] if "metadata" in item]


def test_a_context_of_a_user_contains_its_messages_only(world: World) -> None:
    for user in range(USERS):
        marks = context(world.api, user_id=f"user-{user}")

        assert {mark["user"] for mark in marks} == {user}
        assert {mark["session"] for mark in marks} == {0, 2, 3}  # 1 is archived


def test_a_context_of_a_session_or_an_agent_contains_its_messages_only(world: World) -> None:
    assert {(mark["user"], mark["session"]) for mark in context(world.api, session_id="2-3")} == {(2, 3)}
    assert {mark["session"] for mark in context(world.api, agent_id="agent-0")} == {0, 2}
    marks = context(world.api, user_id="user-1", agent_id="agent-0")
    assert {(mark["user"], mark["session"]) for mark in marks} == {(1, 0), (1, 2)}


def test_a_context_of_an_unknown_user_is_empty(world: World) -> None:
    assert context(world.api, user_id="unknown") == []
    assert context(world.api, user_id="user-1", session_id="2-3") == []


def test_a_limited_key_gets_a_context_of_its_user(world: World) -> None:
    key = issue_key(world.api.tenant, ("read",), user_id="user-3")

    assert {mark["user"] for mark in context(Api(key, world.api.tenant))} == {3}

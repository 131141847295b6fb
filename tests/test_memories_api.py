"""Storing, fetching, changing and deleting memories over HTTP."""

from __future__ import annotations

from tests.conftest import Api, drain, problem_of


def test_a_stored_memory_comes_back_as_it_was(api: Api) -> None:
    answer = api.store("1,2,3", "hello", metadata={"tag": "x"}, importance=3)

    memory = api.get("/memories/1.0,2.0,3.0").json()["memory"]

    assert answer["created"] is True
    assert memory["payload"] == {"text": "hello"}
    assert memory["metadata"] == {"tag": "x"}
    assert memory["coordinate"] == [1.0, 2.0, 3.0]


def test_a_memory_is_found_by_meaning_once_it_is_indexed(api: Api) -> None:
    api.store("1", "The capital of France is Paris")
    api.store("2", "Bread is baked in an oven")
    drain()

    assert [found["coord"] for found in api.search("city in France", mode="semantic", top_k=1)] == ["1.0"]


def test_a_memory_is_found_by_word_at_once(api: Api) -> None:
    api.store("1", "The aardvark sleeps")

    assert [found["coord"] for found in api.search("aardvarks")] == ["1.0"]


def test_a_bad_coordinate_is_refused(api: Api) -> None:
    problem_of(api.post("/memories", {"coord": "1,nan", "payload": {}}), 400, "invalid_coordinate")

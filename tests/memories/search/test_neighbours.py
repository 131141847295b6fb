"""Neighbour evidence: adjacent memories can raise a memory's score."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories import coordinates
from memories.search import scoring, term_marks
from memories.search.candidates import Candidate
from memories.search.neighbours import SHARES, spread
from tests.conftest import Api, drain

WEIGHTS = {"boat": 2.0, "red": 1.0}
SATURATIONS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.9]), min_size=2, max_size=2)
LINES = st.dictionaries(st.tuples(st.integers(0, 1), st.integers(-2, 6)), SATURATIONS, min_size=1, max_size=9)


def candidate(
    numbers: tuple[float, ...], matched: list[float], user: str | None = None, asks: bool = False
) -> Candidate:
    mark = term_marks.Mark(questions=1.0) if asks else term_marks.NONE
    key = coordinates.encode(numbers)
    row = np.array(matched)
    return Candidate(uuid.uuid4(), "default", key, 0.0, "", 0.0, None, mark=mark, matched=row, user_id=user)


def evidence(*candidates: Candidate) -> list[float]:
    spread(candidates, WEIGHTS)
    return [candidate.neighbours for candidate in candidates]


@given(LINES)
def test_evidence_is_the_best_share_of_each_word_that_a_neighbour_matches_better(
    lines: dict[tuple[int, int], list[float]],
) -> None:
    found = evidence(*(candidate(place, matched) for place, matched in lines.items()))

    for (line, number), added in zip(lines, found, strict=True):
        own = lines[line, number]
        near = [(share, lines.get((line, number + distance), [0.0, 0.0])) for distance, share in SHARES.items()]
        best = [max([own[word], *(share * other[word] for share, other in near)]) for word in (0, 1)]
        expected = sum((high - low) * weight for high, low, weight in zip(best, own, WEIGHTS.values(), strict=True))
        assert added == pytest.approx(expected)


@given(LINES)
def test_evidence_never_lowers_a_score_and_never_exceeds_the_bound(lines: dict[tuple[int, int], list[float]]) -> None:
    rows = [candidate(place, matched) for place, matched in lines.items()]
    spread(rows, WEIGHTS)

    for row in rows:
        assert row.neighbours >= 0
        assert row.neighbours + scoring.weighted(row.matched[np.newaxis], WEIGHTS)[0] <= sum(WEIGHTS.values())


def test_an_answer_gets_a_larger_share_from_a_question_before_it() -> None:
    [_, after_question] = evidence(candidate((1,), [0.5, 0], asks=True), candidate((2,), [0, 0]))
    [_, after_statement] = evidence(candidate((1,), [0.5, 0]), candidate((2,), [0, 0]))

    assert after_question > after_statement > 0


def test_a_memory_of_another_user_gives_no_evidence() -> None:
    assert evidence(candidate((1,), [0.5, 0], "ada"), candidate((2,), [0, 0], "bob")) == [0, 0]


def test_the_largest_numbers_have_no_neighbours() -> None:
    assert evidence(candidate((1e300,), [0.5, 0]), candidate((2e300,), [0, 0])) == [0, 0]


@pytest.fixture
def conversation(api: Api) -> Api:
    """A conversation whose third turn answers the second one without repeating its words."""
    texts = ["Hello there.", "Which aardvark did you see at the lake?", "The small brown one.", "Nice weather today."]
    for turn, text in enumerate(texts):
        api.store(f"1,{turn}", text, metadata={"turn": turn})
    drain()
    return api


def turns(found: dict[str, Any]) -> list[int]:
    return [memory["metadata"]["turn"] for memory in found["memories"]]


def search(api: Api, query: str = "aardvark lake", **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.post("/memories/search", {"query": query, **options}).json()
    return found


def test_an_answer_is_found_by_the_words_of_the_question_before_it(conversation: Api) -> None:
    assert turns(search(conversation))[:2] == [1, 2]


def test_an_explained_score_contains_the_evidence_of_neighbours(conversation: Api) -> None:
    question, answer = search(conversation, explain=True)["memories"][:2]

    assert answer["scores"]["keyword"] == 0 < answer["scores"]["neighbours"]
    assert question["scores"]["neighbours"] == 0 < question["scores"]["keyword"]


def test_a_memory_that_a_filter_excludes_still_counts_for_its_neighbours(conversation: Api) -> None:
    filters = {"metadata.turn": {"gte": 2}}

    found = search(conversation, "aardvark lake brown", filters=filters, explain=True)

    assert turns(found)[0] == 2
    assert 1 not in turns(found)
    assert found["memories"][0]["scores"]["neighbours"] > 0


def test_keyword_and_semantic_searches_use_no_neighbours(conversation: Api) -> None:
    assert turns(search(conversation, mode="keyword")) == [1]
    assert all(
        "neighbours" not in memory["scores"]
        for memory in search(conversation, mode="semantic", explain=True)["memories"]
    )


def test_a_namespace_can_be_searched_without_neighbours(conversation: Api, settings: Any) -> None:
    settings.SEARCH_WITHOUT_NEIGHBOURS = ["default"]

    assert all(memory["scores"]["neighbours"] == 0 for memory in search(conversation, explain=True)["memories"])


def test_a_memory_of_another_user_does_not_count_for_its_neighbours(api: Api) -> None:
    api.store("1,1", "Which aardvark did you see at the lake?", user_id="ada")
    api.store("1,2", "The small brown one.", user_id="bob")
    drain()

    for options in ({}, {"user_id": "bob"}):
        found = search(api, "aardvark lake brown", explain=True, **options)
        [answer] = [memory for memory in found["memories"] if memory["user_id"] == "bob"]
        assert answer["scores"]["neighbours"] == 0


def test_a_deleted_memory_does_not_count_for_its_neighbours(conversation: Api) -> None:
    conversation.delete("/memories/1,1")

    assert all(memory["scores"]["neighbours"] == 0 for memory in search(conversation, explain=True)["memories"])

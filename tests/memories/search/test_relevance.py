"""Relevance: the probability that a query has an answer, and the share of each hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from memories.search import relevance, term_marks
from memories.search.relevance import Signals
from memories.search.scoring import Stats
from memories.search.term_marks import Mark
from tests.conftest import Api, drain, problem_of

SATURATION = 0.5
SHORT, LONG = 10.0, 300.0  # average numbers of terms
shares = st.floats(0, 1)
similarities = st.none() | st.floats(-1, 1)


@dataclass
class FakeCandidate:
    similarity: float | None
    contained: tuple[int, ...]
    mark: Mark = term_marks.NONE

    @property
    def matched(self) -> NDArray[np.float64]:
        return SATURATION * np.array(self.contained)


def signals_of(query: str, terms: list[str], candidates: Sequence[FakeCandidate], average_length: float) -> Signals:
    return relevance.signals(query, candidates, Stats(1, average_length, dict.fromkeys(terms, 1)))


def test_a_perfect_hit_is_relevant_and_an_unrelated_one_is_not() -> None:
    assert Signals(0.8, 1.0, 0.0).probability > 0.9
    assert signals_of("kitten", ["kitten"], [FakeCandidate(0.2, (0,))], SHORT).probability < 0.15
    assert Signals(0.2, 0.0, 0.0).probability < relevance.FLOOR
    assert Signals(None, 1.0, 0.0).probability > 0.9
    assert Signals(None, 0.0, 0.0).probability < relevance.FLOOR


@given(similarities, shares, shares, shares, shares, shares)
def test_a_probability_is_between_0_and_1(
    similarity: float | None, coverage: float, missing: float, length: float, absent: float, other_speaker: float
) -> None:
    assert 0 < Signals(similarity, coverage, missing, length, absent, other_speaker).probability < 1


@given(st.floats(-1, 1), shares, shares, st.floats(0, 0.5))
def test_more_evidence_never_lowers_the_probability(
    similarity: float, coverage: float, missing: float, more: float
) -> None:
    before = Signals(similarity, coverage, missing).probability
    assert Signals(similarity + more, coverage, missing).probability >= before
    assert Signals(similarity, coverage + more, missing).probability >= before
    assert Signals(similarity, coverage, missing + more).probability <= before
    assert Signals(similarity, coverage, missing, absent=more).probability <= before
    assert Signals(similarity, coverage, missing, other_speaker=more).probability <= before


def test_the_best_hit_has_the_whole_probability_and_the_others_their_share() -> None:
    signals = Signals(0.8, 1.0, 0.0)
    assert signals.relevance(0.6, 0.6) == round(signals.probability, 4)
    assert signals.relevance(0.3, 0.6) == pytest.approx(signals.probability / 2, abs=1e-4)
    assert signals.relevance(0.0, 0.0) == 0.0


@pytest.mark.parametrize("month", ["May", "Jan"])
def test_dates_do_not_lower_the_coverage(month: str) -> None:
    query = f"What did the kitten eat on 3 {month}, 2023?"
    terms = ["kitten", "eat", "3", month.lower(), "2023"]
    assert signals_of(query, terms, [FakeCandidate(None, (1, 1, 0, 0, 0))], SHORT) == Signals(None, SATURATION)


def test_words_about_the_conversation_do_not_lower_the_coverage() -> None:
    query = "Can you summarize what I mentioned about kittens in our conversations?"
    terms = ["can", "summar", "mention", "kitten", "convers"]
    assert signals_of(query, terms, [FakeCandidate(None, (0, 0, 0, 1, 0))], SHORT) == Signals(None, SATURATION)


def test_an_abbreviation_in_capital_letters_is_not_a_name() -> None:
    assert relevance.names("Which TV does Ada own?") == {"ada"}


def test_a_name_that_no_memory_contains_makes_every_hit_less_relevant() -> None:
    terms = ["carolin", "kitten"]
    unnamed, named = FakeCandidate(0.5, (0, 1)), FakeCandidate(0.1, (1, 0))
    query = "How is Caroline's kitten?"
    assert signals_of(query, terms, [unnamed], SHORT).missing == 1.0
    assert signals_of(query, terms, [unnamed, named], SHORT) == Signals(0.5, SATURATION, 0.0)


def test_similarity_and_words_count_only_together_in_one_memory() -> None:
    apart = [FakeCandidate(0.5, (0, 1)), FakeCandidate(0.1, (1, 1))]
    assert signals_of("kitten eating", ["kitten", "eat"], apart, SHORT) == Signals(0.5, SATURATION / 2, 0.0)


def test_words_that_no_hit_contains_make_every_hit_less_relevant() -> None:
    terms = ["kitten", "eat", "sleep"]
    one, other = FakeCandidate(0.5, (1, 0, 0)), FakeCandidate(0.1, (0, 1, 0))
    absent = [
        signals_of("kitten eating and sleeping", terms, hits, SHORT).absent
        for hits in ([], [one], [one, other], [one, other, FakeCandidate(0.0, (0, 0, 1))])
    ]
    assert absent == sorted(absent, reverse=True)
    assert absent[0] < 1
    assert absent[-1] == 0


def test_a_query_in_the_first_person_is_less_relevant_to_what_others_have_said() -> None:
    user, assistant = (Mark(speakers=frozenset([speaker])) for speaker in ("user", "assistant"))
    theirs = FakeCandidate(0.5, (1,), assistant)
    mine = FakeCandidate(0.4, (1,), user)

    assert signals_of("my kitten", ["kitten"], [theirs, mine], SHORT).similarity == 0.4
    assert signals_of("the kitten", ["kitten"], [theirs, mine], SHORT).similarity == 0.5
    unrelated = FakeCandidate(0.0, (0,), user)
    reply = signals_of("my kitten", ["kitten"], [theirs, unrelated], SHORT)
    assert reply.other_speaker > 0
    assert reply.probability < signals_of("my kitten", ["kitten"], [theirs], SHORT).probability


def test_a_query_that_consists_of_a_name_is_judged_by_the_name() -> None:
    assert signals_of("who is Caroline?", ["carolin"], [FakeCandidate(0.5, (1,))], SHORT).coverage == SATURATION
    assert signals_of("who is Caroline?", ["carolin"], [FakeCandidate(0.5, (0,))], SHORT).coverage == 0.0


def test_the_same_match_is_less_relevant_among_long_memories() -> None:
    among_short, among_long = (
        signals_of("kitten", ["kitten"], [FakeCandidate(0.3, (1,))], length) for length in (SHORT, LONG)
    )
    assert among_long.probability < among_short.probability


def test_only_the_best_hits_are_considered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relevance, "BEST", 1)
    hits = [FakeCandidate(0.2, (0,)), FakeCandidate(0.5, (1,))]
    assert signals_of("kitten", ["kitten"], hits, SHORT) == Signals(0.2, 0.0, absent=1 / 3)


def test_without_candidates_the_probability_is_low() -> None:
    assert signals_of("kitten", ["kitten"], [], SHORT).probability < relevance.FLOOR
    assert signals_of("", [], [], SHORT).probability < relevance.FLOOR


def search(api: Api, query: str, **options: object) -> list[dict[str, float]]:
    found: list[dict[str, float]] = api.post("/api/v1/memories/search", {"query": query, **options}).json()["memories"]
    return found


@pytest.fixture
def kitchen(api: Api) -> Api:
    for number, text in enumerate(("Ada eats porridge for breakfast", "The kettle in the kitchen leaks")):
        api.post("/api/v1/memories", {"coord": [number], "payload": {"text": text}})
    drain()
    return api


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_every_hit_has_a_relevance_that_a_search_can_require(kitchen: Api, mode: str) -> None:
    first, *others = search(kitchen, "What does Ada eat for breakfast?", mode=mode, top_k=10)

    assert first["relevance"] > 0.5
    assert all(hit["relevance"] <= first["relevance"] for hit in others)
    floor = first["relevance"]
    assert search(kitchen, "What does Ada eat for breakfast?", mode=mode, min_relevance=floor)[:1] == [first]
    assert search(kitchen, "zzzqqq", mode=mode, min_relevance=0.3) == []


def test_a_get_search_can_require_a_relevance(kitchen: Api) -> None:
    path = "/api/v1/memories/search?query=zzzqqq&min_relevance="
    assert kitchen.get(path + "0.3").json()["memories"] == []
    assert problem_of(kitchen.get(path + "2"), 422)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, "high", None])
def test_a_relevance_outside_of_0_to_1_is_refused(api: Api, wrong: object) -> None:
    for path in ("/memories/search", "/query", "/context/assemble"):
        if wrong is None and path == "/context/assemble":
            continue  # null: the default
        response = api.post(f"/api/v1{path}", {"query": "tea", "min_relevance": wrong})
        assert "min_relevance" in problem_of(response, 422)["detail"]


def test_a_corrected_name_makes_every_hit_less_relevant() -> None:
    stats = Stats(1, SHORT, {"anita": 1, "like": 1}, uncertain=frozenset({"anita"}))
    hits = [FakeCandidate(0.6, (1, 1))]
    assert relevance.signals("What does Anita like?", hits, stats).probability < relevance.FLOOR
    assert relevance.signals("What does Anita like?", hits, replace(stats, uncertain=frozenset())).probability > 0.9

"""The score formulas: BM25, keyword and semantic scores, and their weighted mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.search import scoring
from memories.search.scoring import (
    FREQUENT_FLOOR,
    LONG,
    Scores,
    Stats,
    Weights,
    bm25,
    dense_query,
    fuse,
    idf,
    importance,
    keyword,
    length_normalisation,
    recency,
    semantic,
    term_weights,
)

TERM = st.sampled_from(["anna", "boat", "sail", "sea", "storm", "rope"])
MEMORY = st.lists(TERM, max_size=30)
QUERY = st.lists(TERM, max_size=6, unique=True)
COUNT = st.integers(0, 10**7)
LENGTH = st.floats(0, 1e5)
UNIT = st.floats(0, 1)
NAMESPACE = Stats(documents=100, average_length=10.0, frequency={"anna": 60, "boat": 5, "sail": 20})


@st.composite
def weights(draw: st.DrawFn) -> dict[str, float]:
    documents, frequency = draw(COUNT), draw(st.dictionaries(TERM, COUNT))
    return term_weights(draw(QUERY), Stats(documents, 10.0, frequency))


@given(COUNT, COUNT)
def test_idf_is_positive_even_when_counts_disagree(documents: int, frequency: int) -> None:
    assert 0 < idf(documents, frequency) < math.inf


def test_idf_follows_the_formula() -> None:
    assert idf(100, 5) == pytest.approx(math.log(1 + 95.5 / 5.5))


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_rarer_term_never_weighs_less(one: int, other: int) -> None:
    rarer, commoner = sorted((one, other))
    assert idf(1000, rarer) >= idf(1000, commoner)


def test_words_that_occur_close_together_in_a_long_memory_are_better_evidence() -> None:
    weights, filler = {"anna": 1.0, "boat": 1.0}, " ".join(["rope"] * 100)
    close, scattered = f"{filler} anna boat {filler}", f"anna {filler} {filler} boat"
    one, other = scoring.evidence([close, scattered], weights, LONG)
    assert one.sum() > other.sum()


@pytest.mark.parametrize("context", ["", " §00 boat sail"])
def test_another_match_never_makes_the_evidence_weaker(context: str) -> None:
    weights, filler = {"anna": 1.0, "boat": 1.0, "sail": 1.0}, " ".join(["rope"] * 2_000)
    late = f"{filler} anna boat sail{context}"
    memories = [late, late.replace("rope", "anna", 1), late.replace("rope", "boat", 1)]
    fewer, *more = scoring.evidence(memories, weights, 2_000.0).sum(axis=1)
    assert min(more) > fewer


def test_short_memories_have_no_passages() -> None:
    weights, memories = {"anna": 1.0, "boat": 2.0}, ["anna", "boat rope anna", "", "rope"]
    wanted = scoring.saturations(memories, list(weights), 3.0)
    assert (scoring.evidence(memories, weights, 3.0) == wanted).all()


@given(st.lists(st.lists(TERM, max_size=200).map(" ".join), min_size=1, max_size=5), weights(), LENGTH)
def test_evidence_does_not_depend_on_the_other_memories(
    memories: list[str], weights: dict[str, float], average_length: float
) -> None:
    together = scoring.evidence(memories, weights, average_length)
    for memory, row in zip(memories, together, strict=True):
        assert (scoring.evidence([memory], weights, average_length)[0] == row).all()
        assert ((row >= 0) & (row < 1)).all()


@given(MEMORY, weights(), LENGTH)
def test_bm25_stays_below_the_sum_of_the_weights(
    memory: list[str], query: dict[str, float], average_length: float
) -> None:
    score = bm25(" ".join(memory), query, average_length)
    assert 0 <= score <= math.fsum(query.values())
    assert 0 <= keyword(score, query) <= 1


@given(MEMORY, weights(), LENGTH, TERM)
def test_another_matching_term_in_place_of_a_foreign_one_never_lowers_bm25(
    memory: list[str], query: dict[str, float], average_length: float, term: str
) -> None:
    before = bm25(" ".join([*memory, "foreign"]), query, average_length)
    assert bm25(" ".join([*memory, term]), query, average_length) >= before


@given(MEMORY, TERM, LENGTH)
def test_repeating_the_only_query_term_never_lowers_bm25(memory: list[str], term: str, average_length: float) -> None:
    query = term_weights([term], NAMESPACE)
    once, twice = (bm25(" ".join(memory + [term] * times), query, average_length) for times in (1, 2))
    # With b = 1, a memory of this term alone scores the same at any length, apart from rounding
    assert twice >= once * (1 - 1e-12)


@given(MEMORY, weights(), LENGTH)
def test_text_that_does_not_match_never_raises_bm25(
    memory: list[str], query: dict[str, float], average_length: float
) -> None:
    assert bm25(" ".join([*memory, "foreign"]), query, average_length) <= bm25(" ".join(memory), query, average_length)


@pytest.mark.parametrize(("average", "b"), [(0, 0.4), (15, 0.4), (25, 0.4), (200, 1.0), (5_000, 1.0)])
def test_long_memories_are_normalised_by_their_length(average: float, b: float) -> None:
    assert length_normalisation(average) == pytest.approx(b)


def test_the_length_counts_more_the_longer_the_memories_are() -> None:
    values = [length_normalisation(average) for average in (25, 50, 100, 200)]

    assert values == sorted(set(values))


def test_bm25_follows_the_formula() -> None:
    query = term_weights(["boat", "storm"], NAMESPACE)
    weight = math.log(1 + 95.5 / 5.5) * 1.9
    assert bm25("boat anna boat sail", query, 10.0) == pytest.approx(weight * 2 / (2 + 0.9 * (0.6 + 0.4 * 4 / 10)))


def test_only_whole_terms_match() -> None:
    assert bm25("boating lifeboat", term_weights(["boat"], NAMESPACE), 10.0) == 0


def test_a_memory_without_terms_scores_nothing() -> None:
    assert bm25("", term_weights(["boat"], NAMESPACE), 10.0) == 0


def test_a_query_without_terms_scores_nothing() -> None:
    assert keyword(bm25("boat", {}, 10.0), {}) == 0


def test_a_namespace_without_memories_scores_nothing() -> None:
    query = term_weights(["boat"], Stats(0, 0.0, {}))
    assert keyword(bm25("", query, 0.0), query) == 0


def test_the_keyword_score_grows_with_the_matching_share_of_the_query() -> None:
    query = term_weights(["boat", "storm"], NAMESPACE)
    half, whole = (keyword(bm25(memory, query, 10.0), query) for memory in ("boat", "boat storm"))
    assert whole > 2 * half > 0


@pytest.mark.parametrize(
    ("similarity", "score"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0), (-0.5, 0.0), (1.0000001, 1.0), (-1.0, 0.0)]
)
def test_the_semantic_score_is_the_cosine_from_zero_to_one(similarity: float, score: float) -> None:
    assert semantic(similarity) == score


@pytest.mark.parametrize(("age_s", "score"), [(0, 1.0), (60, 0.5), (120, 0.25), (-60, 1.0)])
def test_recency_halves_with_every_half_life(age_s: float, score: float) -> None:
    assert recency(age_s, half_life_s=60) == score


@given(st.floats(allow_nan=False), st.floats(min_value=1e-3, max_value=1e12))
def test_recency_stays_in_range(age_s: float, half_life_s: float) -> None:
    assert 0 <= recency(age_s, half_life_s) <= 1


@pytest.mark.parametrize("half_life_s", [0, -1, math.nan])
def test_a_half_life_must_be_positive(half_life_s: float) -> None:
    with pytest.raises(ValueError, match="half-life"):
        recency(1, half_life_s)


@pytest.mark.parametrize(("value", "score"), [(0, 0.0), (5, 0.5), (10, 1.0), (12, 1.0), (-1, 0.0)])
def test_importance_is_a_tenth_of_its_value(value: float, score: float) -> None:
    assert importance(value) == score


@given(st.builds(Scores, UNIT, UNIT, UNIT, UNIT), st.lists(st.floats(0, 1e300), min_size=4, max_size=4).filter(any))
def test_the_fused_score_stays_in_range(scores: Scores, values: Sequence[float]) -> None:
    assert 0 <= fuse(scores, Weights(*values)) <= 1


@given(UNIT, UNIT, UNIT, UNIT)
def test_a_better_part_never_lowers_the_fused_score(
    one: float, other: float, keyword_score: float, recency_score: float
) -> None:
    weights = Weights(1, 2, 3, 4)
    worse, better = (Scores(part, keyword_score, recency_score) for part in sorted((one, other)))
    assert fuse(better, weights) >= fuse(worse, weights)


def test_the_fused_score_is_the_weighted_mean() -> None:
    assert fuse(Scores(0.5, 1.0, 0.25, 0.0), Weights(1, 2, 4, 1)) == pytest.approx(3.5 / 8)


def test_recency_and_importance_count_only_on_request() -> None:
    assert fuse(Scores(0.5, 0.5, 0.0, 0.0)) == fuse(Scores(0.5, 0.5, 1.0, 1.0)) == 0.5


def test_only_the_proportion_of_weights_matters() -> None:
    scores = Scores(0.2, 0.6)
    assert fuse(scores, Weights(1, 3)) == pytest.approx(fuse(scores, Weights(0.25, 0.75)))


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (-1, 2, 0, 0), (math.nan, 1, 0, 0), (math.inf, 1, 0, 0)])
def test_weights_that_cannot_be_averaged_are_refused(values: Sequence[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Weights(*values)


def test_a_word_of_a_quarter_of_the_namespace_is_not_embedded() -> None:
    assert dense_query("When did Anna's boat sail?", NAMESPACE) == "When did boat sail?"


def test_a_query_of_frequent_words_only_is_embedded_whole() -> None:
    assert dense_query("Who is Anna?", NAMESPACE) == "Who is Anna?"


def test_a_frequent_word_of_long_memories_is_embedded() -> None:
    memories = Stats(documents=100, average_length=LONG, frequency={"anna": 120, "sail": 5})  # 120 is an estimate
    assert dense_query("When did the anna sail?", memories) == "When did the anna sail?"


@pytest.mark.parametrize("query", ["Did Anna sail?", "Anna's boat", "Is it (Anna's) boat?"])
def test_a_frequent_name_in_long_memories_is_not_embedded(query: str) -> None:
    assert "Anna" not in dense_query(query, replace(NAMESPACE, average_length=LONG))


def test_a_word_that_asks_for_an_answer_is_not_a_name() -> None:
    memories = Stats(documents=1_000, average_length=LONG, frequency={"list": 900, "boat": 5})
    assert dense_query("List my boats", memories) == "List my boats"


def test_an_unknown_word_is_embedded() -> None:
    assert dense_query("Anna storms", NAMESPACE) == "storms"


def test_a_word_with_one_rare_part_is_embedded() -> None:
    assert dense_query("Anna-boat", NAMESPACE) == "Anna-boat"


def test_no_word_is_frequent_among_few_memories() -> None:
    few = Stats(documents=12, average_length=5.0, frequency={"anna": FREQUENT_FLOOR, "boat": 1})
    assert dense_query("Anna boat", few) == "Anna boat"


@given(st.text(), st.dictionaries(TERM, COUNT), COUNT)
def test_the_embedded_query_contains_only_words_of_the_query(
    query: str, frequency: dict[str, int], documents: int
) -> None:
    kept = dense_query(query, Stats(documents, 10.0, frequency))
    assert set(kept.split()) <= set(query.split())
    assert bool(kept.split()) == bool(query.split())

"""Choosing the term combinations to rank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memories.search import clauses, scoring
from memories.search.scoring import Stats
from memories.search.term_index import Clause

TERMS = ["anna", "boat", "sail", "sea", "storm"]


def chosen(documents: int, few: int, **frequency: int) -> tuple[set[Clause], bool]:
    stats = Stats(documents, 10.0, frequency)
    found, complete = clauses.choose(stats, scoring.term_weights(list(frequency), stats), few)
    return {tuple(sorted(clause)) for clause in found}, complete


def test_all_terms_are_looked_up_when_few_memories_contain_them() -> None:
    assert chosen(10_000, 400, anna=300, boat=90) == ({("anna",), ("boat",)}, True)


def test_a_term_that_does_not_occur_is_not_looked_up() -> None:
    assert chosen(10_000, 400, anna=300, boat=0) == ({("anna",)}, True)
    assert chosen(10_000, 400, boat=0) == (set(), True)


def test_a_rare_term_suffices_without_a_frequent_one() -> None:
    assert chosen(10_000, 400, anna=9_000, boat=90) == ({("boat",)}, False)


def test_frequent_terms_must_occur_together() -> None:
    assert chosen(10_000, 400, anna=1_000, boat=1_100, sail=90) == ({("sail",), ("anna", "boat")}, False)


def test_a_combination_is_looked_up_even_if_it_is_frequent() -> None:
    assert chosen(10_000, 400, anna=9_000) == ({("anna",)}, True)
    assert chosen(10_000, 400, anna=9_000, boat=9_000) == ({("anna", "boat")}, False)


@given(st.dictionaries(st.sampled_from(TERMS), st.integers(0, 10_000)), st.integers(1, 2_000))
def test_no_combination_contains_another_and_one_is_found_if_any_term_occurs(
    frequency: dict[str, int], few: int
) -> None:
    found, complete = chosen(10_000, few, **frequency)

    assert bool(found) == any(frequency.values())
    assert not any(set(one) < set(other) for one in found for other in found)
    assert not complete or {clause[0] for clause in found} == {term for term, count in frequency.items() if count}

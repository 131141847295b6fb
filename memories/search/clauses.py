"""Choose the memories to rank, by the combinations of query terms that they contain. This module is pure.

A memory can rank high only if the query terms that it contains have enough weight in total. Other memories are not
read. Several frequent terms can have as much weight as a rare one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from memories.search.scoring import FREQUENT_SHARE, Stats
from memories.search.term_index import Clause

# The maximum number of terms in a combination, and the number of terms, rarest first, that are combined.
_LONGEST = 3
_COMBINED = 8


def choose(stats: Stats, weights: Mapping[str, float], few: int) -> tuple[list[Clause], bool]:
    """Return combinations of terms, and whether every memory that contains a term contains one of the combinations.

    The heaviest combinations are chosen until about `few` memories contain one of them. If any term occurs, there is at
    least one combination.

    weights: the weight of each term (`scoring.term_weights`).
    """
    occurring = sorted((count, term) for term, count in stats.frequency.items() if count)
    terms = [term for _, term in occurring]
    if sum(count for count, _ in occurring) <= few:
        return [(term,) for term in terms], True
    chosen: list[Clause] = []
    expected = 0.0
    for clause in _heaviest_first(terms, weights, stats):
        expected += _expected(clause, stats)
        if chosen and expected > few:
            break
        chosen.append(clause)
    return _without_included(chosen), len(chosen) == len(terms) == 1


def _heaviest_first(terms: list[str], weights: Mapping[str, float], stats: Stats) -> list[Clause]:
    """Return single terms and combinations, heaviest first. Frequent terms are not combined if there are rarer ones."""
    useful = [term for term in terms if stats.frequency[term] <= stats.documents * FREQUENT_SHARE] or terms
    clauses: list[Clause] = [(term,) for term in terms]
    for length in range(2, _LONGEST + 1):
        clauses += combinations(useful[:_COMBINED], length)
    return sorted(clauses, key=lambda clause: (-sum(weights[term] for term in clause), clause))


def _expected(clause: Clause, stats: Stats) -> float:
    """Return how many memories can be expected to contain all of these terms if the terms are independent."""
    expected = float(stats.documents)
    for term in clause:
        expected *= min(stats.frequency[term] / max(stats.documents, 1), 1.0)
    return expected


def _without_included(clauses: list[Clause]) -> list[Clause]:
    """Return the combinations except those that include another combination in the list."""
    shortest: list[Clause] = []
    for clause in sorted(clauses, key=len):
        if not any(set(shorter) <= set(clause) for shorter in shortest):
            shortest.append(clause)
    return shortest

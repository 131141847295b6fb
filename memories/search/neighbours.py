"""Neighbour evidence: words in adjacent memories also count as matches.

Two memories are adjacent if their coordinates differ only in the last number, by one or two, such as turns of a
conversation, lines of a log, or sections of a document. If a memory contains a query word, each adjacent memory gets a
fraction (`SHARES`) of that memory's score for the word, unless the adjacent memory's own score for the word is higher.
A context that repeats the previous memory therefore counts only once. This evidence is added to the best hits and to
the memories adjacent to them, which are read and become candidates. Memories that the filters exclude still count as
evidence if the caller can read them and they belong to the same user.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from django.conf import settings

from memories import coordinates
from memories.namespaces import covers
from memories.search import scoring
from memories.search.candidates import Candidate, Candidates
from memories.search.expansion import Address
from memories.search.query import Search
from memories.search.ranking import Ranked
from memories.search.selection import Selection
from memories.search.semantic import SemanticLeg
from memories.selectors import Narrowing

# The number of best hits whose adjacent memories are read, whatever the page. On the development sets, 10, 20 and 30
# give the same mean recall@10, to within 0.5 percentage points.
BEST = 20
# The fractions by distance: -1 is the previous memory, 1 the next one.
SHARES = {-1: scoring.CONTEXT, 1: 0.6, -2: 0.3, 2: 0.3}
_Line = tuple[str, str, str | None]  # namespace, coordinate key without the last number, user


def add(query: Search, leg: SemanticLeg, ranked: Sequence[Ranked], candidates: Candidates) -> None:
    """Add the memories next to the best hits to the candidates, and set the neighbour evidence for both."""
    best = [hit.candidate for hit in ranked if _applies_to(hit.candidate.namespace)]
    near = list(dict.fromkeys(address for candidate in best for address in _next_to(candidate)))
    if not near:
        return
    known = {candidate.address: candidate for candidate in candidates.values()}
    missing = [address for address in near if address not in known]
    visible = _visible(leg, query)
    joining, informing = leg.confirmation.at(leg.caller.tenant, visible, missing) if missing else ([], [])
    joined = {candidate.id: candidate for candidate in joining}
    leg.add_similarities(joined)
    candidates.update(joined)
    around = [known[address] for address in near if address in known]
    spread(list(dict.fromkeys((*best, *around, *joining, *informing))), leg.confirmation.weights)


def spread(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> None:
    """Set the neighbour evidence of each candidate, from the other candidates.

    weights: the weight of each query term.
    """
    own = np.concatenate([candidate.matched for candidate in candidates]).reshape(len(candidates), -1)
    together = own.copy()
    for distance, receiving, giving in _pairs(candidates, set(np.flatnonzero(own.any(axis=1)).tolist())):
        asks = distance == -1 and np.array([candidates[giver].mark.questions > 0 for giver in giving])
        share = np.where(asks, scoring.ANSWER, SHARES[distance]).reshape(-1, 1)
        together[receiving] = np.maximum(together[receiving], share * own[giving])
    added = scoring.weighted(together, weights) - scoring.weighted(own, weights)
    for candidate, bm25 in zip(candidates, added.tolist(), strict=True):
        candidate.neighbours = bm25


def _pairs(candidates: Sequence[Candidate], givers: Collection[int]) -> Iterator[tuple[int, list[int], list[int]]]:
    """Yield (distance, receivers, givers) for each distance: the pairs of candidates that are this far apart.

    Receivers and givers are positions in `candidates`; a receiver gets evidence from the giver at the same index.

    givers: the positions of all candidates that contain a query word.
    """
    lines: dict[_Line, dict[float, int]] = defaultdict(dict)
    giving: dict[_Line, dict[float, int]] = defaultdict(dict)
    for position, candidate in enumerate(candidates):
        key = candidate.coordinate_key
        line = (candidate.namespace, key[: -coordinates.DIGITS_PER_NUMBER], candidate.user_id)
        number = coordinates.last_number(key)
        lines[line][number] = position
        if position in givers:
            giving[line][number] = position
    for distance in SHARES:
        pairs = [
            (receiver, near[number + distance])
            for line, near in giving.items()
            for number, receiver in lines[line].items()
            if number + distance in near
        ]
        if pairs:
            yield distance, [receiver for receiver, _ in pairs], [giver for _, giver in pairs]


def _next_to(candidate: Candidate) -> Iterator[Address]:
    key, digits = candidate.coordinate_key, coordinates.DIGITS_PER_NUMBER
    return ((candidate.namespace, key[:-digits] + other) for other in _around(key[-digits:]))


@lru_cache(10_000)
def _around(digits: str) -> Sequence[str]:
    """Return the encoded numbers that differ from an encoded number by one or two."""
    number = coordinates.last_number(digits)
    return [coordinates.with_last_number(digits, number + by) for by in SHARES if number + by != number]


def _applies_to(namespace: str) -> bool:
    prefixes = settings.SEARCH_WITHOUT_NEIGHBOURS
    return not (prefixes and any(covers(prefix, namespace) for prefix in prefixes))


def _visible(leg: SemanticLeg, query: Search) -> Selection:
    """Return the selection of memories that the search could return if it had no filters other than the user filter."""
    of_user = Narrowing(user_id=query.narrowing.user_id)
    if query.narrowing == of_user:
        return leg.confirmation.selection
    return Selection.for_search(leg.caller, replace(query, narrowing=of_user))

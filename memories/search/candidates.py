"""Candidates: memories that a leg of the search has found and the database has confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
from django.db.models import Q, QuerySet
from numpy.typing import NDArray

from memories.models import EmbeddingGeneration, Memory
from memories.search import scoring, term_marks
from memories.search.expansion import Address
from memories.search.selection import Row, Selection, StoredId
from memories.search.term_marks import Mark
from memories.selectors import Narrowing
from tenants.models import Tenant

# `created_at` is read as text, because SQLite's driver takes 3 µs to parse a time, and few searches need it.
_COLUMNS = """
    sfm_memories.id, sfm_memories.namespace, sfm_memories.coordinate_key, sfm_memories.importance,
    CAST(sfm_memories.created_at AS text), sfm_memories.terms, sfm_memories.user_id
"""


@dataclass(slots=True, eq=False)
class Candidate:
    """A confirmed memory, with the fields that are needed for ranking."""

    id: StoredId
    namespace: str
    coordinate_key: str
    importance: float
    created: str  # in UTC unless the text contains another time zone
    bm25: float
    vector: bytes | None = field(repr=False)  # None if the similarity is known, or the memory is not in the index yet
    similarity: float | None = None  # None if the memory has no vector
    graph: float = 0.0  # the score from an expansion
    neighbours: float = 0.0  # the BM25 score that adjacent memories add
    mark: Mark = term_marks.NONE
    matched: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)  # `scoring.evidence`
    user_id: str | None = None

    @property
    def created_at(self) -> datetime:
        time = datetime.fromisoformat(self.created)
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    @property
    def address(self) -> Address:
        return self.namespace, self.coordinate_key


Candidates = dict[StoredId, Candidate]


@dataclass(frozen=True)
class Confirmation:
    """Confirms candidates: reads those that are live, belong to the caller and pass every filter, and scores them.

    weights: the weight of each query term in the BM25 score.
    generation: the generation whose vectors are read with the candidates, or None to read no vectors.
    """

    selection: Selection
    narrowing: Narrowing
    weights: Mapping[str, float]
    average_length: float
    generation: EmbeddingGeneration | None = None

    def of(self, ids: Iterable[StoredId], similarities: Mapping[StoredId, float] | None = None) -> Candidates:
        """Confirm the candidates in `ids` and in `similarities`. The latter are returned without vectors."""
        known = similarities or {}
        proposed = [*known, *(id for id in ids if id not in known)]
        if not proposed:
            return {}
        found = self._candidates(self.selection.with_vectors(_COLUMNS, proposed, len(known), self.generation))
        for candidate in found if known else ():
            candidate.similarity = known.get(candidate.id)
        return {candidate.id: candidate for candidate in self._in_ball(found)}

    def at(
        self, tenant: Tenant, visible: Selection, addresses: Sequence[Address]
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Return the `visible` memories at these addresses in two lists: those that pass every filter, and the rest."""
        passes, parameters = f"CASE WHEN {self.selection.condition} THEN 1 ELSE 0 END", self.selection.parameters
        if visible is self.selection:
            passes, parameters = "1", []
        rows = visible.at(f"{passes}, {_COLUMNS}", parameters, tenant, addresses, self.generation)
        found = self._candidates([row[1:] for row in rows])
        passing = self._in_ball([candidate for row, candidate in zip(rows, found, strict=True) if row[0]])
        if len(passing) == len(found):
            return passing, []
        accepted = {candidate.id for candidate in passing}
        return passing, [candidate for candidate in found if candidate.id not in accepted]

    def _in_ball(self, candidates: list[Candidate]) -> list[Candidate]:
        if self.narrowing.ball is None:
            return candidates
        return [candidate for candidate in candidates if self.narrowing.in_ball(candidate.coordinate_key)]

    def _candidates(self, rows: Sequence[Row]) -> list[Candidate]:
        texts = [row[5] for row in rows]
        matched = scoring.evidence(texts, self.weights, self.average_length)
        scores = scoring.weighted(matched, self.weights).tolist()
        marks = [term_marks.read(terms) for terms in texts]
        return [
            Candidate(id, namespace, key, importance, created, bm25, vector, None, 0.0, 0.0, mark, own, user_id)
            for (id, namespace, key, importance, created, _, user_id, vector), bm25, mark, own in zip(
                rows, scores, marks, matched, strict=True
            )
        ]


def ids_at(memories: QuerySet[Memory], addresses: Iterable[Address]) -> list[UUID]:
    """Return the ids of the memories at these addresses."""
    by_namespace: dict[str, list[str]] = {}
    for namespace, key in addresses:
        by_namespace.setdefault(namespace, []).append(key)
    near = Q(pk__in=[])
    for namespace, keys in by_namespace.items():
        near |= Q(namespace=namespace, coordinate_key__among=keys)
    return list(memories.filter(near).values_list("id", flat=True))

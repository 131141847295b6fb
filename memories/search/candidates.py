"""Candidates: memories that a leg of the search has proposed and the database has confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from memories.models import EmbeddingGeneration, Memory
from memories.search import scoring
from memories.search.expansion import Address
from memories.search.selection import Selection, as_uuid
from memories.selectors import Narrowing

# The time as text: few searches need it, and SQLite's driver takes 3 µs to parse one.
_COLUMNS = """
    sfm_memories.id, sfm_memories.namespace, sfm_memories.coordinate_key, sfm_memories.importance,
    CAST(sfm_memories.created_at AS text), sfm_memories.terms
"""


@dataclass(slots=True)
class Candidate:
    """The fields of a confirmed memory that are needed for ranking."""

    id: UUID
    namespace: str
    coordinate_key: str
    importance: float
    created: str  # a time in UTC, if it names no other zone
    bm25: float
    vector: bytes | None = field(repr=False)  # None if its similarity is known, or not in the index yet
    similarity: float | None = None  # None if it has no vector
    graph: float = 0.0  # score added by an expansion

    @property
    def created_at(self) -> datetime:
        time = datetime.fromisoformat(self.created)
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    @property
    def address(self) -> Address:
        return self.namespace, self.coordinate_key


Candidates = dict[UUID, Candidate]


@dataclass(frozen=True)
class Confirmation:
    """Confirms candidates: the caller's live memories that pass every filter. Each gets its BM25 score.

    generation: whose vectors the candidates get, or None for no vectors.
    """

    selection: Selection
    narrowing: Narrowing
    weights: Mapping[str, float]  # of the query's terms
    average_length: float
    generation: EmbeddingGeneration | None = None

    def of(self, ids: Iterable[UUID], similarities: Mapping[UUID, float] | None = None) -> Candidates:
        """Return the candidates among these ids, and among those with known similarities, which get no vectors."""
        known = similarities or {}
        proposed = [*known, *(id for id in ids if id not in known)]
        if not proposed:
            return {}
        rows = self.selection.with_vectors(_COLUMNS, proposed, len(known), self.generation)
        scores = scoring.bm25_all([row[5] for row in rows], self.weights, self.average_length)
        found: Candidates = {}
        for (raw_id, namespace, key, importance, created, _, vector), bm25 in zip(rows, scores, strict=True):
            if self.narrowing.in_ball(key):
                id = as_uuid(raw_id)
                found[id] = Candidate(id, namespace, key, importance, created, bm25, vector, known.get(id))
        return found


def ids_at(memories: QuerySet[Memory], addresses: Iterable[Address]) -> list[UUID]:
    """Return the ids of the memories at these addresses."""
    by_namespace: dict[str, list[str]] = {}
    for namespace, key in addresses:
        by_namespace.setdefault(namespace, []).append(key)
    near = Q(pk__in=[])
    for namespace, keys in by_namespace.items():
        near |= Q(namespace=namespace, coordinate_key__in=keys)
    return list(memories.filter(near).values_list("id", flat=True))

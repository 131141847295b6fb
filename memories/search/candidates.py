"""Candidates: memories that a leg of the search has proposed and the database has confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from memories.models import Memory
from memories.search.expansion import Address
from memories.selectors import Narrowing

COLUMNS = ("id", "coordinate_key", "terms", "importance", "created_at")


@dataclass
class Candidate:
    """The fields of a confirmed memory that are needed for ranking."""

    id: UUID
    coordinate_key: str
    terms: str
    importance: float
    created_at: datetime
    similarity: float | None = None  # None if the index does not have its vector yet
    graph: float = 0.0  # score added by an expansion


Candidates = dict[UUID, Candidate]


def confirm(memories: QuerySet[Memory], ids: Iterable[UUID], seqs: Iterable[int], narrowing: Narrowing) -> Candidates:
    """Return candidates for the `ids` and `seqs` in `memories`: the caller's live memories that pass every filter."""
    proposed = memories.filter(Q(id__in=list(ids)) | Q(seq__in=list(seqs)))
    rows = proposed.values_list(*COLUMNS)
    return {row[0]: Candidate(*row) for row in rows if narrowing.in_ball(row[1])}


def at_addresses(
    memories: QuerySet[Memory], addresses: Iterable[Address], narrowing: Narrowing
) -> Sequence[tuple[Address, Candidate]]:
    """Return the memories at these addresses that pass every filter."""
    by_namespace: dict[str, list[str]] = {}
    for namespace, key in addresses:
        by_namespace.setdefault(namespace, []).append(key)
    near = Q(pk__in=[])
    for namespace, keys in by_namespace.items():
        near |= Q(namespace=namespace, coordinate_key__in=keys)
    rows = memories.filter(near).values_list("namespace", *COLUMNS)
    candidates = ((namespace, Candidate(*row)) for namespace, *row in rows)
    return [
        ((namespace, candidate.coordinate_key), candidate)
        for namespace, candidate in candidates
        if narrowing.in_ball(candidate.coordinate_key)
    ]

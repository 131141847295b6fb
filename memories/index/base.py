"""What a vector index is, whichever engine is behind it.

The index holds only what can be rebuilt from the database: it proposes ids, the database confirms them.
A tenant comes first in every call and has no default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from somamemory.errors import DimensionMismatch, InvalidInput

Vector = NDArray[np.float32]

MAX_LIMIT = 16_384  # what a Milvus server grants for one search


class UnusableVector(InvalidInput):
    """A vector without a direction, or with NaN or infinity in it: its cosine with anything is undefined."""

    code = "unusable_vector"
    title = "The vector cannot be compared"


@dataclass(frozen=True, slots=True)
class Point:
    """One memory as the index knows it. `id` is unique across all tenants."""

    id: UUID
    version: int
    namespace: str
    memory_type: str
    vector: Vector = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Where:
    """Which memories of a tenant may be found."""

    namespaces: tuple[str, ...]
    memory_type: str | None = None

    def __post_init__(self) -> None:
        # A caller who may read no namespace must never be taken for one who may read them all.
        if not self.namespaces:
            raise InvalidInput("namespaces", "at least one is needed")


@dataclass(frozen=True, slots=True)
class Hit:
    """A candidate; `similarity` is the cosine, -1 to 1, higher is closer."""

    id: UUID
    similarity: float


class VectorIndex(Protocol):
    """Every method raises `IndexUnavailable` when the engine does not answer in time.

    Visibility: what is upserted is found soon, not necessarily at once. Calls for one id take effect in the
    order in which they are made.
    """

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        """Put points in, replacing those with the same id. Raises `DimensionMismatch`, `UnusableVector`."""

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        """The nearest points, best first, equal similarities in the order of their ids; limit is 1 to 16,384.

        `fresh`: everything that was upserted before this call is seen, also if that takes longer. `hasty`: the caller
        has another answer, and would rather give that than wait much longer than such a call takes lately.
        """

    def delete(self, tenant: UUID, ids: Sequence[UUID]) -> None:
        """Take points out; an id that is unknown, or another tenant's, is no error and changes nothing."""

    def drop_tenant(self, tenant: UUID) -> None:
        """Take out everything that the tenant has."""

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """(id, version) of everything held for the tenant, in no order; to compare with the database.

        prefix: only ids that begin with these hexadecimal digits.
        """

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        """Some of the tenants, other than these, that the index holds something of; empty if there is none."""

    def collections(self) -> list[str]:
        """The names of all collections beside this one, and its own."""

    def drop(self) -> None:
        """Take the whole collection out. A later call would make it anew, empty."""

    def drop_other(self, collection: str) -> None:
        """Take another collection out; an unknown one is no error."""

    def publish(self, alias: str) -> None:
        """Let `alias` name this collection, and no other any more; for people and tools that look at the engine."""

    def available(self) -> bool:
        """False while the engine is known to be down, so that a call would fail at once. Does not wait."""

    def ping(self) -> None:
        """Return if the index can be searched."""

    def close(self) -> None:
        """Let go of connections and files; a later call opens them again."""


def usable(vector: Vector) -> bool:
    """Whether the vector has a direction: all numbers finite, not all of them zero."""
    return bool(np.isfinite(vector).all() and np.any(vector))


def as_float32(vector: Vector) -> Vector:
    """Return the vector as it is stored; numbers that do not fit become infinite, or zero."""
    with np.errstate(over="ignore", under="ignore"):
        return vector.astype("<f4")


def unit_vector(vector: Vector, dimension: int) -> Vector:
    """The vector at length 1, float32, shape (dimension,). Raises `DimensionMismatch`, `UnusableVector`.

    At length 1 no engine can overflow or underflow on the squares of very large or very small numbers.
    """
    if vector.shape != (dimension,):
        raise DimensionMismatch("vector", f"the index holds {dimension} numbers per vector, got shape {vector.shape}")
    if not usable(vector):
        raise UnusableVector("vector", "all numbers must be finite, and at least one other than zero")
    wide = vector.astype(np.float64)
    wide /= np.abs(wide).max()
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput("limit", f"must be 1 to {MAX_LIMIT}")
    return limit

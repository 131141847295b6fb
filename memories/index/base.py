"""The interface of a vector index, whichever engine implements it.

The index holds only data that can be rebuilt from the database: it proposes ids, and the database confirms them.
The tenant comes first in every call and has no default.
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

MAX_LIMIT = 16_384  # the maximum of a Milvus server for one search


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
    """The memories of a tenant that a search may return."""

    namespaces: tuple[str, ...]
    memory_type: str | None = None

    def __post_init__(self) -> None:
        # A caller that may read no namespace must never be mistaken for one that may read all of them.
        if not self.namespaces:
            raise InvalidInput("namespaces", "must contain at least one namespace")


@dataclass(frozen=True, slots=True)
class Hit:
    """A candidate; `similarity` is the cosine, -1 to 1, higher is closer."""

    id: UUID
    similarity: float


class VectorIndex(Protocol):
    """Every method raises `IndexUnavailable` when the engine does not answer in time.

    Visibility: an upserted point is found soon, not necessarily at once. Calls for one id take effect in the order in
    which they are made.
    """

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        """Insert points, replacing those with the same id. Raises `DimensionMismatch`, `UnusableVector`."""

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        """Return the nearest points, best first, equal similarities in the order of their ids; limit is 1 to 16,384.

        `fresh`: include everything that was upserted before this call, even if that takes longer. `hasty`: the caller
        has another answer, and prefers it to waiting much longer than such a call has taken recently.
        """

    def delete(self, tenant: UUID, ids: Sequence[UUID]) -> None:
        """Delete points; an id that is unknown, or another tenant's, is not an error and changes nothing."""

    def drop_tenant(self, tenant: UUID) -> None:
        """Delete all points of the tenant."""

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """Yield (id, version) of all points of the tenant, in no order, to compare them with the database.

        prefix: only ids that begin with these hexadecimal digits.
        """

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        """Return some of the other tenants that have points in the index; empty if there are none."""

    def collections(self) -> list[str]:
        """Return the names of all collections, including this one."""

    def drop(self) -> None:
        """Delete the whole collection. A later call would create it again, empty."""

    def drop_other(self, collection: str) -> None:
        """Delete another collection; an unknown one is not an error."""

    def publish(self, alias: str) -> None:
        """Point `alias` at this collection alone, for people and tools that inspect the engine."""

    def available(self) -> bool:
        """Return False while the engine is known to be down, when a call would fail at once. Does not wait."""

    def ping(self) -> None:
        """Return if the index can be searched."""

    def close(self) -> None:
        """Close connections and files; a later call opens them again."""


def usable(vector: Vector) -> bool:
    """Return whether the vector has a direction: all numbers are finite, and not all are zero."""
    return bool(np.isfinite(vector).all() and np.any(vector))


def as_float32(vector: Vector) -> Vector:
    """Return the vector as it is stored; numbers that do not fit become infinite, or zero."""
    with np.errstate(over="ignore", under="ignore"):
        return vector.astype("<f4")


def unit_vector(vector: Vector, dimension: int) -> Vector:
    """Return the vector scaled to length 1, float32, shape (dimension,). Raises `DimensionMismatch`, `UnusableVector`.

    At length 1 no engine can overflow or underflow on the squares of very large or very small numbers.
    """
    if vector.shape != (dimension,):
        raise DimensionMismatch("vector", f"the index holds {dimension} numbers per vector, got shape {vector.shape}")
    if not usable(vector):
        raise UnusableVector("vector", "all numbers must be finite, and at least one must not be zero")
    wide = vector.astype(np.float64)
    wide /= np.abs(wide).max()
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput("limit", f"must be from 1 to {MAX_LIMIT}")
    return limit

"""The vector index interface, which is independent of the engine that implements it.

The index contains only data that can be rebuilt from the database: it returns candidate ids, which the database
confirms. The tenant is the first argument of every call and has no default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from somamemory.errors import DimensionMismatch, InvalidInput

Vector = NDArray[np.float32]
# The two halves of each id as integers, most significant first; of shape (number of ids, 2).
IdHalves = NDArray[np.uint64]
# Ids as UUIDs, as strings of 32 hexadecimal digits, or as halves.
Ids = Sequence[UUID | str] | IdHalves

MAX_LIMIT = 16_384  # the maximum number of hits that a Milvus server returns for one search
ANY_VERSION = (1 << 63) - 1


class UnusableVector(InvalidInput):
    """Raised if a vector has no cosine similarity, because it is all zeros or contains NaN or infinity."""

    code = "unusable_vector"
    title = "The vector cannot be compared"


@dataclass(frozen=True, slots=True)
class Point:
    """A memory as the index stores it. `id` is unique across all tenants."""

    id: UUID
    version: int
    namespace: str
    memory_type: str
    vector: Vector = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Where:
    """The namespaces and the memory type (or None for all types) of the memories that a search can return."""

    namespaces: tuple[str, ...]
    memory_type: str | None = None

    def __post_init__(self) -> None:
        # A caller that cannot read any namespace must never be mistaken for one that can read all of them.
        if not self.namespaces:
            raise InvalidInput("namespaces", "must contain at least one namespace")


class Hit(NamedTuple):
    """A candidate.

    digits: its id as a string of 32 hexadecimal digits. A search confirms many hits, and most of them need no UUID.
    similarity: the cosine, from -1 to 1; higher means more similar.
    """

    digits: str
    similarity: float

    @property
    def id(self) -> UUID:
        return UUID(self.digits)


class VectorIndex(Protocol):
    """A vector index. Every method raises `IndexUnavailable` if the engine does not respond in time.

    An upserted point becomes visible soon, but not necessarily immediately. Calls for the same id take effect in the
    order in which they are made.

    remote: whether calls go over the network. If not, calls run on the calling thread, points become visible
    immediately, and no call replaces or deletes a point with a higher version.
    """

    remote: bool

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        """Insert points, replacing any points with the same ids. Raises `DimensionMismatch` or `UnusableVector`."""

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        """Return the nearest points, best first, and by id if their similarities are equal.

        limit: from 1 to 16,384.
        fresh: include every point upserted before this call, even if that takes longer.
        hasty: the caller has a fallback, so do not wait much longer than recent calls took.
        """

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        """Delete points. Ids that do not exist or belong to another tenant are ignored.

        versions: the highest version of each point to delete; by default, any version is deleted. Remote indexes ignore
          this, because only the drain writes to them, one version after another.
        """

    def drop_tenant(self, tenant: UUID) -> None:
        """Delete all of the tenant's points."""

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """Yield (id, version) for all of the tenant's points, in no particular order, for comparison with the database.

        prefix: yield only ids that begin with these hexadecimal digits.
        """

    def is_intact(self, tenant: UUID) -> bool:
        """Return whether the tenant has points and the engine is certain that none were lost."""

    def rebuilding(self, tenant: UUID) -> AbstractContextManager[None]:
        """Reject the tenant's searches while this context is active, if the index has lost the tenant's points.

        Within this context, the caller compares the index with the database and restores missing points. If there is no
        error, the tenant's points are intact afterwards.
        """

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        """Return some of the tenants that have points in the index but are not in `known`, if there are any."""

    def collections(self) -> list[str]:
        """Return the names of all collections, including this one."""

    def drop(self) -> None:
        """Delete the whole collection. A later call would create it again, empty."""

    def drop_other(self, collection: str) -> None:
        """Delete another collection. Does nothing if it does not exist."""

    def publish(self, alias: str) -> None:
        """Make `alias` refer to this collection and no other, for people and tools that inspect the engine."""

    def available(self) -> bool:
        """Return False while the engine is known to be down, so that a call would fail immediately. Does not block."""

    def ping(self) -> None:
        """Check that the index can be searched. Raises an error if it cannot."""

    def close(self) -> None:
        """Close connections and files. A later call opens them again."""


@runtime_checkable
class ComparesPoints(Protocol):
    """A vector index that can also compare given points."""

    def nearest_of(self, tenant: UUID, ids: Ids, vector: Vector, limit: int) -> list[Hit]:
        """Return the nearest of the points with these ids, in the same order as `search`.

        Ids without a point are ignored.
        """


def halves(ids: Ids) -> IdHalves:
    """Return both halves of each id."""
    if isinstance(ids, np.ndarray):
        return ids
    digits = "".join([id if isinstance(id, str) else id.hex for id in ids])
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(-1, 2)


def listed(ids: Ids) -> list[UUID | str]:
    """Return the ids as a list of UUIDs or strings."""
    if isinstance(ids, np.ndarray):
        return [UUID(int=high << 64 | low) for high, low in ids.tolist()]
    return list(ids)


def usable(vector: Vector) -> bool:
    """Return whether the vector has a direction: all numbers are finite, and at least one is not zero."""
    return bool(np.isfinite(vector).all() and np.any(vector))


def as_float32(vector: Vector) -> Vector:
    """Convert the vector to float32, as it is stored. Numbers outside the float32 range become infinite or zero."""
    with np.errstate(over="ignore", under="ignore"):
        return vector.astype("<f4")


def unit_vector(vector: Vector, dimension: int) -> Vector:
    """Return the vector scaled to length 1, as float32 of shape (dimension,).

    Raises the same errors as `unit_vectors`.
    """
    return unit_vectors([vector], dimension).reshape(dimension)


def unit_vectors(vectors: Sequence[Vector], dimension: int) -> Vector:
    """Return the vectors scaled to length 1, as float32 of shape (number of vectors, dimension).

    Raises `DimensionMismatch` or `UnusableVector`. Without scaling, the squares of very large or very small numbers
    could overflow or underflow in an engine.
    """
    for vector in vectors:
        if vector.shape != (dimension,):
            raise DimensionMismatch(
                "vector", f"must have {dimension} dimensions to match the index; its shape is {vector.shape}"
            )
    wide = np.array(vectors, dtype=np.float64).reshape(-1, dimension)
    largest = np.abs(wide).max(axis=1, keepdims=True)  # NaN if one of the numbers is NaN
    if not ((largest > 0) & (largest < np.inf)).all():
        raise UnusableVector("vector", "all numbers must be finite, and at least one must be non-zero")
    wide /= largest
    wide /= np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return wide.astype(np.float32)


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput("limit", f"must be between 1 and {MAX_LIMIT}")
    return limit

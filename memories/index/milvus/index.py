"""The vector index on a Milvus server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from memories.index.base import Hit, Point, Vector, Where, checked_limit, unit_vector
from memories.index.milvus.client import Client, Connection
from memories.index.milvus.collection import NAMESPACE_BYTES, OPENING_TIMEOUT_S, Collection, Hnsw
from memories.index.milvus.rows import expression, hit_of, listed, row_of
from somamemory.errors import ConfigurationError

T = TypeVar("T")

ROWS_PER_CALL = 1000
BYTES_PER_CALL = 16 * 1024 * 1024  # a Milvus server's proxy rejects messages larger than 64 MB
SCAN_PAGE_ROWS = 16_384


class MilvusIndex:
    """A `VectorIndex` stored in one Milvus collection.

    collection: a name made of letters, digits and underscores.
    consistency: the consistency level of searches that are not `fresh`. With "Strong", a search includes every finished
      upsert, but takes 200 ms longer.

    Any call raises `ConfigurationError` if the index cannot be used as configured.
    """

    remote = True

    def __init__(
        self,
        connection: Connection,
        collection: str,
        dimension: int,
        *,
        hnsw: Hnsw | None = None,
        consistency: str = "Bounded",
    ) -> None:
        if not re.match(r"(https?|tcp)://", connection.uri):
            raise ConfigurationError(
                f"SOMA_MILVUS_URI must start with http://, https:// or tcp://, not {connection.uri}"
            )
        self._collection = Collection(collection, dimension, hnsw or Hnsw(), connection.timeout_s)
        self._client = Client(connection, self._collection)
        self._consistency = consistency

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        # If a call contained two rows with the same id, Milvus could keep either, but the last one must win.
        latest = {point.id: point for point in points}
        rows = [row_of(tenant, point, self._collection.dimension) for point in latest.values()]
        per_call = max(1, min(ROWS_PER_CALL, BYTES_PER_CALL // (4 * self._collection.dimension + 2 * NAMESPACE_BYTES)))
        for batch in _batches(rows, per_call):
            self._client.call("store vectors", partial(self._upsert, batch))

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        checked_limit(limit)
        query = unit_vector(vector, self._collection.dimension)
        found = self._client.search(
            "search",
            lambda client, timeout: client.search(
                self._collection.name,
                [query],
                filter=expression(tenant, where),
                limit=limit,
                output_fields=["id"],
                search_params={"metric_type": "COSINE", "params": {"ef": self._collection.hnsw.breadth(limit)}},
                consistency_level="Strong" if fresh else self._consistency,
                **timeout,
            ),
            hasty=hasty and not fresh,
        )
        return sorted((hit_of(row) for row in found[0]), key=lambda hit: (-hit.similarity, hit.digits))

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        for batch in _batches([id_.hex for id_ in ids], ROWS_PER_CALL):
            self._client.call("delete vectors", partial(self._delete, tenant, batch))

    def drop_tenant(self, tenant: UUID) -> None:
        self._client.call(
            "drop a tenant",
            lambda client, timeout: client.delete(
                self._collection.name,
                filter=expression(tenant),
                **timeout,
            ),
            max(self._client.timeout_s, OPENING_TIMEOUT_S),
        )

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """Yield (id, version) of the tenant's points.

        If a page is full, there may be more points, so they are read again in sixteen parts, by the next digit of their
        ids. pymilvus's own iterator is not used: if the server returns no timestamp, it falls back to the client's
        clock, and then misses rows.
        """
        rows = self._client.call(
            "list its points",
            lambda client, timeout: client.query(
                self._collection.name,
                filter=f'{expression(tenant)} and id like "{prefix}%"',
                limit=SCAN_PAGE_ROWS,
                output_fields=["id", "version"],
                # A point that is missed here would be mistaken for one that the index has lost.
                consistency_level="Strong",
                **timeout,
            ),
        )
        if len(rows) < SCAN_PAGE_ROWS:
            yield from ((UUID(row["id"]), int(row["version"])) for row in rows)
            return
        for digit in "0123456789abcdef":
            yield from self.scan(tenant, prefix + digit)

    def is_intact(self, tenant: UUID) -> bool:
        return False

    def rebuilding(self, tenant: UUID) -> AbstractContextManager[None]:
        return nullcontext()

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        rows = self._client.call(
            "list tenants",
            lambda client, timeout: client.query(
                self._collection.name,
                filter=f"tenant not in {listed(tenant.hex for tenant in known)}",
                limit=1000,
                output_fields=["tenant"],
                consistency_level="Strong",
                **timeout,
            ),
        )
        return {UUID(row["tenant"]) for row in rows}

    def available(self) -> bool:
        return self._client.breaker.allows()

    def ping(self) -> None:
        self._client.call(
            "answer", lambda client, timeout: client.get_server_version(**timeout), self._client.search_timeout_s
        )

    def collections(self) -> list[str]:
        names: list[str] = self._client.call(
            "list collections", lambda client, timeout: client.list_collections(**timeout)
        )
        return names

    def drop(self) -> None:
        self._drop(self._collection.name)
        self.close()

    def drop_other(self, collection: str) -> None:
        self._drop(collection)

    def publish(self, alias: str) -> None:
        def point(client: Any, timeout: dict[str, Any]) -> None:
            from pymilvus import MilvusException

            try:
                client.create_alias(self._collection.name, alias, **timeout)
            except MilvusException:  # the alias already exists
                client.alter_alias(self._collection.name, alias, **timeout)

        self._client.call("set an alias", point)

    def close(self) -> None:
        self._client.close()

    def _upsert(self, rows: list[dict[str, Any]], client: Any, timeout: dict[str, Any]) -> None:
        client.upsert(self._collection.name, rows, **timeout)

    def _delete(self, tenant: UUID, ids: list[str], client: Any, timeout: dict[str, Any]) -> None:
        client.delete(self._collection.name, filter=f"{expression(tenant)} and id in {listed(ids)}", **timeout)

    def _drop(self, collection: str) -> None:
        self._client.call(
            "drop a collection",
            lambda client, timeout: client.drop_collection(collection, timeout=OPENING_TIMEOUT_S),
            OPENING_TIMEOUT_S,
        )


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

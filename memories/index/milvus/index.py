"""The vector index on Milvus: Milvus Lite in this process (a path ending in .db), or a server (http, https or tcp)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from memories.index.base import Hit, Point, Vector, Where, checked_limit, unit_vector
from memories.index.milvus.client import LITE_FLUSH_AFTER_ROWS, Client, Connection
from memories.index.milvus.collection import NAMESPACE_BYTES, OPENING_TIMEOUT_S, Collection, Hnsw
from memories.index.milvus.rows import expression, hit_of, listed, row_of
from somamemory.errors import ConfigurationError

T = TypeVar("T")

ROWS_PER_CALL = 1000
BYTES_PER_CALL = 16 * 1024 * 1024  # a server's proxy rejects messages larger than 64 MB
SCAN_PAGE_ROWS = 16_384
LITE_PARTITIONS = 16


class MilvusIndex:
    """A `VectorIndex` stored in one Milvus collection.

    collection: a name made of letters, digits and underscores.
    consistency: the consistency level of searches on a server. "Strong" includes every finished upsert and adds 200 ms.

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
        if not re.match(r"(https?|tcp)://", connection.uri) and not connection.is_lite:
            raise ConfigurationError(
                f"SOMA_MILVUS_URI must end in .db or start with http://, https:// or tcp://; it is {connection.uri}"
            )
        self._collection = Collection(collection, dimension, hnsw or Hnsw(), connection.timeout_s)
        self._client = Client(connection, self._collection)
        self._consistency = consistency

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        # If one call contains two rows with the same id, an engine can keep either, but the last one must win.
        latest = {point.id: point for point in points}
        rows = [row_of(tenant, point, self._collection.dimension) for point in latest.values()]
        per_call = max(1, min(ROWS_PER_CALL, BYTES_PER_CALL // (4 * self._collection.dimension + 2 * NAMESPACE_BYTES)))
        for batch in _batches(rows, per_call):
            self._client.write("store vectors", partial(self._upsert, batch), len(batch))

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
                partition_names=self._partitions(tenant),
                **timeout,
            ),
            hasty=hasty and not fresh,
        )
        return sorted((hit_of(row) for row in found[0]), key=lambda hit: (-hit.similarity, hit.id.hex))

    def delete(self, tenant: UUID, ids: Sequence[UUID]) -> None:
        for batch in _batches([id_.hex for id_ in ids], ROWS_PER_CALL):
            self._client.write("delete vectors", partial(self._delete, tenant, batch), len(batch))

    def drop_tenant(self, tenant: UUID) -> None:
        self._client.write(
            "drop a tenant",
            lambda client, timeout: client.delete(
                self._collection.name,
                filter=expression(tenant),
                partition_name=self._partition(tenant),
                **timeout,
            ),
            LITE_FLUSH_AFTER_ROWS,
            max(self._client.timeout_s, OPENING_TIMEOUT_S),
        )

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """Yield (id, version) of the tenant's points. A full page may be incomplete, so it is read again in sixteen
        parts.

        pymilvus' own iterator falls back to the client's clock if the server returns no timestamp, and then misses
        rows.
        """
        rows = self._client.read(
            "list its points",
            lambda client, timeout: client.query(
                self._collection.name,
                filter=f'{expression(tenant)} and id like "{prefix}%"',
                limit=SCAN_PAGE_ROWS,
                output_fields=["id", "version"],
                partition_names=self._partitions(tenant),
                # A row missed here would be mistaken for one that the index has lost.
                consistency_level="Strong",
                **timeout,
            ),
        )
        if len(rows) < SCAN_PAGE_ROWS:
            yield from ((UUID(row["id"]), int(row["version"])) for row in rows)
            return
        for digit in "0123456789abcdef":
            yield from self.scan(tenant, prefix + digit)

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        rows = self._client.read(
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
        self._client.read(
            "answer", lambda client, timeout: client.get_server_version(**timeout), self._client.search_timeout_s
        )

    def collections(self) -> list[str]:
        names: list[str] = self._client.read(
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
            except MilvusException:  # it already exists
                client.alter_alias(self._collection.name, alias, **timeout)

        self._client.read("name a collection", point)

    def close(self) -> None:
        self._client.close()

    def _upsert(self, rows: list[dict[str, Any]], client: Any, timeout: dict[str, Any]) -> None:
        client.upsert(self._collection.name, rows, **timeout)

    def _delete(self, tenant: UUID, ids: list[str], client: Any, timeout: dict[str, Any]) -> None:
        if self._client.lite is None:
            client.delete(self._collection.name, filter=f"{expression(tenant)} and id in {listed(ids)}", **timeout)
            return
        # Lite reads every row to evaluate such an expression (120 ms at 30,000 rows). Selecting by id alone takes 2 ms.
        rows = client.get(
            self._collection.name, ids, output_fields=["tenant"], partition_names=self._partitions(tenant), **timeout
        )
        own = [row["id"] for row in rows if row["tenant"] == tenant.hex]
        if own:
            client.delete(self._collection.name, ids=own, partition_name=self._partition(tenant), **timeout)

    def _drop(self, collection: str) -> None:
        self._client.read(
            "drop a collection",
            lambda client, timeout: client.drop_collection(collection, timeout=OPENING_TIMEOUT_S),
            OPENING_TIMEOUT_S,
        )

    def _partition(self, tenant: UUID) -> str | None:
        """Return the partition for the tenant's rows in Lite, or None for a server.

        A server assigns rows to partitions and does not accept a partition name. Without a partition name, Lite reads
        all partitions and writes every deletion to each of them. The names follow Lite's own scheme.
        """
        if self._client.lite is None:
            return None
        digest = hashlib.md5(tenant.hex.encode(), usedforsecurity=False).hexdigest()
        return f"_pk_{int(digest, 16) % LITE_PARTITIONS}"

    def _partitions(self, tenant: UUID) -> list[str]:
        name = self._partition(tenant)
        return [name] if name else []


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

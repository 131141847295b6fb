"""The vector index on Milvus: in-process (Milvus Lite, a path ending in .db) or a server (http, https, tcp).

The only file that knows pymilvus. It is imported when the first call connects: that takes a third of a second and grpc
threads that commands without a search have no use for.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from memories.index.base import Hit, Point, Vector, Where, checked_limit, unit_vector
from memories.index.milvus.lite import LiteFolder
from memories.index.milvus.patience import Patience
from somamemory.breaker import Breaker
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.retry import RetryPolicy
from somamemory.telemetry import metrics, tracing

T = TypeVar("T")
log = logging.getLogger("soma.index")

FIELDS = frozenset({"id", "tenant", "namespace", "memory_type", "version", "vector"})
NAMESPACE_BYTES = 1020  # Milvus counts bytes: 255 characters of four
ROWS_PER_CALL = 1000
BYTES_PER_CALL = 16 * 1024 * 1024  # a server's proxy refuses messages above 64 MB
SCAN_PAGE_ROWS = 16_384
NOT_FOUND = 100
NOT_LOADED = 101
# Not ready, unavailable, too many requests, rate limit; no replica, no channel, no node: a server in the middle of a
# restart answers so.
TRANSIENT = frozenset({1, 2, 4, 8, 401, 503, 901, 902, 903})
RETRY = RetryPolicy(attempts=4, first_pause_s=0.02)
PROBE_EVERY_S = 2.0  # while the engine is down
OPENING_TIMEOUT_S = 60.0  # creating, loading and dropping take as long as there are rows


@dataclass(frozen=True)
class Connection:
    """Where the engine is and how long to wait for it.

    uri: a path ending in .db, or http://, https://, tcp://; token: "user:password" or an API key, may be empty; ca: a
    file of certificates to trust, for https; timeout_s: the deadline of a call; search_timeout_s: that of a search on a
    server (Lite computes in this process: it is slow before it is down).
    """

    uri: str
    token: str = ""
    ca: str = ""
    timeout_s: float = 10.0
    search_timeout_s: float = 2.0


@dataclass(frozen=True)
class Hnsw:
    """The graph of a server's index (Malkov and Yashunin, arXiv 1603.09320): links a node, breadth of the building, and
    least breadth of a search; that is at least twice the limit."""

    m: int = 16
    ef_construction: int = 200
    ef: int = 128

    def breadth(self, limit: int) -> int:
        return min(max(self.ef, 2 * limit), 32_768)  # below the limit is refused; a server takes no more


# Lite searches rows that are not flushed in Python: 10 to 15 µs each, against 40 ms for a flush of 500.
LITE_FLUSH_AFTER_ROWS = 500
LITE_PARTITIONS = 16

_NEVER_MS = 2**31 - 1
# More partitions mean fewer foreign rows beside a tenant's own.
PARTITIONS = 64
# Before 2.4 an upsert files a row under the hash of its id, not of its tenant (milvus-io/milvus#30772), where no
# search finds it: 197 of 200 rows were lost. With a single partition there is no wrong one.
SOUND_PARTITION_KEY_SINCE = (2, 4)


@contextmanager
def translating_errors(action: str) -> Iterator[None]:
    """Turn whatever the vendor raises into `IndexUnavailable`, chained."""
    import grpc  # type: ignore[import-untyped]
    from pymilvus import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise IndexUnavailable(f"the vector index failed to {action}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line: gRPC's own text carries connection traces that help nobody who reads a log."""
    details = getattr(error, "details", None)  # what a grpc.RpcError has instead of a message
    text = details() if details else getattr(error, "message", "")
    return (text or str(error) or type(error).__name__).splitlines()[0][:300]


Call = Callable[[Any, dict[str, Any]], T]  # the client, and the arguments that set the deadline


class MilvusIndex:
    """A `VectorIndex` in one Milvus collection; made cheaply, connected by the first call, anew after a fork.

    collection: letters, digits, underscores; consistency: what a server's searches wait for. "Strong" sees every
    finished upsert and costs 200 ms.
    Any call may raise `ConfigurationError` when the index cannot be used as configured.
    """

    def __init__(
        self,
        connection: Connection,
        collection: str,
        dimension: int,
        *,
        hnsw: Hnsw | None = None,
        consistency: str = "Bounded",
    ) -> None:
        if not re.match(r"(https?|tcp)://", connection.uri) and not connection.uri.endswith(".db"):
            raise ConfigurationError(
                f"SOMA_MILVUS_URI must end in .db or begin with http://, https:// or tcp://: {connection.uri}"
            )
        self._at = connection
        self._collection = collection
        self._dimension = dimension
        self._hnsw = hnsw or Hnsw()
        self._consistency = consistency
        self._timeout_s = connection.timeout_s
        self._search_timeout_s = self._timeout_s if self._on_lite else min(self._timeout_s, connection.search_timeout_s)
        self._connecting = threading.Lock()
        self._client: Any = None
        self._client_of = 0  # the process that made it
        self._lite: LiteFolder | None = None
        self._unflushed_rows = 0
        self._breaker = Breaker(
            "the vector index", log, pause_s=PROBE_EVERY_S, probe=self._reconnect, on_change=_show_breaker
        )
        self._patience = Patience(self._search_timeout_s)

    # -- the protocol --------------------------------------------------------------------------------------------

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        # Of two rows with one id in one call an engine may keep either; here the last one counts.
        latest = {point.id: point for point in points}
        rows = [_row(tenant, point, self._dimension) for point in latest.values()]
        per_call = max(1, min(ROWS_PER_CALL, BYTES_PER_CALL // (4 * self._dimension + 2 * NAMESPACE_BYTES)))
        for batch in _batches(rows, per_call):
            self._write("take vectors in", partial(self._upsert, batch), len(batch))

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        checked_limit(limit)
        query = unit_vector(vector, self._dimension)
        found = self._timed(
            "search",
            lambda client, timeout: client.search(
                self._collection,
                [query],
                filter=_expression(tenant, where),
                limit=limit,
                output_fields=["id"],
                search_params={"metric_type": "COSINE", "params": {"ef": self._hnsw.breadth(limit)}},
                consistency_level="Strong" if fresh else self._consistency,
                partition_names=self._partitions(tenant),
                **timeout,
            ),
            self._patience.wait_s if hasty and not fresh else self._search_timeout_s,
        )
        return sorted((_hit(row) for row in found[0]), key=lambda hit: (-hit.similarity, hit.id.hex))

    def delete(self, tenant: UUID, ids: Sequence[UUID]) -> None:
        for batch in _batches([id_.hex for id_ in ids], ROWS_PER_CALL):
            self._write("delete vectors", partial(self._delete, tenant, batch), len(batch))

    def drop_tenant(self, tenant: UUID) -> None:
        self._write(
            "drop a tenant",
            lambda client, timeout: client.delete(
                self._collection,
                filter=_expression(tenant),
                partition_name=self._partition(tenant),
                **timeout,
            ),
            LITE_FLUSH_AFTER_ROWS,
            max(self._timeout_s, OPENING_TIMEOUT_S),
        )

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        """A full page may not be all of the rows: it is read again in sixteen parts.

        pymilvus' own iterator falls back to the client's clock when the server names no time, and then misses rows.
        """
        rows = self._read(
            "list what it holds",
            lambda client, timeout: client.query(
                self._collection,
                filter=f'{_expression(tenant)} and id like "{prefix}%"',
                limit=SCAN_PAGE_ROWS,
                output_fields=["id", "version"],
                partition_names=self._partitions(tenant),
                # A row missed here would be taken for one that the index has lost.
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
        rows = self._read(
            "list tenants",
            lambda client, timeout: client.query(
                self._collection,
                filter=f"tenant not in {_listed(tenant.hex for tenant in known)}",
                limit=1000,
                output_fields=["tenant"],
                consistency_level="Strong",
                **timeout,
            ),
        )
        return {UUID(row["tenant"]) for row in rows}

    def available(self) -> bool:
        return self._breaker.allows()

    def ping(self) -> None:
        self._read("answer", lambda client, timeout: client.get_server_version(**timeout), self._search_timeout_s)

    def collections(self) -> list[str]:
        names: list[str] = self._read("list collections", lambda client, timeout: client.list_collections(**timeout))
        return names

    def drop(self) -> None:
        self._drop(self._collection)
        self.close()

    def drop_other(self, collection: str) -> None:
        self._drop(collection)

    def publish(self, alias: str) -> None:
        def point(client: Any, timeout: dict[str, Any]) -> None:
            from pymilvus import MilvusException

            try:
                client.create_alias(self._collection, alias, **timeout)
            except MilvusException:  # it is there
                client.alter_alias(self._collection, alias, **timeout)

        self._read("name a collection", point)

    def close(self) -> None:
        with self._connecting:
            self._forget()

    def _require_closed_breaker(self) -> None:
        if not self._breaker.allows():
            raise IndexUnavailable("the vector index did not answer a moment ago")

    # -- one call ------------------------------------------------------------------------------------------------

    def _read(self, action: str, call: Call[T], timeout_s: float | None = None) -> T:
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        client = self._connected(deadline)
        with self._lite.gate.searching(self._timeout_s) if self._lite else nullcontext():
            return self._call(action, client, call, deadline)

    def _timed(self, action: str, call: Call[T], timeout_s: float) -> T:
        """A read that tells how fast reads are. Lite is no guide: there the time is spent in this process."""
        if self._on_lite:
            return self._read(action, call, self._search_timeout_s)
        self._require_closed_breaker()  # an answer without a call says nothing about the engine
        began = time.monotonic()
        try:
            return self._read(action, call, timeout_s)
        finally:
            self._patience.record(time.monotonic() - began)

    def _write(self, action: str, call: Call[object], rows: int, timeout_s: float | None = None) -> None:
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        client, lite = self._connected(deadline), self._lite
        if lite is None:
            self._call(action, client, call, deadline)
            return
        with lite.writing(self._timeout_s):
            self._call(action, client, call, deadline)
            self._unflushed_rows += rows
            if self._unflushed_rows >= LITE_FLUSH_AFTER_ROWS:
                self._flush(client, lite)

    def _call(self, action: str, client: Any, call: Call[T], deadline: float) -> T:
        with tracing.span(f"milvus: {action}"):
            return self._tried(action, client, call, deadline)

    def _tried(self, action: str, client: Any, call: Call[T], deadline: float) -> T:
        """Return the call's result; try again after a transient error, as long as there is time.

        A collection that was released meanwhile (a restart does that) is loaded first; loading extends the deadline.
        """

        def attempt() -> T:
            nonlocal deadline
            try:
                with translating_errors(action):
                    return call(client, _timeout(deadline))
            except IndexUnavailable as error:
                if _code(error) == NOT_LOADED:
                    began = time.monotonic()
                    self._load(client)
                    deadline += time.monotonic() - began
                raise

        try:
            result = RETRY.run(attempt, _may_succeed_again, deadline=lambda: deadline)
        except IndexUnavailable as error:
            self._note(error)
            raise
        self._breaker.succeeded()
        return result

    def _note(self, error: IndexUnavailable) -> None:
        """What a failure says of the engine: that it is down, that the collection is gone, or nothing."""
        if _code(error) == NOT_FOUND:
            self.close()  # the next call makes it anew
        elif _is_transient(error) and not self._on_lite:
            self._breaker.failed(f"{self._at.uri}: {error.detail}")

    def _load(self, client: Any) -> None:
        with translating_errors("load"):
            client.load_collection(self._collection, timeout=self._timeout_s)

    def _flush(self, client: Any, lite: LiteFolder) -> None:
        with lite.gate.flushing(self._timeout_s), translating_errors("flush"):
            client.flush(self._collection, timeout=OPENING_TIMEOUT_S)
        self._unflushed_rows = 0

    def _upsert(self, rows: list[dict[str, Any]], client: Any, timeout: dict[str, Any]) -> None:
        client.upsert(self._collection, rows, **timeout)

    def _delete(self, tenant: UUID, ids: list[str], client: Any, timeout: dict[str, Any]) -> None:
        if self._lite is None:
            client.delete(self._collection, filter=f"{_expression(tenant)} and id in {_listed(ids)}", **timeout)
            return
        # Lite reads every row to evaluate such an expression (120 ms at 30,000 rows); by id alone it takes 2 ms.
        rows = client.get(
            self._collection, ids, output_fields=["tenant"], partition_names=self._partitions(tenant), **timeout
        )
        own = [row["id"] for row in rows if row["tenant"] == tenant.hex]
        if own:
            client.delete(self._collection, ids=own, partition_name=self._partition(tenant), **timeout)

    def _drop(self, collection: str) -> None:
        self._read(
            "drop a collection",
            lambda client, timeout: client.drop_collection(collection, timeout=OPENING_TIMEOUT_S),
            OPENING_TIMEOUT_S,
        )

    def _partition(self, tenant: UUID) -> str | None:
        """On Lite, the partition of the tenant's rows; none for a server, which works it out and refuses to be told.

        Lite reads all partitions otherwise, and writes every deletion to each of them. The rule is its own.
        """
        if self._lite is None:
            return None
        digest = hashlib.md5(tenant.hex.encode(), usedforsecurity=False).hexdigest()
        return f"_pk_{int(digest, 16) % LITE_PARTITIONS}"

    def _partitions(self, tenant: UUID) -> list[str]:
        name = self._partition(tenant)
        return [name] if name else []

    # -- connecting ----------------------------------------------------------------------------------------------

    def _connected(self, deadline: float) -> Any:
        self._require_closed_breaker()
        if self._client is not None and self._client_of == os.getpid():
            return self._client
        if not self._connecting.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise IndexUnavailable("the vector index is still being opened")
        try:
            if self._client_of != os.getpid():
                self._client = None  # a connection of the process that forked us; closing it would be felt there
            if self._client is None:
                self._require_closed_breaker()
                self._client = self._connect()
                self._client_of = os.getpid()
            return self._client
        finally:
            self._connecting.release()

    def _reconnect(self) -> None:
        """Open a new connection: one that has failed is tried again by gRPC after up to two minutes only."""
        with self._connecting:
            self._forget()
            self._client = self._connect()
            self._client_of = os.getpid()

    def _forget(self) -> None:
        client, self._client = self._client, None
        lite, self._lite = self._lite, None
        if client is not None and self._client_of == os.getpid():
            client.close()
        if lite is not None:
            lite.release()

    def _connect(self) -> Any:
        with ExitStack() as undo:
            lite = None
            if self._on_lite:
                lite = LiteFolder.acquire(self._at.uri)
                undo.callback(lite.release)
            try:
                with translating_errors("open"):
                    client = self._open(lite.uri if lite else self._at.uri, undo)
            except IndexUnavailable as error:
                # Each attempt takes its whole deadline; requests must not queue up for it.
                self._breaker.open(f"{self._at.uri}: {error.detail}")
                raise
            undo.pop_all()
        self._lite = lite
        if lite is not None:
            self._flush(client, lite)  # what a killed process left behind
        return client

    def _open(self, uri: str, undo: ExitStack) -> Any:
        from pymilvus import MilvusClient

        more: dict[str, Any] = {"secure": True, "server_pem_path": self._at.ca} if self._at.ca else {}
        if self._on_lite:
            # Lite's server may take pymilvus' pings for too many and hang up, and the next call fails. Within one
            # process nobody needs to be told that the other is still there.
            more["grpc_options"] = {"grpc.keepalive_time_ms": _NEVER_MS, "grpc.keepalive_permit_without_calls": False}
        # Not shared: pymilvus would hand one connection to all indexes of an address, and close none of them.
        client = MilvusClient(uri=uri, token=self._at.token, timeout=self._search_timeout_s, dedicated=True, **more)
        undo.callback(client.close)
        name, deadline = self._collection, self._timeout_s
        if not client.has_collection(name, timeout=deadline):
            self._create(client)
        self._check(client.describe_collection(name, timeout=deadline))
        # Not waiting for it to be built: loading does, and pymilvus would sleep half a second between two looks.
        if not client.list_indexes(name, field_name="vector", timeout=deadline):
            client.create_index(name, self._vector_index(client), sync=False, timeout=OPENING_TIMEOUT_S)
        client.load_collection(name, timeout=OPENING_TIMEOUT_S)
        return client

    def _create(self, client: Any) -> None:
        from pymilvus import DataType, MilvusException

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
        schema.add_field("namespace", DataType.VARCHAR, max_length=NAMESPACE_BYTES)
        schema.add_field("memory_type", DataType.VARCHAR, max_length=16)
        schema.add_field("version", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dimension)
        options = {} if self._on_lite else {"num_partitions": _partition_count(client.get_server_version())}
        try:
            client.create_collection(self._collection, schema=schema, timeout=OPENING_TIMEOUT_S, **options)
        except MilvusException:
            # Several workers may start at once; one of them is first.
            if not client.has_collection(self._collection, timeout=self._timeout_s):
                raise

    def _vector_index(self, client: Any) -> Any:
        """Exact on Lite: there HNSW found .70 of the true neighbours at 10,000 rows, and saved 3 of 8 ms."""
        wanted = client.prepare_index_params()
        if self._on_lite:
            wanted.add_index("vector", index_type="FLAT", metric_type="COSINE")
        else:
            build = {"M": self._hnsw.m, "efConstruction": self._hnsw.ef_construction}
            wanted.add_index("vector", index_type="HNSW", metric_type="COSINE", params=build)
        return wanted

    def _check(self, collection: dict[str, Any]) -> None:
        fields = {field["name"]: field for field in collection["fields"]}
        if set(fields) != FIELDS:
            raise ConfigurationError(
                f"the Milvus collection {self._collection} was not made by this service: it has the fields "
                f"{', '.join(sorted(fields))}; choose another collection name"
            )
        held = int(fields["vector"]["params"]["dim"])
        if held != self._dimension:
            raise ConfigurationError(
                f"the Milvus collection {self._collection} holds vectors of {held} numbers, but the embedder makes "
                f"{self._dimension}: go back to the former embedder, or start a new embedding generation"
            )

    @property
    def _on_lite(self) -> bool:
        return self._at.uri.endswith(".db")


class _OneAttempt(float):
    """Seconds for one attempt.

    pymilvus repeats a refused call for as long as `timeout` says, and up to three seconds longer, without jitter. It
    asks `elapsed >= timeout`, which this number always affirms; to gRPC it is a number like any other.
    """

    def __le__(self, other: float) -> bool:
        return True


def _timeout(deadline: float) -> dict[str, Any]:
    """The arguments that end a call of pymilvus' at the deadline."""
    return {"timeout": _OneAttempt(max(0.01, deadline - time.monotonic()))}


def _show_breaker(is_open: bool) -> None:
    metrics.breaker_open.set(int(is_open))


def _code(error: IndexUnavailable) -> object:
    """The vendor's code: a number of Milvus', or a status of gRPC's."""
    code = getattr(error.__cause__, "code", None)
    return code() if callable(code) else code


def _is_transient(error: IndexUnavailable) -> bool:
    import grpc

    code = _code(error)
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}
    return code in TRANSIENT or code in silent or isinstance(error.__cause__, grpc.FutureTimeoutError)


def _may_succeed_again(error: BaseException) -> bool:
    return isinstance(error, IndexUnavailable) and (_code(error) == NOT_LOADED or _is_transient(error))


def _partition_count(server_version: str) -> int:
    """`server_version` as the server tells it: v2.3.5-lite, 2.6.1; builds without a number are taken for new ones."""
    number = re.search(r"(\d+)\.(\d+)", server_version)
    old = number and (int(number[1]), int(number[2])) < SOUND_PARTITION_KEY_SINCE
    return 1 if old else PARTITIONS


# Not JSON: Lite knows these escapes only, and takes every other character, control characters too, as it is.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def _quoted(value: str) -> str:
    return f'"{value.translate(_ESCAPES)}"'


def _listed(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _expression(tenant: UUID, where: Where | None = None) -> str:
    """Milvus' filter; the tenant is always in it."""
    parts = [f"tenant == {_quoted(tenant.hex)}"]
    if where:
        parts.append(f"namespace in {_listed(where.namespaces)}")
        if where.memory_type is not None:
            parts.append(f"memory_type == {_quoted(where.memory_type)}")
    return " and ".join(parts)


def _row(tenant: UUID, point: Point, dimension: int) -> dict[str, Any]:
    return {
        "id": point.id.hex,
        "tenant": tenant.hex,
        "namespace": point.namespace,
        "memory_type": point.memory_type,
        "version": point.version,
        "vector": unit_vector(point.vector, dimension),
    }


def _hit(row: Any) -> Hit:
    similarity = float(row["distance"])
    if math.isnan(similarity):
        raise IndexUnavailable("the vector index answered with a similarity that is not a number")
    # Six digits: float32 carries no more, and what follows differs between a flushed and an unflushed row.
    return Hit(UUID(row["id"]), round(min(1.0, max(-1.0, similarity)), 6))


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

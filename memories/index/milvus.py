"""The vector index on Milvus: in-process (Milvus Lite, a path ending in .db) or a server (http, https, tcp).

The only file that knows pymilvus and milvus_lite. Both are imported when the first call connects: it takes a
third of a second and grpc threads that commands without a search have no use for.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from memories.index.base import Hit, Point, Vector, Where, checked_limit, unit_vector
from somamemory.errors import ConfigurationError, IndexUnavailable

T = TypeVar("T")

FIELDS = frozenset({"id", "tenant", "namespace", "memory_type", "version", "vector"})
NAMESPACE_BYTES = 1020  # Milvus counts bytes: 255 characters of four
ROWS_PER_CALL = 1000
BYTES_PER_CALL = 16 * 1024 * 1024  # a server's proxy refuses messages above 64 MB
SCAN_PAGE_ROWS = 16_384
NOT_LOADED = 101
OPENING_TIMEOUT_S = 60.0  # creating, loading and dropping take as long as there are rows
RETRY_CONNECT_AFTER_S = 1.0

# Lite searches rows that are not flushed in Python: 10 to 15 µs each, against 40 ms for a flush of 500.
LITE_FLUSH_AFTER_ROWS = 500
LITE_PARTITIONS = 16

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


class _Gate:
    """Many searches, or one flush.

    Lite swaps in an empty memtable before the frozen one is on disk: a search in between would miss its rows.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._searches = 0
        self._flushing = False

    @contextmanager
    def searching(self, timeout_s: float) -> Iterator[None]:
        with self._changed:
            self._wait(lambda: not self._flushing, timeout_s)
            self._searches += 1
        try:
            yield
        finally:
            with self._changed:
                self._searches -= 1
                self._changed.notify_all()

    @contextmanager
    def flushing(self, timeout_s: float) -> Iterator[None]:
        with self._changed:
            self._wait(lambda: not self._flushing, timeout_s)
            self._flushing = True  # from here on no new search begins, so that a busy index is flushed too
            try:
                self._wait(lambda: self._searches == 0, timeout_s)
            except IndexUnavailable:
                self._release()
                raise
        try:
            yield
        finally:
            with self._changed:
                self._release()

    def _release(self) -> None:
        self._flushing = False
        self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        if not self._changed.wait_for(condition, timeout_s):
            raise IndexUnavailable("the vector index is busy")


class _LiteFolder:
    """A Milvus Lite database that this process has open, shared by all its indexes (one per generation)."""

    _open: ClassVar[dict[Path, _LiteFolder]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        from milvus_lite import DataDirLockedError
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        self.path = path
        self.gate = _Gate()
        self._writer = threading.Lock()
        self._users = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        # Lite's server asks for no password. A socket in a folder of our own keeps the machine's other users out,
        # where its usual TCP port would let them in.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="soma-"))
        self.uri = f"unix:{self._socket_folder}/lite"
        try:
            self._server, self._database, _ = start_server_in_thread(
                str(path), host="unix", port=f"{self._socket_folder}/lite"
            )
        except DataDirLockedError as error:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            raise ConfigurationError(
                f"another process has the vector index {path} open; Milvus Lite serves one process at a time: "
                "stop the other one, or give SOMA_MILVUS_URI the address of a Milvus server"
            ) from error

    @classmethod
    def acquire(cls, uri: str) -> _LiteFolder:
        path = Path(uri).resolve()
        with cls._opening:
            folder = cls._open.get(path)
            if folder is None:
                folder = cls._open[path] = cls(path)
                atexit.register(folder._shut)
            folder._users += 1
            return folder

    def release(self) -> None:
        with self._opening:
            self._users -= 1
            if self._users == 0:
                del self._open[self.path]
                atexit.unregister(self._shut)
                self._shut()

    def _shut(self) -> None:
        self._server.stop(grace=2).wait()
        self._database.close()
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    @contextmanager
    def writing(self, timeout_s: float) -> Iterator[None]:
        """One writer at a time: Lite numbers its rows without a lock, and concurrent flushes fail."""
        if not self._writer.acquire(timeout=timeout_s):
            raise IndexUnavailable("the vector index is busy")
        try:
            yield
        finally:
            self._writer.release()


class MilvusIndex:
    """A `VectorIndex` in one Milvus collection; made cheaply, connected by the first call.

    uri: a path ending in .db, or http://, https://, tcp://; token: "user:password" or an API key, may be empty;
    collection: letters, digits, underscores; timeout_s: the deadline of each call to the engine;
    consistency: what a server's searches wait for. "Strong" sees every finished upsert and costs 200 ms.
    Any call may raise `ConfigurationError` when the index cannot be used as configured.
    """

    def __init__(
        self,
        uri: str,
        token: str,
        collection: str,
        dimension: int,
        timeout_s: float,
        *,
        consistency: str = "Bounded",
    ) -> None:
        if not re.match(r"(https?|tcp)://", uri) and not uri.endswith(".db"):
            raise ConfigurationError(
                f"SOMA_MILVUS_URI must end in .db or begin with http://, https:// or tcp://: {uri}"
            )
        self._uri = uri
        self._token = token
        self._collection = collection
        self._dimension = dimension
        self._timeout_s = timeout_s
        self._consistency = consistency
        self._connecting = threading.Lock()
        self._client: Any = None
        self._lite: _LiteFolder | None = None
        self._unflushed_rows = 0
        self._refused_until = 0.0

    # -- the protocol --------------------------------------------------------------------------------------------

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        # Of two rows with one id in one call an engine may keep either; here the last one counts.
        latest = {point.id: point for point in points}
        rows = [_row(tenant, point, self._dimension) for point in latest.values()]
        per_call = max(1, min(ROWS_PER_CALL, BYTES_PER_CALL // (4 * self._dimension + 2 * NAMESPACE_BYTES)))
        for batch in _batches(rows, per_call):
            with self._writing(len(batch)) as client, translating_errors("take vectors in"):
                client.upsert(self._collection, batch, timeout=self._timeout_s)

    def search(self, tenant: UUID, vector: Vector, where: Where, limit: int) -> list[Hit]:
        checked_limit(limit)
        query = unit_vector(vector, self._dimension)
        with self._reading() as client, translating_errors("search"):
            found = self._once_loaded(
                client,
                lambda: client.search(
                    self._collection,
                    [query],
                    filter=_expression(tenant, where),
                    limit=limit,
                    output_fields=["id"],
                    # ef below the limit is refused; 32,768 is the most that a server takes.
                    search_params={"metric_type": "COSINE", "params": {"ef": min(max(128, 2 * limit), 32_768)}},
                    consistency_level=self._consistency,
                    timeout=self._timeout_s,
                    partition_names=self._partitions(tenant),
                ),
            )
        return sorted((_hit(row) for row in found[0]), key=lambda hit: (-hit.similarity, hit.id.hex))

    def delete(self, tenant: UUID, ids: Sequence[UUID]) -> None:
        for batch in _batches([id_.hex for id_ in ids], ROWS_PER_CALL):
            with self._writing(len(batch)) as client, translating_errors("delete vectors"):
                self._once_loaded(client, partial(self._delete, client, tenant, batch))

    def drop_tenant(self, tenant: UUID) -> None:
        with self._writing(LITE_FLUSH_AFTER_ROWS) as client, translating_errors("drop a tenant"):
            self._once_loaded(
                client,
                lambda: client.delete(
                    self._collection,
                    filter=_expression(tenant),
                    timeout=max(self._timeout_s, OPENING_TIMEOUT_S),
                    partition_name=self._partition(tenant),
                ),
            )

    def scan(self, tenant: UUID) -> Iterator[tuple[UUID, int]]:
        return self._scan(tenant, "")

    def ping(self) -> None:
        with self._reading() as client, translating_errors("answer"):
            client.get_server_version(timeout=self._timeout_s)

    def close(self) -> None:
        with self._connecting:
            client, self._client = self._client, None
            lite, self._lite = self._lite, None
            if client is not None:
                client.close()
            if lite is not None:
                lite.release()

    # -- one call ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        client = self._connected()
        with self._lite.gate.searching(self._timeout_s) if self._lite else nullcontext():
            yield client

    @contextmanager
    def _writing(self, rows: int) -> Iterator[Any]:
        client = self._connected()
        if self._lite is None:
            yield client
            return
        with self._lite.writing(self._timeout_s):
            yield client
            self._unflushed_rows += rows
            if self._unflushed_rows >= LITE_FLUSH_AFTER_ROWS:
                self._flush(client, self._lite)

    def _flush(self, client: Any, lite: _LiteFolder) -> None:
        with lite.gate.flushing(self._timeout_s), translating_errors("flush"):
            client.flush(self._collection, timeout=OPENING_TIMEOUT_S)
        self._unflushed_rows = 0

    def _once_loaded(self, client: Any, call: Callable[[], T]) -> T:
        """The call's result; a collection that was released meanwhile (a restart does that) is loaded first."""
        from pymilvus import MilvusException

        try:
            return call()
        except MilvusException as error:
            if error.code != NOT_LOADED:
                raise
        client.load_collection(self._collection, timeout=self._timeout_s)
        return call()

    def _delete(self, client: Any, tenant: UUID, ids: list[str]) -> None:
        if self._lite is None:
            expression = f"{_expression(tenant)} and id in {_listed(ids)}"
            client.delete(self._collection, filter=expression, timeout=self._timeout_s)
            return
        # Lite reads every row to evaluate such an expression (120 ms at 30,000 rows); by id alone it takes 2 ms.
        rows = client.get(
            self._collection,
            ids,
            output_fields=["tenant"],
            partition_names=self._partitions(tenant),
            timeout=self._timeout_s,
        )
        own = [row["id"] for row in rows if row["tenant"] == tenant.hex]
        if own:
            client.delete(self._collection, ids=own, partition_name=self._partition(tenant), timeout=self._timeout_s)

    def _scan(self, tenant: UUID, prefix: str) -> Iterator[tuple[UUID, int]]:
        """The rows whose id begins with the prefix. A full page may not be all of them: it is read again in sixteen.

        pymilvus' own iterator falls back to the client's clock when the server names no time, and then misses rows.
        """
        with self._reading() as client, translating_errors("list what it holds"):
            rows = self._once_loaded(
                client,
                lambda: client.query(
                    self._collection,
                    filter=f'{_expression(tenant)} and id like "{prefix}%"',
                    limit=SCAN_PAGE_ROWS,
                    output_fields=["id", "version"],
                    partition_names=self._partitions(tenant),
                    # A row missed here would be taken for one that the index has lost.
                    consistency_level="Strong",
                    timeout=self._timeout_s,
                ),
            )
        if len(rows) < SCAN_PAGE_ROWS:
            yield from ((UUID(row["id"]), int(row["version"])) for row in rows)
            return
        for digit in "0123456789abcdef":
            yield from self._scan(tenant, prefix + digit)

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

    def _connected(self) -> Any:
        client = self._client
        if client is not None:
            return client
        if not self._connecting.acquire(timeout=self._timeout_s):
            raise IndexUnavailable("the vector index is still being opened")
        try:
            if self._client is None:
                self._client = self._connect()
            return self._client
        finally:
            self._connecting.release()

    def _connect(self) -> Any:
        # While the engine is down each attempt takes the whole deadline; requests must not queue up for it.
        if time.monotonic() < self._refused_until:
            raise IndexUnavailable("the vector index did not answer a moment ago")
        with ExitStack() as undo:
            lite = None
            if self._uri.endswith(".db"):
                lite = _LiteFolder.acquire(self._uri)
                undo.callback(lite.release)
            try:
                with translating_errors("open"):
                    client = self._open(lite.uri if lite else self._uri, undo)
            except IndexUnavailable:
                self._refused_until = time.monotonic() + RETRY_CONNECT_AFTER_S
                raise
            undo.pop_all()
        self._lite = lite
        if lite is not None:
            self._flush(client, lite)  # what a killed process left behind
        return client

    def _open(self, uri: str, undo: ExitStack) -> Any:
        from pymilvus import MilvusClient

        # Not shared: pymilvus would hand one connection to all indexes of an address, and close none of them.
        client = MilvusClient(uri=uri, token=self._token, timeout=self._timeout_s, dedicated=True)
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
            build = {"M": 16, "efConstruction": 200}
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
        return self._uri.endswith(".db")


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

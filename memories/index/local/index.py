"""An exact vector index in files that all processes on the machine share. It needs no other service."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from memories.index.base import ANY_VERSION, Hit, Ids, Point, Vector, Where, checked_limit, unit_vector, unit_vectors
from memories.index.local import layout
from memories.index.local.locking import exclusive
from memories.index.local.points_file import Damaged
from memories.index.local.store import Store
from somamemory import failpoints
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.installation import COMMAND
from somamemory.telemetry import tracing

log = logging.getLogger("soma.index")

WRITE_TIMEOUT_S = 10.0  # the time to wait for another writer; compacting a million rows takes about two seconds
_DESCRIPTION = "collection.json"
_TENANT = re.compile("[0-9a-f]{32}")  # the name of a tenant's folder
_LOCKS = 64
# The maximum number of mapped chunks. Each needs a file descriptor, and processes are often limited to 1,024.
_MAX_MAPPED_CHUNKS = 384


class LocalIndex:
    """One collection: a folder with a subfolder per tenant. Any number of processes can open the collection."""

    remote = False

    def __init__(self, folder: Path, collection: str, dimension: int) -> None:
        self._parent = folder
        self._folder = folder / collection
        self._dimension = dimension
        self._stores: OrderedDict[UUID, Store] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._is_checked = False

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        if not points:
            return
        vectors = unit_vectors([point.vector for point in points], self._dimension)
        last = {point.id: at for at, point in enumerate(points)}
        if len(last) < len(points):
            points, vectors = [points[at] for at in last.values()], vectors[list(last.values())]
        with tracing.span("index: store vectors"), self._locked(tenant):
            store = self._recovered(tenant) or self._create(tenant)
            store.upsert(points, vectors)

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        limit = checked_limit(limit)
        query = unit_vector(vector, self._dimension)
        with tracing.span("index: search"), self._reading(tenant) as store:
            return [] if store is None else store.search(query, where, limit)

    def nearest_of(self, tenant: UUID, ids: Ids, vector: Vector, limit: int) -> list[Hit]:
        limit = checked_limit(limit)
        query = unit_vector(vector, self._dimension)
        with tracing.span("index: compare vectors"), self._reading(tenant) as store:
            return [] if store is None else store.nearest_of(ids, query, limit)

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        if ids and self._tenant_folder(tenant).exists():
            with tracing.span("index: delete vectors"), self._locked(tenant):
                if (store := self._recovered(tenant)) is not None:
                    store.delete(ids, versions or [ANY_VERSION] * len(ids))

    def drop_tenant(self, tenant: UUID) -> None:
        if self._tenant_folder(tenant).exists():
            with self._locked(tenant):
                self._discard(tenant)

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        with self._reading(tenant) as store:
            if store is not None:
                yield from store.scan(prefix)

    def is_intact(self, tenant: UUID) -> bool:
        """Return whether the file has been compared with the database since the machine started."""
        try:
            store = self._opened(tenant)
        except (Damaged, OSError):
            return False
        return store is not None and store.file.compared and not store.file.rebuilding

    @contextmanager
    def rebuilding(self, tenant: UUID) -> Iterator[None]:
        with self._locked(tenant):
            store = self._recovered(tenant)
            if store is None:
                store = self._create(tenant)
                store.file.rebuilding = True
        yield
        with self._locked(tenant):
            if (store := self._recovered(tenant)) is not None:
                store.file.rebuilding, store.file.compared = False, True

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        return self._tenants() - set(known)

    def collections(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self._parent) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def drop(self) -> None:
        for tenant in self._tenants():
            self.drop_tenant(tenant)
        shutil.rmtree(self._folder, ignore_errors=True)
        self.close()

    def drop_other(self, collection: str) -> None:
        LocalIndex(self._parent, collection, self._dimension).drop()

    def publish(self, alias: str) -> None:
        self._check()
        draft = self._parent / f".{alias}"
        with _translating_errors():
            draft.unlink(missing_ok=True)
            draft.symlink_to(self._folder.name)
            draft.replace(self._parent / alias)

    def available(self) -> bool:
        return True

    def ping(self) -> None:
        self._check()
        with _translating_errors():
            (self._folder / _DESCRIPTION).stat()  # another program may have deleted the files

    def close(self) -> None:
        with self._lock:
            self._stores.clear()
        self._is_checked = False

    # -- a tenant's files ------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, tenant: UUID) -> Iterator[Store | None]:
        """Provide the tenant's store. Waits for writers only if the files must be verified or are damaged."""
        try:
            store = self._opened(tenant)
            is_sound = store is None or store.file.verified
        except Damaged:
            is_sound = False
        except OSError as error:
            raise _unusable(error) from error
        if not is_sound:
            with self._locked(tenant):
                store = self._recovered(tenant)
        with _translating_errors():
            yield store

    @contextmanager
    def _locked(self, tenant: UUID) -> Iterator[None]:
        """Hold the lock for a tenant's writers while this context is active.

        Tenants share a fixed number of lock files, so that no lock file is left behind when a tenant is erased.
        """
        self._check()
        number = tenant.int % _LOCKS
        if not self._locks[number].acquire(timeout=WRITE_TIMEOUT_S):
            raise IndexUnavailable("the vector index is busy; retry later")
        try:
            with _translating_errors(), exclusive(self._folder / f"lock-{number:02}", WRITE_TIMEOUT_S):
                failpoints.reach("call.vector_index")
                yield
        finally:
            self._locks[number].release()

    def _recovered(self, tenant: UUID) -> Store | None:
        """Return the tenant's store, after repairing any damage caused by a killed process or a machine restart.

        The caller must hold the tenant's lock. A file that cannot be read is deleted, and the result is None. The next
        comparison with the database restores the missing rows.
        """
        try:
            store = self._opened(tenant)
            if store is not None and not store.file.verified:
                store.verify()
        except Damaged as error:
            log.error("a vector index file is damaged and will be rebuilt", extra={"reason": str(error)})
            self._discard(tenant)
            return None
        if store is not None:
            store.repair()
        return store

    def _opened(self, tenant: UUID) -> Store | None:
        """Return the tenant's store, or None if the tenant has no points. Raises Damaged if a file cannot be read."""
        with self._lock:
            store = self._stores.get(tenant)
            if store is not None and not store.file.retired:
                self._stores.move_to_end(tenant)
                return store
        self._check()
        store = Store.open(self._tenant_folder(tenant), self._dimension)
        self._remember(tenant, store)
        return store

    def _create(self, tenant: UUID) -> Store:
        store = Store.create(self._tenant_folder(tenant), self._dimension)
        self._remember(tenant, store)
        return store

    def _remember(self, tenant: UUID, store: Store | None) -> None:
        with self._lock:
            self._stores.pop(tenant, None)
            if store is not None:
                self._stores[tenant] = store
            mapped = sum(layout.chunks_for(store.file.count) + 1 for store in self._stores.values())
            while mapped > _MAX_MAPPED_CHUNKS and len(self._stores) > 1:
                _, closed = self._stores.popitem(last=False)
                mapped -= layout.chunks_for(closed.file.count) + 1

    def _discard(self, tenant: UUID) -> None:
        Store.delete_folder(self._tenant_folder(tenant))
        self._remember(tenant, None)

    def _tenant_folder(self, tenant: UUID) -> Path:
        return self._folder / tenant.hex

    def _tenants(self) -> set[UUID]:
        try:
            return {UUID(entry.name) for entry in os.scandir(self._folder) if _TENANT.fullmatch(entry.name)}
        except FileNotFoundError:
            return set()

    # -- the collection's folder -----------------------------------------------------------------------------------

    def _check(self) -> None:
        """Create the collection if it is missing. Raises ConfigurationError if it has a different dimension."""
        if self._is_checked:
            return
        with _translating_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            dimension = self._described_dimension()
        if dimension != self._dimension:
            raise ConfigurationError(
                f"the vector index in {self._folder} contains {dimension}-dimensional vectors, but the embedder "
                f"creates {self._dimension}. Restore the previous embedder settings, or run {COMMAND} reembed"
            )
        self._is_checked = True

    def _described_dimension(self) -> int:
        path = self._folder / _DESCRIPTION
        try:
            return int(json.loads(path.read_text())["dimension"])
        except (FileNotFoundError, ValueError, KeyError):
            draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            draft.write_text(json.dumps({"dimension": self._dimension}))
            draft.replace(path)
            return self._dimension


@contextmanager
def _translating_errors() -> Iterator[None]:
    """Raise IndexUnavailable if the files cannot be read or written within this context."""
    try:
        yield
    except Damaged as error:  # only another program can damage a file while it is open
        raise IndexUnavailable(f"the vector index files are damaged: {error}; restart the server") from error
    except OSError as error:
        raise _unusable(error) from error


def _unusable(error: OSError) -> IndexUnavailable:
    remedy = "check the data folder"
    if error.errno == errno.ENOENT:
        remedy = "restart the server, which creates missing files from the database"
    return IndexUnavailable(f"the vector index files cannot be used: {error.strerror}; {remedy}")

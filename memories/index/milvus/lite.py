"""Milvus Lite, the engine in this process. Only this module imports milvus_lite, when a folder is opened."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from somamemory.errors import ConfigurationError, IndexUnavailable

# The path of a Unix socket is limited to 107 bytes, and we add "/soma-xxxxxxxx/lite".
MAX_SOCKET_PARENT = 80


class Gate:
    """A lock that allows either many searches or one flush.

    During a flush, Lite installs an empty memtable before the old one is on disk, so a search at that moment would miss
    rows.
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
            self._flushing = True  # no new search can start from here on, so a busy index is flushed too
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


class LiteFolder:
    """A Milvus Lite database that this process has opened. All its indexes (one per generation) share it."""

    _open: ClassVar[dict[Path, LiteFolder]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        from milvus_lite import DataDirLockedError
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        self.path = path
        self.gate = Gate()
        self._writer = threading.Lock()
        self._users = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        # Lite's server has no password. A socket in a private folder keeps out other users of the machine; its usual
        # TCP port would not.
        self._socket_folder = _socket_folder()
        self.uri = f"unix:{self._socket_folder}/lite"
        try:
            self._server, self._database, _ = start_server_in_thread(
                str(path), host="unix", port=f"{self._socket_folder}/lite"
            )
        except DataDirLockedError as error:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            raise ConfigurationError(
                f"another process has opened the vector index {path}; Milvus Lite supports only one at a time. "
                "Stop it, or set SOMA_MILVUS_URI to the address of a Milvus server"
            ) from error
        _remove_truncated_sidecars(path)

    @classmethod
    def acquire(cls, uri: str) -> LiteFolder:
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
        """Allow one writer at a time: Lite numbers rows without a lock, and concurrent flushes fail."""
        if not self._writer.acquire(timeout=timeout_s):
            raise IndexUnavailable("the vector index is busy")
        try:
            yield
        finally:
            self._writer.release()


def _remove_truncated_sidecars(folder: Path) -> None:
    """Remove index files that a killed process has not finished; Lite rebuilds a missing one from its segment.

    Lite does not write them atomically, and a truncated one would fail every load of the collection.
    """
    for file in folder.glob("collections/*/partitions/*/indexes/*.flat.idx"):
        try:
            np.load(file, mmap_mode="r")
        except (ValueError, EOFError, OSError):
            file.unlink(missing_ok=True)


def _socket_folder() -> Path:
    """Create a private folder whose path is short enough for a socket in it."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it safely
        if len(parent) <= MAX_SOCKET_PARENT and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="soma-", dir=parent))
    raise ConfigurationError("Milvus Lite needs a folder for its socket; set TMPDIR to a short path that is writable")

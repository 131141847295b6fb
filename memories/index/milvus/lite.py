"""Milvus Lite, the engine in this process. milvus_lite is imported only here, when a folder is opened."""

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

from somamemory.errors import ConfigurationError, IndexUnavailable

# The path of a Unix socket has 107 bytes at most; ours adds "/soma-xxxxxxxx/lite".
MAX_SOCKET_PARENT = 80


class Gate:
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
            self._flushing = True  # from now on no new search begins, so that a busy index is flushed too
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
    """A Milvus Lite database that this process has opened, shared by all its indexes (one per generation)."""

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
        # Lite's server has no password. A socket in a private folder keeps other users of the machine out; its usual
        # TCP port would let them in.
        self._socket_folder = _socket_folder()
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
        """One writer at a time: Lite numbers its rows without a lock, and concurrent flushes fail."""
        if not self._writer.acquire(timeout=timeout_s):
            raise IndexUnavailable("the vector index is busy")
        try:
            yield
        finally:
            self._writer.release()


def _socket_folder() -> Path:
    """Return a new private folder with a path short enough for a socket in it."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it safely
        if len(parent) <= MAX_SOCKET_PARENT and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="soma-", dir=parent))
    raise ConfigurationError("Milvus Lite needs a folder for its socket: set TMPDIR to a short path that is writable")

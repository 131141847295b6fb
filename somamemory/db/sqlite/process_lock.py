"""A file lock shared by a server's processes."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

PAUSE_S = 0.0005  # between attempts; SQLite itself pauses for up to 0.1 s


class ProcessLock:
    """A lock that only one process can hold at a time. The kernel releases it when the process ends.

    Threads need an additional lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, timeout_s: float) -> bool:
        ends_at = time.monotonic() + timeout_s
        while not self._try_to_acquire():
            if time.monotonic() >= ends_at:
                return False
            time.sleep(PAUSE_S)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _try_to_acquire(self) -> bool:
        if self._descriptor is None:  # kept open for the life of the process
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

"""The lock for a tenant's writers. Only one thread on the machine, in any process, can hold it at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memories.index.local.points_file import PRIVATE
from somamemory.errors import IndexUnavailable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0002, 0.01


@contextmanager
def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock on this file while this context is active. If the process ends, the operating system releases it.

    Raises IndexUnavailable if another process holds the lock for longer than `timeout_s`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        _acquire(descriptor, time.monotonic() + timeout_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, deadline: float) -> None:
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise IndexUnavailable("another process is writing to the vector index; retry later") from None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return

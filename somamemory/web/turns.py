"""Let short CPU-bound requests take turns, instead of competing for Python's interpreter.

Python runs one thread at a time, and a thread hands over the interpreter whenever it reads a row from SQLite or calls
native code. With several such requests at once, each handover wakes another thread, and a search uses twice as much CPU
time. If they take turns, each one runs without interruption.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Turns:
    """First come, first served.

    longest_s: a turn ends after this time even if the request is still running, so that a long request cannot hold up
      the others.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()  # one per waiting thread, released when its turn begins
        self._current: threading.Lock | None = None  # of the thread whose turn it is
        self._ends_at = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        own = threading.Lock()
        self._wait(own)
        try:
            yield
        finally:
            self._end(own)

    def _wait(self, own: threading.Lock) -> None:
        with self._guard:
            if self._current is None:
                self._begin(own)
                return
            own.acquire()
            self._waiting.append(own)
        while not own.acquire(timeout=max(self._ends_at - time.monotonic(), 0.001)):
            with self._guard:
                if self._current is not own and self._waiting[0] is own and time.monotonic() >= self._ends_at:
                    self._waiting.popleft()
                    self._begin(own)  # the previous turn has taken too long
                if self._current is own:
                    return

    def _begin(self, turn: threading.Lock) -> None:
        self._current, self._ends_at = turn, time.monotonic() + self._longest_s

    def _end(self, own: threading.Lock) -> None:
        with self._guard:
            if self._current is not own:  # the next turn has already begun
                return
            self._current = None
            if self._waiting:
                self._begin(following := self._waiting.popleft())
                following.release()


# By kind of request. Reads do not wait for searches, which take longer.
TURNS: Mapping[str, Turns] = {"read": Turns(0.01), "search": Turns(0.05)}

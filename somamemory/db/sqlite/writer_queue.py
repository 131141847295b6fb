"""A lock that is granted in request order. No I/O."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A first-come, first-served lock. `threading.Lock` favours the fastest thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def acquire(self, timeout_s: float) -> bool:
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout_s):
            return True
        with self._guard:
            if turn not in self._waiting:  # it was granted at the last moment
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()  # `_held` stays true, because the next thread now holds the lock
            else:
                self._held = False

"""Test clients that retry each write until it is acknowledged, and record what the server must have stored."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from testing.processes import KEY
from testing.server import Client

GIVE_UP_S = 120  # a write that has not been acknowledged after this time is not sent again


@dataclass
class Progress:
    """Counts the writes that clients may begin and have finished, and lists problems. All clients share one object."""

    acknowledged: int = 0
    unanswered: int = 0
    given_up: int = 0
    slowest_s: float = 0.0
    refused: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    stopped: bool = False
    _allowed: int = 0
    _begun: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def done(self) -> int:
        return self.acknowledged + self.given_up

    def allow(self, writes: int) -> None:
        with self._changed:
            self._allowed += writes
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def may_begin(self) -> bool:
        """Wait until another write may begin. Return False if no more writes may begin, otherwise True."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or self._begun < self._allowed)
            self._begun += not self.stopped
            return not self.stopped

    def note(self, status: int | None, took_s: float, accepted: bool) -> None:
        with self._changed:
            if status is None:
                self.unanswered += 1
                return
            self.slowest_s = max(self.slowest_s, took_s)
            if accepted:
                self.acknowledged += 1
                self._changed.notify_all()
            else:
                self.refused[status] += 1

    def give_up(self, problem: str) -> None:
        with self._changed:
            self.given_up += 1
            self.problems.append(problem)
            self._changed.notify_all()

    def wait_until(self, done: int, timeout_s: float) -> None:
        """Wait until this many writes are done, or until the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self.done >= done, timeout_s)


@dataclass
class Memory:
    """What a client expects to be stored at one of its addresses.

    number: the number of the write that stored the memory; None if the memory is deleted or was never stored.
    effects: the number of acknowledged writes.
    certain: whether every write was acknowledged.
    """

    number: int | None = None
    effects: int = 0
    certain: bool = True


class Writer(threading.Thread):
    """A client that stores, replaces and deletes memories at its own addresses.

    It retries each write until the server acknowledges the write.
    """

    def __init__(self, at: int, port: int, progress: Progress, addresses: int) -> None:
        super().__init__(name=f"writer {at}", daemon=True)
        self.at, self.port, self.progress = at, port, progress
        self.memories = {f"{at}.0,{number}.0": Memory() for number in range(addresses)}
        self.dice = random.Random(at)
        self.writes = 0
        self.client = self._connected()

    def run(self) -> None:
        with contextlib.closing(self):
            self._work()

    def close(self) -> None:
        self.client.connection.close()

    def _work(self) -> None:
        while self.progress.may_begin():
            self.writes += 1
            coord = self.dice.choice(list(self.memories))
            if self.memories[coord].number is not None and self.dice.random() < 0.4:
                self._remove(coord)
            else:
                self._store(coord)

    def _store(self, coord: str) -> None:
        known = self.memories[coord]
        text = f"turtle number{self.writes} of writer{self.at}"
        body = {"coord": coord, "payload": {"text": text, "number": self.writes}}
        answer = self._until_acknowledged("POST", "/memories", body, {200, 201})
        if answer is None:
            known.certain = False
            return
        known.number = self.writes
        known.effects += 1
        if known.certain and answer[1]["version"] != known.effects:
            self._complain(f"{coord} has version {answer[1]['version']} after {known.effects} writes")

    def _remove(self, coord: str) -> None:
        known = self.memories[coord]
        answer = self._until_acknowledged("DELETE", f"/memories/{coord}", None, {200, 204, 404})
        if answer is None:
            known.certain = False
            return
        if answer[0] == 404 and known.certain and not self.sent_again:
            self._complain(f"{coord} was acknowledged but is not stored")
        known.number = None
        known.effects += 1

    def _until_acknowledged(self, method: str, path: str, body: Any, good: set[int]) -> tuple[int, Any] | None:
        self.client.headers["Idempotency-Key"] = f"{self.at}-{self.writes}"
        self.sent_again = False
        until = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until and not self.progress.stopped:
            status, answer = self._send(method, path, body, good)
            if status in good:
                return status or 0, answer
            # A rejected write has had no effect. A write that got a server error or no response may have had one.
            self.sent_again = self.sent_again or status is None or status >= 500
            if status is not None and status < 500 and status not in (409, 429):
                break
            time.sleep(0.1)
        self.progress.give_up(f"{method} {path}: not acknowledged; the last response was {status}: {answer}")
        return None

    def _send(self, method: str, path: str, body: Any, good: set[int]) -> tuple[int | None, Any]:
        began = time.monotonic()
        status, answer = None, None
        try:
            status, answer = self.client.call(method, path, body)
        except (OSError, HTTPException, ValueError):
            headers = self.client.headers
            self.client.connection.close()
            self.client = self._connected()
            self.client.headers = headers
        self.progress.note(status, time.monotonic() - began, status in good)
        return status, answer

    def _connected(self) -> Client:
        return Client(self.port, KEY, "default", timeout_s=30)

    def _complain(self, problem: str) -> None:
        self.progress.problems.append(problem)

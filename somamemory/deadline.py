"""Deadlines: cancel a request and its database statement when the request's time is up, on SQLite and PostgreSQL.

A request runs inside `within`. Commands, jobs and the scheduler do not, so they have no deadline. A thread, the
watchdog, interrupts the statement of a request that has exceeded its deadline. It calls `interrupt` on SQLite and sends
a cancel request to PostgreSQL. Statements therefore need no timeout of their own and no additional round trip. Loops
in Python call `check`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from somamemory.errors import DeadlineExceeded

log = logging.getLogger("soma.deadlines")

# How often the watchdog checks for disconnected clients, and how often it interrupts a statement again.
LOOK_S = 1.0
REPEAT_S = 0.1
# The timeout of a cancel request, which opens a new connection to PostgreSQL.
_CANCEL_S = 2.0
# Statements that end a transaction must run even after the deadline.
_ENDINGS = ("ROLLBACK", "RELEASE")

Piece = TypeVar("Piece")


@dataclass(eq=False, slots=True)
class _Work:
    """The work of one request. `connection` is the connection that its last statement used."""

    seconds: float
    ends_at: float  # in `monotonic` time
    is_abandoned: Callable[[], bool] = field(default=lambda: False)
    connection: BaseDatabaseWrapper | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while its statement is interrupted


_work: ContextVar[_Work | None] = ContextVar("work", default=None)
_running: set[_Work] = set()
_sooner = threading.Event()  # set when a deadline is due before the watchdog's next check
_looks_at = 0.0
_watchdog: threading.Thread | None = None
_starting = threading.Lock()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the work inside this context to the given number of seconds."""
    work = _Work(seconds, time.monotonic() + seconds)
    with _as_current(work):
        yield


def restart(seconds: float, is_abandoned: Callable[[], bool] | None = None) -> None:
    """Restart the deadline of the current request, for example after its body has been read.

    is_abandoned: returns whether the client has disconnected, in which case the request ends as if its deadline had
        passed.
    """
    work = _work.get()
    if work is not None:
        work.seconds, work.ends_at = seconds, time.monotonic() + seconds
        if is_abandoned is not None:
            work.is_abandoned = is_abandoned


def stream(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield the parts of a streamed response. The current request's deadline also limits the work on these parts."""
    work = _work.get()
    return pieces if work is None else _stream(work, pieces)


def _stream(work: _Work, pieces: Iterator[Piece]) -> Iterator[Piece]:
    while True:
        with _as_current(work):  # not active while the server sends a part, because another request may run in between
            check()
            try:
                piece = next(pieces)
            except StopIteration:
                return
        yield piece


def check() -> None:
    """Raise DeadlineExceeded if the current request has used up its time. Loops call this once per batch."""
    work = _work.get()
    if work is not None and time.monotonic() >= work.ends_at:
        raise _exceeded(work)


def is_over() -> bool:
    work = _work.get()
    return work is not None and time.monotonic() >= work.ends_at


def left_s(most: float) -> float:
    """Return how long the current request may wait: its remaining seconds, but at most `most`."""
    work = _work.get()
    return most if work is None else max(0.0, min(most, work.ends_at - time.monotonic()))


def exceeded() -> DeadlineExceeded:
    """Return the error for a request whose statement was interrupted."""
    work = _work.get()
    return DeadlineExceeded() if work is None else _exceeded(work)


def watch(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Record which connection runs a request's statement. Connected to the `connection_created` signal."""
    if _record_connection not in connection.execute_wrappers:
        connection.execute_wrappers.append(_record_connection)


def _exceeded(work: _Work) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the request exceeded its deadline of {work.seconds:g} seconds; request less data at once: use a prefix or a "
        f"narrower filter, a smaller limit, or fewer conditions"
    )


def _record_connection(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    work = _work.get()
    if work is not None:
        if time.monotonic() >= work.ends_at and not sql.startswith(_ENDINGS):
            raise _exceeded(work)
        work.connection = context["connection"]
    return execute(sql, params, many, context)


@contextmanager
def _as_current(work: _Work) -> Iterator[None]:
    _start_watchdog()
    _running.add(work)
    if work.ends_at < _looks_at:
        _sooner.set()
    token = _work.set(work)
    try:
        yield
    finally:
        _work.reset(token)
        with work.lock:  # an interruption in progress must not hit the next request on this connection
            _running.discard(work)


def _start_watchdog() -> None:
    """Start the watchdog with the first request, because a thread does not survive the fork of a web process."""
    global _watchdog
    if _watchdog is None or not _watchdog.is_alive():
        with _starting:
            if _watchdog is None or not _watchdog.is_alive():
                _watchdog = threading.Thread(target=_watch, name="soma-deadlines", daemon=True)
                _watchdog.start()


def _watch() -> None:
    global _looks_at
    while True:
        now = time.monotonic()
        wait_s = LOOK_S
        for work in list(_running):
            if work.is_abandoned():
                work.ends_at = min(work.ends_at, now)
            if work.ends_at <= now:
                _interrupt(work)
                wait_s = REPEAT_S  # the request may begin another statement before it notices its deadline
            else:
                wait_s = min(wait_s, work.ends_at - now)
        _looks_at = time.monotonic() + wait_s
        _sooner.wait(wait_s)
        _sooner.clear()


def _interrupt(work: _Work) -> None:
    """Interrupt the statement that `work` is running, if any."""
    with work.lock:
        connection = work.connection
        if work not in _running or connection is None or (database := connection.connection) is None:
            return
        try:
            with connection.wrap_database_errors:
                if connection.vendor == "sqlite":
                    database.interrupt()
                else:
                    connection.close_at = 0.0  # close it after the request: a late cancel must not hit the next request
                    database.cancel_safe(timeout=_CANCEL_S)
        except (DatabaseError, InterfaceError, OSError) as error:
            log.warning("could not interrupt a statement", extra={"reason": str(error)})

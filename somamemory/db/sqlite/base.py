"""The database backend. Django requires this module name.

SQLite allows one writer at a time. Waiting writers poll at increasing intervals of up to 0.1 s, so the order is random.
With 16 threads writing on two cores, the longest waits were between 0.7 and 4.1 s, and some batch writers gave up after
5 s ("database is locked"). With this queue, no writer waited longer than 0.7 s. If there are several web processes,
the first writer in each process's queue also waits for a file lock. Other processes, such as commands, still poll.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

from somamemory import allocator, deadline
from somamemory.db.sqlite.process_lock import ProcessLock
from somamemory.db.sqlite.writer_queue import FairLock

# Longer than any realistic wait: 16 batches of 1,000 memories take 10 s.
PATIENCE_S = 30.0
LARGE = 262_144  # bytes or characters
MAX_KEPT_LENGTH = 8_192  # maximum length, in characters, of a statement whose conversion is cached
_NO_TURN = "database is locked: other writers took too long"
_WRITE = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
_READ = re.compile(r"\s*SELECT\b", re.IGNORECASE)

_queues: defaultdict[str, FairLock] = defaultdict(FairLock)
_process_locks: dict[str, ProcessLock] = {}
_making = threading.Lock()


class Cursor(base.SQLiteCursorWrapper):
    """Caches statements whose placeholders it has converted to SQLite's style."""

    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None and len(query) <= MAX_KEPT_LENGTH:  # batch statements are long, and many of them differ
            return _with_question_marks(query)
        converted: str = super().convert_query(query, param_names=param_names)
        return converted


def is_large(params: Sequence[object] | None) -> bool:
    """Return whether a statement's parameters are large.

    A connection caches its last 64 statements, each of which keeps a copy of its parameters. After storing
    9.8 MB memories, eight threads held on to 200 MB.
    """
    size = 0
    for value in params or ():
        if isinstance(value, str | bytes):
            size += len(value)
    return size > LARGE


@lru_cache(256)
def _with_question_marks(query: str) -> str:
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class DatabaseWrapper(base.DatabaseWrapper):
    """Enters the queue before a transaction begins and leaves it when the transaction has ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_turn = False
        self._had_large = False
        self._first: Callable[[], None] | None = None  # see `beginning_late`
        self.execute_wrappers.append(self._single_write)

    def create_cursor(self, name: str | None = None) -> Any:
        return self.connection.cursor(factory=Cursor)

    @contextmanager
    def beginning_late(self, first: Callable[[], None]) -> Iterator[None]:
        """Begin the transaction in this context only at its first nested transaction or write, and then call `first`.

        Until then, other writers do not wait. Earlier reads are not part of the transaction.
        """
        self._first = first
        try:
            yield
        finally:
            self._first = None

    def _begin_now(self) -> None:
        first, self._first = self._first, None
        try:
            self._start_transaction_under_autocommit()
        except BaseException:  # any error: a later write must not run outside the transaction
            self._first = first
            raise
        if first is not None:
            first()

    def _start_transaction_under_autocommit(self) -> None:
        if self._first is not None:
            return
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:  # any error: a turn that is not released would block all writers
            self._pass_on()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._pass_on()  # if the commit fails, Django rolls back

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._pass_on()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._pass_on()
        if self._had_large:
            self._had_large = False
            allocator.return_free_pages()

    def _single_write(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Make a single statement outside a transaction wait in the queue as well."""
        if not many and is_large(params):
            self.close_at, self._had_large = 0.0, True  # close it after the request: see `is_large`
        if self._first is not None and self.in_atomic_block and not _READ.match(sql):
            self._begin_now()
        if self._has_turn or not _WRITE.match(sql):
            return execute(sql, params, many, context)
        self._take_turn()
        try:
            return execute(sql, params, many, context)
        finally:
            self._pass_on()

    def _take_turn(self) -> None:
        if not self._queue.acquire(deadline.left_s(PATIENCE_S)):
            raise OperationalError(_NO_TURN)
        try:
            if settings.WORKERS > 1 and not self._process_lock.acquire(deadline.left_s(PATIENCE_S)):
                raise OperationalError(_NO_TURN)
            self._has_turn = True
        except OSError as error:  # such as too many open files
            raise OperationalError(f"the database lock could not be acquired: {error}") from error
        finally:
            if not self._has_turn:
                self._queue.release()

    def _pass_on(self) -> None:
        if self._has_turn:
            self._has_turn = False
            if settings.WORKERS > 1:
                self._process_lock.release()
            self._queue.release()

    @property
    def _queue(self) -> FairLock:
        with _making:
            return _queues[str(self.settings_dict["NAME"])]

    @property
    def _process_lock(self) -> ProcessLock:
        name = str(self.settings_dict["NAME"])
        with _making:
            return _process_locks.setdefault(name, ProcessLock(Path(name + ".writer")))

"""Retry transactions after a collision with another writer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from django.db import IntegrityError, OperationalError
from django.db.transaction import atomic, get_connection

from somamemory.db import sqlstate
from somamemory.errors import Conflict
from somamemory.retry import RetryPolicy

Result = TypeVar("Result")

COLLISION = RetryPolicy(attempts=25, first_pause_s=0.01, max_pause_s=0.02)


def retrying(work: Callable[[], Result], within: Callable[[], AbstractContextManager[object]] = atomic) -> Result:
    """Run `work` in a transaction. Run it again if another writer has created the same row, or after a deadlock.

    within: the context in which each attempt runs; a single statement needs no transaction.

    Inside a larger transaction, a deadlock aborts that transaction, so the error is raised: only the owner of that
    transaction can run it again. A row created by another writer does not abort the transaction, because each attempt
    is a savepoint. Raises Conflict if every attempt collides.
    """
    nested = get_connection().in_atomic_block

    def attempt() -> Result:
        with within():
            return work()

    def may_retry(error: BaseException) -> bool:
        if isinstance(error, OperationalError):
            return not nested and sqlstate.is_transient(error)
        return isinstance(error, IntegrityError) and sqlstate.is_collision(error)

    try:
        return COLLISION.run(attempt, may_retry, sleep=_no_pause if nested else _pause)
    except IntegrityError as error:
        if not sqlstate.is_collision(error):
            raise
        raise Conflict("other clients keep writing to the same address; try again") from None


def _no_pause(seconds: float) -> None:
    """Do not wait between attempts inside a larger transaction: waiting would only hold its locks for longer."""


def _pause(seconds: float) -> None:
    time.sleep(seconds)

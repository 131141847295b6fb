"""Transactions that begin with their first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import connection, transaction


@contextmanager
def begun_with(first: Callable[[], None]) -> Iterator[None]:
    """Run the code in this context in a transaction whose first action is a call to `first`.

    On SQLite, where a transaction excludes all other writers, it begins only when the code opens a nested transaction
    or writes, so that other writers do not wait while the data is prepared. Earlier reads are not part of the
    transaction. On PostgreSQL and inside a larger transaction, it begins immediately.
    """
    late: Callable[[Callable[[], None]], AbstractContextManager[None]] | None
    late = None if connection.in_atomic_block else getattr(connection, "beginning_late", None)
    if late is None:
        with transaction.atomic():
            first()
            yield
    else:
        with late(first), transaction.atomic():
            yield

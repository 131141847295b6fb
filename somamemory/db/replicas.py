"""Read from database replicas where callers cannot notice a difference.

A selector marked `@may_read_replica` reads all its data from one database: a replica with probability
`SOMA_READ_WEIGHT`, otherwise the primary. The primary always serves callers that have written in the last few seconds,
everything inside a transaction, commands, jobs and unmarked code. Writes go only to the primary.

A replica that is not responding is skipped for a few seconds, and the read is retried on the primary. This is safe
because reads change nothing.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID

from cachetools import TTLCache
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from somamemory import caching
from somamemory.db import sqlstate

# A replica that did not respond is skipped for this long. Then one read tries it again.
PAUSE_S = 5.0

log = logging.getLogger("soma.replicas")


class _Tenant(Protocol):
    @property
    def id(self) -> UUID: ...


class Reader(Protocol):
    """The attributes of `tenants.caller.Caller` used in this module."""

    @property
    def tenant(self) -> _Tenant: ...
    @property
    def actor(self) -> str: ...


P = ParamSpec("P")
R = TypeVar("R", bound=Reader)
Result = TypeVar("Result")

# The database of the running selector; None outside a selector.
_reading: ContextVar[str | None] = ContextVar("reading", default=None)
_lock = threading.Lock()
_asleep_until: dict[str, float] = {}  # replica alias: `monotonic` time until which it is skipped
_wrote: TTLCache[str, bool] = TTLCache(maxsize=100_000, ttl=settings.READ_OWN_WRITES_S)


class Router:
    """Django's database router.

    Only tenants' data is read from replicas. Keys, limits and generations are few and must be current.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return _alias() if getattr(model, "may_be_read_from_replica", False) else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True  # all databases are copies of the same one

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS


def may_read_replica(select: Callable[Concatenate[R, P], Result]) -> Callable[Concatenate[R, P], Result]:
    """Mark a selector that may read from a replica.

    It must finish all reads before it returns, because a lazy query might run on another database.
    """

    @wraps(select)
    def reading(caller: R, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        if not settings.REPLICAS or _reading.get() is not None:
            return select(caller, *args, **kwargs)
        alias = _choose(caller)
        try:
            with _from(alias):
                answer = select(caller, *args, **kwargs)
            _wake(alias)
            return answer
        except (DatabaseError, InterfaceError) as error:
            if alias == DEFAULT_DB_ALIAS or not _may_ask_primary_instead(alias, error):
                raise
        with from_primary():
            return select(caller, *args, **kwargs)

    return reading


def connection() -> BaseDatabaseWrapper:
    """Return the running selector's connection, for raw SQL."""
    return connections[_alias()]


def from_primary() -> AbstractContextManager[None]:
    """Return a context in which all reads use the primary, for data that must be current."""
    return _from(DEFAULT_DB_ALIAS)


def wrote(caller: Reader) -> None:
    """Make the caller read from the primary for a while, once the current transaction has committed."""
    if settings.REPLICAS:
        transaction.on_commit(partial(_remember_writer, _name(caller)))


def forget() -> None:
    """Forget the writers and outages that this process has recorded."""
    with _lock:
        _wrote.clear()
        _asleep_until.clear()


def _alias() -> str:
    return _reading.get() or DEFAULT_DB_ALIAS


@contextmanager
def _from(alias: str) -> Iterator[None]:
    token = _reading.set(alias)
    try:
        yield
    finally:
        _reading.reset(token)


def _choose(caller: Reader) -> str:
    if caller.actor == "command" or connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return DEFAULT_DB_ALIAS
    if random.random() >= settings.READ_WEIGHT or _has_just_written(caller):
        return DEFAULT_DB_ALIAS
    now = time.monotonic()
    with _lock:
        awake = [alias for alias in settings.REPLICAS if _asleep_until.get(alias, 0.0) <= now]
        alias = random.choice(awake) if awake else DEFAULT_DB_ALIAS
        if alias in _asleep_until:  # this read tries the replica again; other reads do not wait for it
            _asleep_until[alias] = now + PAUSE_S
    return alias


def _wake(alias: str) -> None:
    """Use a replica again after it has responded."""
    if alias in _asleep_until:
        with _lock:
            _asleep_until.pop(alias, None)
        log.warning("replica available again", extra={"replica": alias})


def _may_ask_primary_instead(alias: str, error: DatabaseError | InterfaceError) -> bool:
    """Return whether a read that failed on a replica may succeed on the primary. Records an outage."""
    replica = connections[alias]
    if not replica.errors_occurred:  # the error came from the primary, which a selector may also use
        return False
    if sqlstate.of(error) == sqlstate.QUERY_CANCELED:  # a slow query is slow on the primary as well
        return False
    if sqlstate.is_outage(error):
        replica.close()
        with _lock:
            news = alias not in _asleep_until
            _asleep_until[alias] = time.monotonic() + PAUSE_S
        if news:
            log.warning("replica unavailable; reading from the primary", extra={"replica": alias, "reason": str(error)})
    return True


def _name(caller: Reader) -> str:
    return f"wrote:{caller.tenant.id.hex}:{caller.actor}"


def _remember_writer(name: str) -> None:
    with _lock:
        _wrote[name] = True
    if caching.shared():
        caching.with_redis(lambda redis: redis.set(name, 1, ex=settings.READ_OWN_WRITES_S))


def _has_just_written(caller: Reader) -> bool:
    name = _name(caller)
    with _lock:
        if name in _wrote:
            return True
    # If the result is None, Redis is down and writes through other processes are unknown, so read from the primary.
    return caching.shared() and caching.with_redis(lambda redis: redis.exists(name)) != 0

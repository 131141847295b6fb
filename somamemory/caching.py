"""A cache shared by all processes. It contains only data that can be recomputed, and every key includes a tenant.

Without SOMA_REDIS_URL, the cache is local to this process. While Redis is down, every lookup is a miss, and nothing
fails. After a failure, no request contacts Redis for a few seconds, so that one timeout does not turn into one per
request. The cache recovers automatically.

If the source data has a version, include it in `parts`. That way, a reader that is slower than a concurrent write
cannot store an outdated result under the new key, and entries never have to be invalidated.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import orjson
from django.conf import settings
from django.core.cache import cache

from somamemory import failpoints
from somamemory.breaker import Breaker
from somamemory.errors import Unavailable

if TYPE_CHECKING:
    from redis import Redis

# Part of every key. Increase it when the format of an entry changes, so that two versions of the service can share one
# Redis server.
SCHEMA = 1
# After a failure, no request contacts Redis for this long. Then a single request tries again.
PAUSE_S = 3.0

log = logging.getLogger("soma.cache")
Answer = TypeVar("Answer")


def get(tenant: UUID | None, kind: str, *parts: object) -> Any:
    """Return the entry, decoded from JSON, or None if it does not exist or the cache is unavailable."""
    return get_many(tenant, kind, [parts]).get(parts)


def get_many(tenant: UUID | None, kind: str, entries: Iterable[tuple[object, ...]]) -> dict[tuple[object, ...], Any]:
    """Return the entries that exist, keyed by the parts of their cache keys. Takes one round trip."""
    names = {key(tenant, kind, *parts): parts for parts in entries}
    found: Mapping[str, Any] = _call(lambda: cache.get_many(list(names)), {})
    return {names[name]: orjson.loads(value) for name, value in found.items() if isinstance(value, str)}


def set(tenant: UUID | None, kind: str, *parts: object, value: object, lifetime_s: float) -> None:
    """Store `value`, which must be JSON-serializable, for at most `lifetime_s` seconds."""
    set_many(tenant, kind, {parts: value}, lifetime_s)


def set_many(tenant: UUID | None, kind: str, entries: Mapping[tuple[object, ...], object], lifetime_s: float) -> None:
    written = {key(tenant, kind, *parts): orjson.dumps(value).decode() for parts, value in entries.items()}
    _call(lambda: cache.set_many(written, lifetime_s), None)


def erase(tenant: UUID) -> int:
    """Delete a tenant's entries and return how many there were. Raises Unavailable if Redis is not responding.

    Without Redis, each process has its own entries. Only this process's entries are deleted; all others expire.
    """
    prefix = f"{SCHEMA}:{tenant.hex}:"
    if not shared():
        local: Any = cache
        names = [name for name in list(local._cache) if prefix in name]
        for name in names:
            local._cache.pop(name, None)
            local._expire_info.pop(name, None)
        return len(names)
    pattern: Any = cache
    removed = _call(lambda: pattern.delete_pattern(f"{prefix}*"), None)
    if removed is None:
        raise Unavailable("the cache is not responding")
    return int(removed)


def key(tenant: UUID | None, kind: str, *parts: object) -> str:
    """Return `1:<tenant>:<kind>:<hash of the parts>`. If `tenant` is None, the entry belongs to no tenant.

    The parts are hashed together with their lengths and types, so that different lists of parts have different keys.
    """
    digest = hashlib.sha256()
    for part in parts:
        words = f"{type(part).__name__}:{part}".encode()
        digest.update(len(words).to_bytes(8, "big") + words)
    return f"{SCHEMA}:{'-' if tenant is None else tenant.hex}:{kind}:{digest.hexdigest()}"


def healthy() -> bool:
    """Return whether the cache accepts writes. Contacts Redis immediately, even shortly after a failure.

    A Redis server that is out of memory, or that has become a replica, still answers reads.
    """

    def write() -> bool:
        cache.set("health", True, timeout=1)
        return True

    _breaker.retry_now()
    return _call(write, False)


def with_redis(ask: Callable[[Redis], Answer]) -> Answer | None:
    """Return the result of a call to Redis, or None if Redis is unavailable. Requires SOMA_REDIS_URL."""
    from django_redis import get_redis_connection

    return _call(lambda: ask(get_redis_connection("default")), None)


def shared() -> bool:
    """Return whether Redis is configured, even if it is down."""
    return bool(settings.REDIS_URL)


def redis_breaker() -> Breaker:
    """Return a breaker that opens after one failure, because a failed call to Redis takes as long as its timeout."""
    return Breaker("Redis", log, pause_s=PAUSE_S, failures=1)


_breaker = redis_breaker()


def _call(ask: Callable[[], Answer], otherwise: Answer) -> Answer:
    if not shared():
        return ask()
    from redis.exceptions import RedisError  # imported only if needed, because it takes 0.1 s and 10 MB

    if not _breaker.allows():
        return otherwise
    try:
        failpoints.reach("call.redis")
        answer = ask()
    except (RedisError, OSError) as error:
        _breaker.failed(str(error))
        return otherwise
    _breaker.succeeded()
    return answer

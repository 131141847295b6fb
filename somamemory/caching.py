"""The cache all processes share: what can be computed again, under keys that begin with whose it is.

Without SOMA_REDIS_URL it lives in this process. When Redis is down every entry is missing, nothing fails, and for a few
seconds nobody even asks: one time-out must not become one for each request. It recovers by itself.

Take the version of what an entry was made from into `parts`, where there is one: a reader that was slower than a write
then cannot put the old answer under the new key, and no entry has to be deleted after a write.
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

from somamemory.breaker import Breaker
from somamemory.errors import Unavailable

if TYPE_CHECKING:
    from redis import Redis

# Part of every key. Raise it when an entry changes its shape, so that two versions of the service can run side by side.
SCHEMA = 1
# For so long after a failure nobody asks; then one caller tries.
PAUSE_S = 3.0

log = logging.getLogger("soma.cache")
Answer = TypeVar("Answer")


def get(tenant: UUID | None, kind: str, *parts: object) -> Any:
    """The entry, as JSON gives it back; None when there is none (or no cache at the moment)."""
    return get_many(tenant, kind, [parts]).get(parts)


def get_many(tenant: UUID | None, kind: str, entries: Iterable[tuple[object, ...]]) -> dict[tuple[object, ...], Any]:
    """Those entries that there are, in one round trip."""
    names = {key(tenant, kind, *parts): parts for parts in entries}
    found: Mapping[str, Any] = _asking(lambda: cache.get_many(list(names)), {})
    return {names[name]: orjson.loads(value) for name, value in found.items() if isinstance(value, str)}


def set(tenant: UUID | None, kind: str, *parts: object, value: object, lifetime_s: float) -> None:
    """Remember `value` (anything JSON can say) for so long, at most."""
    set_many(tenant, kind, {parts: value}, lifetime_s)


def set_many(tenant: UUID | None, kind: str, entries: Mapping[tuple[object, ...], object], lifetime_s: float) -> None:
    written = {key(tenant, kind, *parts): orjson.dumps(value).decode() for parts, value in entries.items()}
    _asking(lambda: cache.set_many(written, lifetime_s), None)


def erase(tenant: UUID) -> int:
    """Forget all entries of a tenant; how many there were. Raises Unavailable while Redis does not answer.

    Without Redis the entries live in each process, where they end with their lifetime; those of this one go now.
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
    removed = _asking(lambda: pattern.delete_pattern(f"{prefix}*"), None)
    if removed is None:
        raise Unavailable("the cache does not answer")
    return int(removed)


def key(tenant: UUID | None, kind: str, *parts: object) -> str:
    """`1:<tenant>:<kind>:<hash of the parts>`; a tenant of None means that it belongs to nobody.

    The parts are hashed together with their lengths and types, so that no two lists of parts meet in one key.
    """
    told = hashlib.sha256()
    for part in parts:
        words = f"{type(part).__name__}:{part}".encode()
        told.update(len(words).to_bytes(8, "big") + words)
    return f"{SCHEMA}:{'-' if tenant is None else tenant.hex}:{kind}:{told.hexdigest()}"


def healthy() -> bool:
    """Whether the cache answers; asks it now, pause or not."""
    _breaker.retry_now()
    return _asking(lambda: cache.get("health") is None, False)


def with_redis(ask: Callable[[Redis], Answer]) -> Answer | None:
    """The answer of a call to Redis itself; None when it cannot be had now. Only where SOMA_REDIS_URL is set."""
    from django_redis import get_redis_connection

    return _asking(lambda: ask(get_redis_connection("default")), None)


def shared() -> bool:
    """Whether there is a Redis at all, up or down."""
    return bool(settings.REDIS_URL)


def redis_breaker() -> Breaker:
    """Return a breaker that goes on without Redis after a single failure: each call waits for its time-out."""
    return Breaker("Redis", log, pause_s=PAUSE_S, failures=1)


_breaker = redis_breaker()


def _asking(ask: Callable[[], Answer], otherwise: Answer) -> Answer:
    if not shared():
        return ask()
    from redis.exceptions import RedisError  # not where there is no Redis: 0.1 s and 10 MB

    if not _breaker.allows():
        return otherwise
    try:
        answer = ask()
    except (RedisError, OSError) as error:
        _breaker.failed(str(error))
        return otherwise
    _breaker.succeeded()
    return answer

"""Connections to Redis: one pool for each cache of the settings, though they are in one Redis."""

from __future__ import annotations

from typing import Any

from django_redis.pool import ConnectionFactory
from redis import ConnectionPool, Redis


class PoolPerTimeout(ConnectionFactory[Redis, ConnectionPool]):  # type: ignore[misc]
    """django-redis keeps one pool a URL, and with it the time-outs of whichever cache was asked first."""

    def get_or_create_connection_pool(self, params: dict[str, Any]) -> ConnectionPool:
        key = "{url} {socket_connect_timeout} {socket_timeout}".format_map(params)
        pool: ConnectionPool | None = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self.get_connection_pool(params)
        return pool

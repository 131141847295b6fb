"""The shared cache: in process, in a real Redis, and in a Redis that fails and recovers."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from django.core.cache import cache
from django_redis import get_redis_connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from redis.connection import Connection

import somamemory
from memories.embeddings.base import Vectors
from memories.embeddings.cache import CachedEmbedder
from operations import health
from somamemory import caching
from somamemory.settings import caches_in
from testing.processes import RedisServer, wait_for
from tests.conftest import Api, patient_caches_in

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def with_redis(redis_server: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """Use this Redis for the cache."""
    settings.REDIS_URL = redis_server.url
    settings.CACHES = patient_caches_in(redis_server.url)
    monkeypatch.setattr(caching, "PAUSE_S", 0.3)
    monkeypatch.setattr(caching, "_breaker", caching.redis_breaker())
    return redis_server


@pytest.fixture
def unasked_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a pause that is longer than any test."""
    monkeypatch.setattr(caching, "PAUSE_S", 3600.0)
    monkeypatch.setattr(caching, "_breaker", caching.redis_breaker())


@pytest.fixture(params=["in process", "redis"])
def anywhere(request: pytest.FixtureRequest, settings: Settings) -> None:
    if request.param == "redis":
        request.getfixturevalue("with_redis")
    else:
        settings.REDIS_URL = ""
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        cache.clear()


@pytest.mark.usefixtures("anywhere")
def test_a_cached_value_is_returned_as_json() -> None:
    caching.set(ONE, "thing", "a", 1, value={"list": (1, 2.5, None), "text": "ß"}, lifetime_s=60)
    assert caching.get(ONE, "thing", "a", 1) == {"list": [1, 2.5, None], "text": "ß"}


@pytest.mark.usefixtures("anywhere")
def test_an_entry_belongs_to_its_tenant_its_kind_and_its_parts() -> None:
    caching.set(ONE, "thing", "a", value="mine", lifetime_s=60)
    assert caching.get(OTHER, "thing", "a") is None
    assert caching.get(None, "thing", "a") is None
    assert caching.get(ONE, "other", "a") is None
    assert caching.get(ONE, "thing", "b") is None
    assert caching.get(ONE, "thing") is None


@pytest.mark.usefixtures("anywhere")
def test_erasing_a_tenant_removes_its_entries_and_no_others() -> None:
    caching.set(ONE, "thing", "a", value=1, lifetime_s=60)
    caching.set(OTHER, "thing", "a", value=2, lifetime_s=60)
    assert caching.erase(ONE) == 1
    assert caching.get(ONE, "thing", "a") is None
    assert caching.get(OTHER, "thing", "a") == 2


@pytest.mark.usefixtures("anywhere")
def test_an_entry_ends_with_its_lifetime() -> None:
    caching.set(ONE, "thing", value=1, lifetime_s=60)
    assert caching.get(ONE, "thing") == 1
    caching.set(ONE, "thing", value=1, lifetime_s=1)
    wait_for(lambda: caching.get(ONE, "thing") is None)


@pytest.mark.usefixtures("anywhere")
def test_many_entries_come_in_one_go_and_the_missing_ones_are_left_out() -> None:
    caching.set_many(ONE, "thing", {("a",): 1, ("b",): 2}, 60)
    assert caching.get_many(ONE, "thing", [("a",), ("b",), ("c",)]) == {("a",): 1, ("b",): 2}


_parts = st.lists(st.one_of(st.text(), st.integers(), st.booleans(), st.none()), max_size=4)


@given(_parts, _parts)
def test_no_two_lists_of_parts_share_a_key(one: list[object], other: list[object]) -> None:
    same = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    assert (caching.key(ONE, "thing", *one) == caching.key(ONE, "thing", *other)) == same


def test_another_schema_sees_nothing_of_the_old_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    before = caching.key(ONE, "thing", "a")
    monkeypatch.setattr(caching, "SCHEMA", caching.SCHEMA + 1)
    assert caching.key(ONE, "thing", "a") != before


@pytest.mark.usefixtures("unasked_after_a_failure")
def test_a_dead_redis_fails_nothing_and_costs_the_next_callers_nothing(
    with_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching.set(ONE, "thing", value=1, lifetime_s=60)
    with_redis.kill()

    caching.get(ONE, "thing")  # detects the failure

    monkeypatch.setattr(caching, "cache", None)  # any call to it would fail
    caching.set(ONE, "thing", value=1, lifetime_s=60)
    assert caching.get(ONE, "thing") is None


@pytest.mark.usefixtures("unasked_after_a_failure")
def test_each_cache_of_one_redis_keeps_its_own_time_out(redis_server: RedisServer, settings: Settings) -> None:
    settings.CACHES = caches_in(redis_server.url)

    pools = [get_redis_connection(name).connection_pool for name in ("default", "limits", "default")]

    assert [pool.connection_kwargs["socket_timeout"] for pool in pools] == [0.5, 0.05, 0.5]
    assert pools[0] is pools[2]


def test_a_redis_that_hangs_costs_one_time_out_and_no_more(
    with_redis: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching.set(ONE, "thing", value=1, lifetime_s=60)
    settings.CACHES = caches_in(with_redis.url)  # with the service's timeout
    waits: list[object] = []
    read = Connection.read_response

    def counted(*args: object, **kwargs: object) -> object:
        waits.append(None)
        return read(*args, **kwargs)  # type: ignore[arg-type]

    assert caching.get(ONE, "thing") in (1, None)  # connected
    monkeypatch.setattr(caching, "_breaker", caching.redis_breaker())
    monkeypatch.setattr(Connection, "read_response", counted)
    with_redis.send(signal.SIGSTOP)
    try:
        assert [caching.get(ONE, "thing") for _ in range(100)] == [None] * 100
    finally:
        with_redis.send(signal.SIGCONT)
    assert len(waits) == 1


def test_a_recovered_redis_is_used_again(with_redis: RedisServer) -> None:
    caching.set(ONE, "thing", value=1, lifetime_s=60)
    with_redis.kill()
    assert caching.get(ONE, "thing") is None
    with_redis.start()

    def remembers() -> bool:
        caching.set(ONE, "thing", value=2, lifetime_s=60)
        return bool(caching.get(ONE, "thing") == 2)

    wait_for(remembers)


class Counting:
    """An embedder that records its texts."""

    provider = "test"
    dimension = 3
    in_process = False

    def __init__(self, model: str = "model") -> None:
        self.model = model
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return np.array([[len(text), 1, 0.25] for text in texts], dtype=np.float32)


@pytest.mark.usefixtures("anywhere")
def test_a_text_is_embedded_once_for_each_model() -> None:
    inner = Counting()
    first = CachedEmbedder(inner).embed(["a", "bb", "a"])
    again = CachedEmbedder(inner).embed(["bb", "ccc"])
    assert inner.embedded == ["a", "bb", "ccc"]
    assert first.tolist() == [[1, 1, 0.25], [2, 1, 0.25], [1, 1, 0.25]]
    assert again.tolist() == [[2, 1, 0.25], [3, 1, 0.25]]

    other = Counting("another")
    CachedEmbedder(other).embed(["a"])
    assert other.embedded == ["a"]


def test_without_redis_texts_are_embedded_every_time(with_redis: RedisServer) -> None:
    with_redis.kill()
    inner = Counting()
    for _ in range(2):
        assert CachedEmbedder(inner).embed(["a"]).tolist() == [[1, 1, 0.25]]
    assert inner.embedded == ["a", "a"]


def test_a_redis_that_is_out_of_memory_is_not_healthy(with_redis: RedisServer) -> None:
    """It still answers reads, but nothing is cached, and no limit is shared."""
    assert caching.healthy() is True

    get_redis_connection("default").config_set("maxmemory", 1)

    assert caching.healthy() is False


def test_the_health_report_is_shared_and_includes_a_failed_cache(
    with_redis: RedisServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LIFETIME_S", 3600)

    def cache_is() -> str:
        return str(api.get("/health").json()["checks"]["cache"]["status"])

    assert cache_is() == "healthy"
    health.forget_cached()  # as in another process
    measured = caching.get(None, "health", somamemory.__version__)
    checks = api.get("/health").json()["checks"]
    assert {name: check["latency_ms"] for name, check in checks.items()} == {
        name: found[1] for name, found in measured.items()
    }

    with_redis.kill()
    health.forget_cached()
    assert cache_is() == "unhealthy"
    assert api.get("/health").json()["status"] == "degraded"

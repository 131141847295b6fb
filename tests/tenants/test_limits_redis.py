"""Limits that processes share in Redis.

The tests use a separate server, which they stop and kill. They run only with Redis (see tests/conftest.py).
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from somamemory.settings import caches_in
from tenants.limits import policy
from tenants.limits.buckets import LocalBuckets, SharedBuckets
from tenants.limits.gcra import Limit
from tenants.limits.redis_buckets import RedisBuckets
from tests.conftest import Api, patient_caches_in

pytestmark = pytest.mark.redis

TENANT = uuid.UUID(int=2)


class Redis:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.kill()


@pytest.fixture
def settings(settings: Any, server: Redis) -> Any:
    settings.REDIS_URL = f"redis://127.0.0.1:{server.port}/0"
    settings.CACHES = patient_caches_in(settings.REDIS_URL)
    # Refills so slowly that no token is added during a test.
    settings.KEY_RATE, settings.KEY_BURST = 0.001, 20
    settings.WORKERS = 1  # without Redis, each process has its share
    settings.TENANT_RATE, settings.TENANT_BURST = 0.002, 1000
    policy.forget()
    return settings


@pytest.fixture
def key() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def pause(settings: Any, monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten the time for which requests skip a failed Redis."""
    monkeypatch.setattr("somamemory.caching.PAUSE_S", 0.3)
    policy.forget()
    return 0.3


@pytest.fixture
def unasked_after_a_failure(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is longer than any test."""
    monkeypatch.setattr("somamemory.caching.PAUSE_S", 3600.0)
    policy.forget()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the calls to Redis."""
    calls: list[Any] = []
    take = RedisBuckets.take

    def counted(self: RedisBuckets, *given: Any) -> Any:
        calls.append(given)
        return take(self, *given)

    monkeypatch.setattr(RedisBuckets, "take", counted)
    return calls


def test_redis_decides_like_the_process(settings: Any) -> None:
    rule, other = Limit("key", 0.0005, 20), Limit("tenant", 0.00025, 30)
    names = [f"key:{uuid.uuid4()}", f"tenant:{uuid.uuid4()}"]
    local, shared = LocalBuckets(), RedisBuckets()

    for least, most in [(1, 1), (5, 5), (3, 10), (1, 100), (1, 1), (20, 20)]:
        here = local.take(names, [rule, other], least, most, time.monotonic())
        there = shared.take(names, [rule, other], least, most)
        assert here.tokens == there.tokens
        assert here.debts == pytest.approx(there.debts, abs=30)  # seconds, of thousands


def test_a_bucket_is_forgotten_when_it_is_full(settings: Any) -> None:
    from django_redis import get_redis_connection

    name = f"key:{uuid.uuid4()}"
    RedisBuckets().take([name], [Limit("key", 0.1, 20)], 10, 10)

    assert 50_000 < get_redis_connection("limits").pttl(f"soma:limit:1:{name}") <= 100_000


def test_processes_share_one_bucket(settings: Any, key: uuid.UUID) -> None:
    rule, names = Limit("key", 0.001, 20), (f"key:{key}",)
    processes = [SharedBuckets() for _ in range(4)]

    def ask(number: int) -> bool:
        decision = processes[number % 4].take(names, [rule], 1, time.monotonic())
        assert decision is not None
        return decision.allowed

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(200))) == 20


def test_leases_pass_no_more_than_the_limit_gives(settings: Any, key: uuid.UUID) -> None:
    """Leases come from the shared bucket, so several processes admit at most the burst plus the refill."""
    rule, names = Limit("key", 2000, 1000), (f"key:{key}",)
    processes = [SharedBuckets() for _ in range(4)]
    began = time.monotonic()

    def ask(number: int) -> bool:
        decision = processes[number % 4].take(names, [rule], 1, time.monotonic())
        return decision is not None and decision.allowed

    with ThreadPoolExecutor(8) as threads:
        passed = sum(threads.map(ask, range(6000)))

    taken_s = time.monotonic() - began
    assert passed <= rule.burst + rule.rate * taken_s + 1


def test_a_lease_asks_redis_only_now_and_then(settings: Any, key: uuid.UUID, calls: list[Any]) -> None:
    rule, buckets, now = Limit("key", 2000, 1000), SharedBuckets(), time.monotonic()

    for _ in range(500):
        assert buckets.take((f"key:{key}",), [rule], 1, now)

    assert len(calls) <= 6


def test_the_remaining_tokens_include_those_of_the_lease(settings: Any, key: uuid.UUID) -> None:
    rule, buckets = Limit("key", 40, 20), SharedBuckets()  # which leases two

    decision = buckets.take((f"key:{key}",), [rule], 1, time.monotonic())

    assert decision is not None
    assert decision.quotas[0].remaining == 19


def test_a_flushed_script_is_loaded_into_redis_again(settings: Any, key: uuid.UUID) -> None:
    from django_redis import get_redis_connection

    assert policy.take(TENANT, key, 1).allowed
    get_redis_connection("limits").script_flush()

    assert policy.take(TENANT, key, 1).quotas[0].remaining == 18


def test_requests_continue_while_redis_is_killed_and_are_limited_again_afterwards(
    api: Api, settings: Any, server: Redis, pause: float
) -> None:
    def left() -> int:
        response = api.get("/stats")
        assert response.status_code == 200
        return int(response["X-RateLimit-Remaining"])

    assert (left(), left()) == (19, 18)
    server.kill()
    try:
        assert left() == 19  # this process counts on its own, starting with a full bucket
        assert left() == 18
        while api.get("/stats").status_code == 200:
            pass
        assert api.get("/stats").status_code == 429
    finally:
        server.start()
    time.sleep(pause)

    assert left() == 19  # in Redis again, which has lost its data


@pytest.mark.usefixtures("unasked_after_a_failure")
def test_a_dead_redis_costs_next_to_nothing(settings: Any, server: Redis, key: uuid.UUID, calls: list[Any]) -> None:
    settings.KEY_BURST = settings.TENANT_BURST = 100_000
    server.kill()
    try:
        assert all(policy.take(TENANT, key, 1).allowed for _ in range(500))
    finally:
        server.start()

    assert len(calls) == 1


@pytest.mark.usefixtures("unasked_after_a_failure")
def test_a_redis_that_hangs_holds_up_one_request_and_not_those_behind_it(
    settings: Any, server: Redis, key: uuid.UUID, calls: list[Any]
) -> None:
    settings.KEY_BURST = settings.TENANT_BURST = 100_000
    settings.CACHES = {**settings.CACHES, "limits": caches_in(settings.REDIS_URL)["limits"]}  # with its own timeout
    server.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as threads:
            decisions = list(threads.map(lambda _: policy.take(TENANT, key, 1), range(100)))
    finally:
        server.process.send_signal(signal.SIGCONT)

    assert all(decision.allowed for decision in decisions)
    assert len(calls) == 1

"""Request statistics from several processes, combined through Redis."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest

from somamemory import caching
from somamemory.web.request_stats import RequestStats

pytestmark = pytest.mark.redis


def lifetimes() -> dict[bytes | str, int]:
    """Return the remaining lifetime in seconds of each key with published counts."""
    return caching.with_redis(lambda redis: {name: redis.ttl(name) for name in redis.keys("soma:traffic:*")}) or {}


@pytest.fixture(autouse=True)
def _nothing_shared() -> None:
    caching.with_redis(lambda redis: redis.delete("none", *redis.keys("soma:traffic:*")))


def test_a_process_sees_what_the_others_have_answered() -> None:
    one, two = RequestStats(), RequestStats()
    one.record(200, 3)
    two.record(404, 3)
    two.record(500, 3)
    two.publish()

    now = one.recent()[-2:]

    assert [sum(counts) for counts in zip(*((m.ok, m.client_errors, m.server_errors) for m in now), strict=True)] == [
        1,
        1,
        1,
    ]


def test_counts_that_were_published_before_count_once() -> None:
    one = RequestStats()
    one.record(200, 3)
    one.publish()
    one.record(200, 3)
    one.publish()

    assert sum(minute.ok for minute in one.recent()) == 2


def test_a_fork_reports_only_its_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = RequestStats()
    name = one._process_name()

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert one._process_name() != name


def test_a_process_that_ended_an_hour_ago_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, now = RequestStats(), RequestStats(), time.time()
    two.record(200, 3)
    two.publish()
    monkeypatch.setattr(time, "time", lambda: now + 61 * 60)

    assert sum(minute.total for minute in one.recent()) == 0


def test_counts_of_the_previous_hour_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = RequestStats(), RequestStats()
    monkeypatch.setattr(time, "time", lambda: 1_000 * 3600 - 1.0)
    one.record(200, 3)
    two.record(200, 3)
    two.publish()
    monkeypatch.setattr(time, "time", lambda: 1_000 * 3600 + 1.0)
    two.record(404, 3)
    two.publish()

    assert [minute.total for minute in one.recent()[-2:]] == [2, 1]


def test_published_counts_expire_in_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(3):
        monkeypatch.setattr(time, "time", partial(float, (1_000 + hour) * 3600))
        RequestStats().publish()

    assert len(lifetimes()) == 3
    assert all(0 < lifetime <= 2 * 3600 for lifetime in lifetimes().values())

"""Request statistics of several processes, combined through Redis."""

from __future__ import annotations

import os
import time

import pytest

from somamemory import caching
from somamemory.web import request_stats
from somamemory.web.request_stats import RequestStats

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def _nothing_shared() -> None:
    caching.with_redis(lambda redis: redis.delete(request_stats._REDIS_KEY))


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


def test_a_process_that_has_been_gone_for_an_hour_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, now = RequestStats(), RequestStats(), time.time()
    two.record(200, 3)
    two.publish()
    monkeypatch.setattr(time, "time", lambda: now + 61 * 60)

    assert sum(minute.total for minute in one.recent()) == 0
    assert caching.with_redis(lambda redis: redis.hlen(request_stats._REDIS_KEY)) == 0

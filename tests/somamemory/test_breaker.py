"""The circuit breaker: when it opens, probes the dependency and closes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from somamemory.breaker import FAILURES, Breaker
from somamemory.errors import IndexUnavailable
from testing.processes import wait_for

LOG = logging.getLogger("soma.test")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Callable[[], float], probe: Callable[[], None] | None = None, failures: int = FAILURES) -> Breaker:
    return Breaker("the engine", LOG, pause_s=5.0, failures=failures, probe=probe, clock=clock)


def opened(clock: Callable[[], float], probe: Callable[[], None] | None = None) -> Breaker:
    opened = breaker(clock, probe)
    for _ in range(FAILURES):
        opened.failed("no answer")
    return opened


def test_failures_in_a_row_open_it(clock: Clock) -> None:
    assert not opened(clock).allows()


def test_a_success_between_failures_keeps_it_closed(clock: Clock) -> None:
    closed = breaker(clock)
    for _ in range(FAILURES * 2):
        closed.failed("no answer")
        closed.succeeded()
    assert closed.allows()


def test_one_failure_opens_a_breaker_with_a_limit_of_one(clock: Clock) -> None:
    fragile = breaker(clock, failures=1)
    fragile.failed("no answer")
    assert not fragile.allows()


def test_after_a_pause_one_caller_finds_out_whether_it_is_back(clock: Clock) -> None:
    waiting = opened(clock)
    clock.now += waiting.pause_s
    assert [waiting.allows() for _ in range(3)] == [True, False, False]
    waiting.succeeded()
    assert [waiting.allows() for _ in range(3)] == [True, True, True]


def test_a_caller_that_fails_again_starts_another_pause(clock: Clock) -> None:
    waiting = opened(clock)
    clock.now += waiting.pause_s
    assert waiting.allows()
    waiting.failed("no answer")
    clock.now += waiting.pause_s / 2
    assert not waiting.allows()


def test_retry_now_allows_the_next_call_immediately(clock: Clock) -> None:
    waiting = opened(clock)
    waiting.retry_now()
    assert waiting.allows()


def test_it_closes_when_the_probe_has_succeeded(clock: Clock) -> None:
    probed = threading.Event()
    waiting = opened(clock, probed.set)
    assert not waiting.allows()
    assert not probed.is_set()

    clock.now += waiting.pause_s
    assert not waiting.allows()  # no caller acts as the probe
    wait_for(lambda: not waiting.is_open)
    assert probed.is_set()
    assert waiting.allows()


def test_a_probe_that_fails_keeps_it_open_and_is_repeated(clock: Clock) -> None:
    probes: list[None] = []

    def probe() -> None:
        probes.append(None)
        raise IndexUnavailable("not yet")

    waiting = opened(clock, probe)

    def probed_three_times() -> bool:
        clock.now += waiting.pause_s
        assert not waiting.allows()
        return len(probes) >= 3

    wait_for(probed_three_times)
    assert waiting.is_open


def test_changes_are_reported_once(clock: Clock) -> None:
    changes: list[bool] = []
    watched = Breaker("the engine", LOG, pause_s=5.0, clock=clock, on_change=changes.append)
    for _ in range(2 * FAILURES):
        watched.failed("no answer")
    watched.succeeded()
    watched.succeeded()
    assert changes == [True, False]

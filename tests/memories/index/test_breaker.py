"""How long anybody waits for a vector index that is down, or hangs."""

from __future__ import annotations

import threading
import time

import pytest

from memories.index import breaker
from memories.index.breaker import FAILURES, HASTE_S, PATIENCE, Breaker, Pace
from somamemory.errors import IndexUnavailable


def opened(probe: object = None) -> Breaker:
    made = Breaker(probe or (lambda: None))  # type: ignore[arg-type]
    for _ in range(FAILURES):
        made.failed("no answer")
    return made


def test_failures_in_a_row_open_it() -> None:
    with pytest.raises(IndexUnavailable):
        opened().check()


def test_a_success_between_failures_keeps_it_closed() -> None:
    made = Breaker(lambda: None)
    for _ in range(FAILURES * 2):
        made.failed("no answer")
        made.worked()
    made.check()


def test_it_closes_when_the_probe_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "PAUSE_S", 0.0)
    asked = threading.Event()
    made = opened(asked.set)
    with pytest.raises(IndexUnavailable):
        made.check()  # it only starts to look
    assert asked.wait(60)
    closed_by = time.monotonic() + 60
    while time.monotonic() < closed_by:
        try:
            made.check()
        except IndexUnavailable:
            continue
        return
    pytest.fail("it stayed open")


def test_a_probe_that_fails_keeps_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "PAUSE_S", 0.0)
    asked = []

    def probe() -> None:
        asked.append(1)
        raise IndexUnavailable("not yet")

    made = opened(probe)
    asked_by = time.monotonic() + 60
    while len(asked) < 3 and time.monotonic() < asked_by:
        with pytest.raises(IndexUnavailable):
            made.check()
    assert len(asked) >= 3


def test_while_nothing_is_known_one_waits_the_longest() -> None:
    assert Pace(2.0).patience_s == 2.0


def test_one_waits_a_multiple_of_what_calls_take() -> None:
    pace = Pace(2.0)
    for _ in range(10):
        pace.note(0.05)
    assert pace.patience_s == pytest.approx(PATIENCE * 0.05)


def test_a_fast_engine_is_waited_for_a_little_all_the_same() -> None:
    pace = Pace(2.0)
    pace.note(0.001)
    assert pace.patience_s == HASTE_S


def test_an_engine_that_has_become_slow_is_soon_waited_for_again() -> None:
    pace = Pace(2.0)
    pace.note(0.005)
    calls = 0
    while pace.patience_s < 0.5:
        pace.note(pace.patience_s)  # given up
        calls += 1
    assert calls < 10
    for _ in range(100):
        pace.note(0.3)
    assert 0.3 < pace.patience_s == 2.0

"""Retries: conditions and time limits."""

from __future__ import annotations

import pytest

from somamemory.errors import IndexUnavailable
from somamemory.retry import RetryPolicy

POLICY = RetryPolicy(attempts=4, first_pause_s=1.0, max_pause_s=3.0)


class Work:
    """Fails this many times, then returns the number of calls."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


def always(error: BaseException) -> bool:
    return True


def test_work_that_succeeds_is_not_repeated() -> None:
    assert POLICY.run(Work(0, ValueError()), always, sleep=lambda s: pytest.fail("slept")) == 1


def test_work_is_repeated_until_it_succeeds() -> None:
    assert POLICY.run(Work(2, ValueError()), always, sleep=lambda s: None) == 3


def test_the_last_error_is_raised_when_all_attempts_have_failed() -> None:
    work = Work(10, IndexUnavailable("down"))
    with pytest.raises(IndexUnavailable, match="down"):
        POLICY.run(work, always, sleep=lambda s: None)
    assert work.calls == POLICY.attempts


def test_an_error_of_another_kind_is_raised_immediately() -> None:
    work = Work(10, ValueError())
    with pytest.raises(ValueError):
        POLICY.run(work, lambda error: isinstance(error, KeyError), sleep=lambda s: None)
    assert work.calls == 1


def test_pauses_double_up_to_the_longest_and_vary_by_half() -> None:
    pauses: list[float] = []
    with pytest.raises(ValueError):
        POLICY.run(Work(10, ValueError()), always, sleep=pauses.append)
    for pause, doubled in zip(pauses, (1.0, 2.0, 3.0), strict=True):
        assert 0.5 * doubled <= pause <= 1.5 * doubled


def test_a_pause_is_as_long_as_the_other_side_asks() -> None:
    pauses: list[float] = []
    POLICY.run(Work(1, ValueError()), always, min_pause_s=lambda error: 30.0, sleep=pauses.append)
    assert pauses == [30.0]


def test_no_attempt_begins_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("somamemory.retry.time.monotonic", lambda: now)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    work = Work(10, ValueError())
    with pytest.raises(ValueError):
        POLICY.run(work, always, deadline=lambda: 102.0, sleep=sleep)
    assert work.calls in (2, 3)  # depending on the pauses
    assert now < 102.0

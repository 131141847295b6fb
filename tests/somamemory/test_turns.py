"""Requests that only compute take turns, but never wait long for a slow one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from somamemory.web.turns import Turns

pytestmark = pytest.mark.pure
NEVER_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


@contextmanager
def waiting(turns: Turns, name: str, log: list[str], stay: threading.Event | None = None) -> Iterator[threading.Thread]:
    """Start a thread that waits for its turn, notes its name, and stays until the event is set."""

    def work() -> None:
        with turns.turn():
            log.append(name)
            if stay is not None:
                stay.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(30)
    assert not thread.is_alive()


def _has_waiting(turns: Turns, count: int) -> bool:
    return len(turns._waiting) == count


def test_a_turn_begins_when_the_previous_one_ends_in_the_order_of_arrival() -> None:
    turns, log = Turns(NEVER_S), list[str]()
    with ExitStack() as stack, turns.turn():
        for position, name in enumerate("abc", start=1):
            stack.enter_context(waiting(turns, name, log))
            until(partial(_has_waiting, turns, position))
        assert log == []
    until(lambda: len(log) == 3)

    assert log == ["a", "b", "c"]


def test_a_request_that_takes_too_long_does_not_hold_up_the_others() -> None:
    turns, log, stay = Turns(0.01), list[str](), threading.Event()
    with waiting(turns, "long", log, stay):
        until(lambda: log == ["long"])
        with waiting(turns, "short", log):
            until(lambda: log == ["long", "short"])
        stay.set()


def test_the_end_of_an_overtaken_turn_does_not_end_the_current_one() -> None:
    turns, log, stay = Turns(0.01), list[str](), threading.Event()
    with waiting(turns, "overtaken", log, stay) as overtaken:
        until(lambda: log == ["overtaken"])
        with turns.turn():
            current = turns._current
            stay.set()
            overtaken.join(30)
            assert turns._current is current


def test_a_turn_ends_if_the_request_fails() -> None:
    turns = Turns(NEVER_S)
    with pytest.raises(ValueError, match="failed"), turns.turn():
        raise ValueError("failed")

    with turns.turn():
        pass
    assert turns._current is None


def test_many_threads_get_their_turns_while_some_take_too_long() -> None:
    turns, done = Turns(0.002), list[int]()

    def work(number: int) -> None:
        for step in range(50):
            with turns.turn():
                time.sleep(0.005 if (number + step) % 10 == 0 else 0)
        done.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(done) == list(range(8))
    assert turns._current is None
    assert not turns._waiting

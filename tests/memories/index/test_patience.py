"""The time that a search waits for a vector index that hangs."""

from __future__ import annotations

import pytest

from memories.index.milvus.patience import MIN_PATIENCE_S, PATIENCE, Patience


def test_the_wait_is_the_longest_while_nothing_is_known() -> None:
    assert Patience(2.0).wait_s == 2.0


def test_the_wait_is_a_multiple_of_what_calls_take() -> None:
    patience = Patience(2.0)
    for _ in range(10):
        patience.record(0.05)
    assert patience.wait_s == pytest.approx(PATIENCE * 0.05)


def test_a_fast_engine_is_still_waited_for_a_little() -> None:
    patience = Patience(2.0)
    patience.record(0.001)
    assert patience.wait_s == MIN_PATIENCE_S


def test_an_engine_that_has_become_slow_is_soon_waited_for_again() -> None:
    patience = Patience(2.0)
    patience.record(0.005)
    calls = 0
    while patience.wait_s < 0.5:
        patience.record(patience.wait_s)  # given up
        calls += 1
    assert calls < 10
    for _ in range(100):
        patience.record(0.3)
    assert 0.3 < patience.wait_s == 2.0

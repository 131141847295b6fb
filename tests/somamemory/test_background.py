"""Threads beside the requests: no failure ends one, each is counted, and the same one is told once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from django.db import DatabaseError, InterfaceError
from prometheus_client import REGISTRY

from somamemory import background
from somamemory.errors import ConfigurationError, IndexUnavailable

pytestmark = pytest.mark.django_db  # an attempt looks at the connections, which an earlier test may have opened


@pytest.fixture
def thread() -> background.Thread:
    return background.Thread("test")


def failing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def counted(outcome: str) -> float:
    labels = {"thread": "test", "outcome": outcome}
    return REGISTRY.get_sample_value("soma_background_failures_total", labels) or 0


@pytest.mark.parametrize(
    "error", [DatabaseError("secret"), InterfaceError("secret"), IndexUnavailable(), ConfigurationError("wrong")]
)
def test_what_can_be_mended_is_one_line_without_the_words_of_the_database(
    thread: background.Thread, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    before = counted("mendable")

    assert not thread.attempt(failing(error))

    assert counted("mendable") == before + 1
    [line] = caplog.records
    assert (line.name, line.levelno, line.exc_info) == ("soma.test", logging.WARNING, None)
    assert "secret" not in vars(line)["reason"]


def test_a_bug_is_told_with_its_place_and_leaves_the_thread_alive(
    thread: background.Thread, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("bug")

    assert not thread.attempt(failing(ZeroDivisionError()))

    assert counted("bug") == before + 1
    [line] = caplog.records
    assert line.levelno == logging.ERROR
    assert line.exc_info


def test_the_same_reason_is_told_once_until_an_attempt_goes_through(
    thread: background.Thread, caplog: pytest.LogCaptureFixture
) -> None:
    for work in (failing(IndexUnavailable()), failing(IndexUnavailable()), lambda: None, failing(IndexUnavailable())):
        thread.attempt(work)

    assert len(caplog.records) == 2


def test_what_ends_the_process_is_no_failure(thread: background.Thread) -> None:
    with pytest.raises(SystemExit):
        thread.attempt(failing(SystemExit()))

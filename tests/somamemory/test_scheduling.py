"""Background threads and their periodic work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.db import DatabaseError, InterfaceError
from prometheus_client import REGISTRY

from somamemory import scheduling
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.scheduling import Periodic, Scheduler, Thread, periodic, registered
from testing.processes import wait_for

pytestmark = pytest.mark.django_db  # an attempt checks the connections, which an earlier test may have opened


@pytest.fixture
def thread() -> Thread:
    return Thread("test")


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
def test_a_transient_error_is_one_line_without_the_database_message(
    thread: Thread, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    before = counted("retryable")

    assert not thread.attempt(failing(error))

    assert counted("retryable") == before + 1
    [line] = caplog.records
    assert (line.name, line.levelno, line.exc_info) == ("soma.test", logging.WARNING, None)
    assert "secret" not in vars(line)["reason"]


def test_a_bug_is_logged_with_its_traceback_and_leaves_the_thread_alive(
    thread: Thread, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("bug")

    assert not thread.attempt(failing(ZeroDivisionError()))

    assert counted("bug") == before + 1
    [line] = caplog.records
    assert line.levelno == logging.ERROR
    assert line.exc_info


def test_the_same_reason_is_logged_once_until_an_attempt_succeeds(
    thread: Thread, caplog: pytest.LogCaptureFixture
) -> None:
    for work in (failing(IndexUnavailable()), failing(IndexUnavailable()), lambda: None, failing(IndexUnavailable())):
        thread.attempt(work)

    assert len(caplog.records) == 2


def test_an_exit_is_not_a_failure(thread: Thread) -> None:
    with pytest.raises(SystemExit):
        thread.attempt(failing(SystemExit()))


# --- Periodic work -----------------------------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Periodic]:
    """An empty registry, for the test's own work only."""
    empty: dict[str, Periodic] = {}
    monkeypatch.setattr(scheduling, "_registered", empty)
    monkeypatch.setattr(scheduling, "_preparations", {})
    monkeypatch.setattr(scheduling, "RETRY_S", 0.01)
    return empty


@pytest.fixture
def scheduler(registry: dict[str, Periodic]) -> Iterator[Scheduler]:
    scheduler = Scheduler()
    yield scheduler
    scheduler.stop(60)


def never() -> float:
    return 3600.0


def test_every_kind_of_periodic_work_is_known() -> None:
    names = {job.name for job in registered()}
    assert names == {
        "console.prune_grants",
        "conversations.summarise",
        "conversations.thaw",
        "conversations.upkeep",
        "conversations.work",
        "memories.advance_jobs",
        "memories.analyze",
        "memories.merge_full_text",
        "memories.drain",
        "memories.flush_read_counts",
        "memories.maintain_index",
        "memories.purge",
        "memories.reconcile",
        "memories.remove_generations",
        "memories.settle",
        "memories.write_back_accesses",
        "operations.measure_tenants",
        "operations.sample_queue",
        "tenants.flush_key_usage",
        "tenants.flush_usage",
        "tenants.maintain",
        "tenants.maintain_hourly",
    }


def test_a_scheduler_can_stop_after_a_signal_has_interrupted_its_start(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    periodic("test.work", every_s=never, thread="test", in_process=lambda: True)(lambda: None)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(scheduling._JobThread, "start", lambda _: failing(SystemExit(0))())
        with pytest.raises(SystemExit):
            scheduler.start()

    assert scheduler.stop(1)


def test_work_is_repeated(scheduler: Scheduler) -> None:
    runs: list[None] = []
    periodic("test.work", every_s=lambda: 0.01, thread="test", in_process=lambda: True)(lambda: runs.append(None))

    scheduler.start()

    wait_for(lambda: len(runs) >= 3)


def test_work_that_is_woken_does_not_wait(scheduler: Scheduler) -> None:
    woken = threading.Event()
    periodic("test.work", every_s=never, thread="test", in_process=lambda: True)(woken.set)

    scheduler.start()
    scheduler.wake("test.work")

    assert woken.wait(60)


def test_work_that_is_switched_off_or_of_another_process_has_no_thread(scheduler: Scheduler) -> None:
    periodic("test.off", every_s=lambda: 0, thread="off", in_process=lambda: True)(lambda: None)
    periodic("test.elsewhere", every_s=never, thread="elsewhere", in_process=lambda: False)(lambda: None)

    scheduler.start()

    assert scheduler._threads == {}
    scheduler.wake("test.off")  # nothing happens


def test_a_failure_is_followed_by_another_attempt(scheduler: Scheduler) -> None:
    failures: list[Exception] = [ZeroDivisionError(), DatabaseError()]
    succeeded = threading.Event()

    def work() -> None:
        if failures:
            raise failures.pop()
        succeeded.set()

    periodic("test.work", every_s=lambda: 0.01, thread="test", in_process=lambda: True)(work)
    scheduler.start()

    assert succeeded.wait(60)


def test_a_thread_begins_when_its_preparation_has_succeeded(scheduler: Scheduler) -> None:
    order: list[str] = []
    failures: list[Exception] = [IndexUnavailable()]

    @scheduling.prepares("test")
    def prepare() -> None:
        if failures:
            raise failures.pop()
        order.append("prepared")

    periodic("test.work", every_s=lambda: 0.01, thread="test", in_process=lambda: True)(lambda: order.append("worked"))
    scheduler.start()

    wait_for(lambda: "worked" in order)
    assert order[:2] == ["prepared", "worked"]


def test_work_can_ask_whether_to_stop(scheduler: Scheduler) -> None:
    began, ended = threading.Event(), threading.Event()

    def work(should_stop: scheduling.ShouldStop) -> None:
        began.set()
        wait_for(should_stop)
        ended.set()

    periodic("test.work", every_s=never, thread="test", in_process=lambda: True, first_s=lambda: 0)(work)
    scheduler.start()
    assert began.wait(60)

    scheduler.stop(60)

    assert ended.is_set()


def test_a_job_with_at_stop_runs_once_more_at_the_stop(scheduler: Scheduler) -> None:
    runs: list[str] = []
    for name, at_stop in (("flush", True), ("other", False)):
        periodic(f"test.{name}", every_s=never, thread="test", in_process=lambda: True, at_stop=at_stop)(
            partial(runs.append, name)
        )
    scheduler.start()

    scheduler.stop(60)

    assert runs == ["flush"]

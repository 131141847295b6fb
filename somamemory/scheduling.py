"""Periodic work: declared once, next to its code, and run by threads of the embedded server or by Celery beat.

    @periodic("memories.purge", every_s=lambda: settings.PURGE_INTERVAL_S, thread="index")
    def purge() -> None: ...

The jobs of one thread take turns. A job that may take a long time either has its own thread or checks `should_stop`
between steps. Every job may run twice, late, or at the same time in two processes. Failed work is retried in the next
run.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from django.conf import settings
from django.db import Error, close_old_connections, connections

from somamemory.errors import ConfigurationError, SomaError
from somamemory.telemetry import logs, metrics, tracing

RETRY_S = 1.0  # how long a thread waits after a failure
# A job that takes longer must pause, so that the other jobs of its thread or Celery worker can run.
TIME_SLICE_S = 600.0

RECOVERABLE = (Error, SomaError, ConfigurationError)  # a later attempt may succeed; every other error is a bug

ShouldStop = Callable[[], bool]
Work = TypeVar("Work", bound=Callable[..., object])


def _in_embedded_server() -> bool:
    return bool(settings.INDEXER == "thread")


@dataclass(frozen=True)
class Periodic:
    """A periodic job. See `periodic` for the fields."""

    name: str
    work: Callable[..., object] = field(repr=False)
    every_s: Callable[[], float]
    thread: str
    in_process: Callable[[], bool]
    in_beat: bool
    at_stop: bool
    first_s: Callable[[], float]

    def run(self, should_stop: ShouldStop) -> None:
        if inspect.signature(self.work).parameters:
            self.work(should_stop)
        else:
            self.work()


_registered: dict[str, Periodic] = {}
_preparations: dict[str, list[Callable[[], object]]] = {}


def periodic(
    name: str,
    *,
    every_s: Callable[[], float],
    thread: str,
    in_process: Callable[[], bool] = _in_embedded_server,
    in_beat: bool = True,
    at_stop: bool = False,
    first_s: Callable[[], float] | None = None,
) -> Callable[[Work], Work]:
    """Register a function that takes no arguments, or only a `should_stop` function to call between steps.

    name: the name of the Celery task.
    every_s: returns the interval; 0 turns the work off.
    thread: the server thread that runs it.
    in_process: returns whether this server process runs it.
    in_beat: whether Celery beat requests it.
    at_stop: whether to run it once more when the process stops.
    first_s: returns the delay before the first run in the server; `every_s` by default.
    """

    def register(work: Work) -> Work:
        _registered[name] = Periodic(name, work, every_s, thread, in_process, in_beat, at_stop, first_s or every_s)
        return work

    return register


def prepares(thread: str) -> Callable[[Work], Work]:
    """Register a function that must succeed before the thread with this name begins its work."""

    def register(work: Work) -> Work:
        _preparations.setdefault(thread, []).append(work)
        return work

    return register


def registered() -> list[Periodic]:
    return list(_registered.values())


class Thread(threading.Thread):
    """A background thread in a serving process. Start it after the fork; `stop` ends it.

    It survives every failure, because a thread that ended would not be replaced until the process restarts.
    """

    recoverable: tuple[type[Exception], ...] = RECOVERABLE

    def __init__(self, role: str) -> None:
        """Create the thread. `role` is its name in the logs (`soma.role`) and in the metrics."""
        super().__init__(name=f"soma-{role}", daemon=True)
        self.stopping = threading.Event()
        self._role = role
        self.log = logging.getLogger(f"soma.{role}")
        self._last_reason = ""

    def loop(self) -> None:
        """Run until `stopping` is set."""
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.loop()
        finally:
            connections.close_all()

    def stop(self, timeout_s: float) -> None:
        """Stop the thread after its current step, and wait for it to end."""
        self.stopping.set()
        self.join(timeout_s)

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do the work once and return whether it succeeded. Only exceptions that end the process are raised."""
        try:
            work()
        except self.recoverable as error:
            metrics.background_failures.labels(self._role, "retryable").inc()
            reason = logs.reason(error)
            if reason != self._last_reason:  # log a repeated reason once
                self.log.warning("background work failed and will be retried", extra={"reason": reason})
            self._last_reason = reason
        except Exception:  # if the thread ended here, its work would not be done until a restart
            metrics.background_failures.labels(self._role, "bug").inc()
            self.log.exception("bug in background work; the thread continues")
        else:
            self._last_reason = ""
            return True
        finally:
            close_old_connections()
        return False


class _JobThread(Thread):
    """Runs the jobs of one thread when they are due or triggered."""

    def __init__(self, role: str, jobs: Iterable[Periodic]) -> None:
        super().__init__(role)
        self._jobs = list(jobs)
        self._wake = threading.Event()
        self._woken: set[str] = set()

    def loop(self) -> None:
        for prepare in _preparations.get(self._role, []):
            while not self.stopping.is_set() and not self.attempt(prepare):
                self.stopping.wait(RETRY_S)
        due_at = {job.name: time.monotonic() + job.first_s() for job in self._jobs}
        while not self.stopping.is_set():
            self._wake.wait(max(0.0, min(due_at.values()) - time.monotonic()))
            self._wake.clear()
            for job in self._jobs:
                if job.name in self._woken or time.monotonic() >= due_at[job.name]:
                    self._woken.discard(job.name)
                    self._run(job)
                    due_at[job.name] = time.monotonic() + job.every_s()
        for job in self._jobs:
            if job.at_stop:
                self._run(job)

    def wake(self, name: str) -> None:
        self._woken.add(name)
        self._wake.set()

    def request_stop(self) -> None:
        self.stopping.set()
        self._wake.set()

    def _run(self, job: Periodic) -> None:
        until = time.monotonic() + TIME_SLICE_S

        def should_stop() -> bool:
            return self.stopping.is_set() or time.monotonic() > until

        with tracing.asked(job.name):
            succeeded = self.attempt(lambda: job.run(should_stop))
        if not succeeded:
            self.stopping.wait(RETRY_S)


class Scheduler:
    """Runs the periodic work of this server process."""

    def __init__(self) -> None:
        self._threads: dict[str, _JobThread] = {}

    def start(self) -> None:
        """Start the threads. Call this after the fork."""
        by_thread: dict[str, list[Periodic]] = {}
        for job in registered():
            if job.in_process() and job.every_s():
                by_thread.setdefault(job.thread, []).append(job)
        self._threads = {role: _JobThread(role, jobs) for role, jobs in by_thread.items()}
        for thread in self._threads.values():
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stop all threads after their current steps, wait up to `timeout_s` seconds, and return whether all ended."""
        for thread in self._threads.values():
            thread.request_stop()
        deadline = time.monotonic() + timeout_s
        started = [thread for thread in self._threads.values() if thread.is_alive()]  # a signal may interrupt `start`
        for thread in started:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in started)

    def runs(self, name: str) -> bool:
        """Return whether a thread in this process runs the job."""
        job = _registered.get(name)
        return job is not None and job.thread in self._threads

    def wake(self, name: str) -> None:
        """Make a job run now if a thread in this process runs it. Takes microseconds and never fails."""
        job = _registered.get(name)
        thread = self._threads.get(job.thread) if job else None
        if thread is not None:
            thread.wake(name)


scheduler = Scheduler()

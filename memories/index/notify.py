"""Telling whoever drains the outbox that there is work, once the transaction is through.

`SOMA_INDEXER` says who that is: a thread of this process, a Celery worker, or somebody who needs no telling. Publishing
to a broker that is down takes seconds, so a request never does it: a thread of this process publishes, and many commits
make one message. What is lost costs a beat.
"""

from __future__ import annotations

import threading

from django.conf import settings
from django.db import transaction

from somamemory.scheduling import Thread, scheduler
from somamemory.telemetry import tracing

DRAIN = "memories.drain"
# So many seconds pass at least between two messages of a process; a drain goes on until nothing is due.
PAUSE_S = 0.2
# After a failure the beat does the work anyway; no need to ask a dead broker at each commit.
PAUSE_AFTER_FAILURE_S = 5.0
# A message older than this is thrown away unread: the beat has come by meanwhile.
LIFETIME_S = 10


def on_commit() -> None:
    """Tell the drain, once the transaction is through, that there is work. Costs microseconds, and cannot fail."""
    if settings.INDEXER == "celery":
        transaction.on_commit(_publisher.ask)
    elif settings.INDEXER == "thread":
        transaction.on_commit(_wake)


def _wake() -> None:
    tracing.ask()
    scheduler.wake(DRAIN)


class Publisher:
    """Publishes on a thread of its own, which starts with the first nudge, after the fork."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._thread: Thread | None = None

    def ask(self) -> None:
        """At most one nudge is pending, however often this is called."""
        tracing.ask()
        self._asked.set()
        if self._thread is None or not self._thread.is_alive():  # not alive: it stayed behind in the parent process
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = _Publishing(self._asked)
                    self._thread.start()


class _Publishing(Thread):
    recoverable = (OSError,)  # the broker cannot be reached; the beat does the work

    def __init__(self, asked: threading.Event) -> None:
        super().__init__("nudge")
        self._asked = asked

    def loop(self) -> None:
        while not self.stopping.is_set():
            self._asked.wait()
            self._asked.clear()
            self.stopping.wait(PAUSE_S if self.attempt(publish) else PAUSE_AFTER_FAILURE_S)


def publish() -> None:
    """Ask for one drain. Raises OSError when the broker cannot be reached."""
    from somamemory.celery import send  # not where there is no broker: Celery takes 0.1 s and 20 MB to import

    with tracing.asked(f"send {DRAIN}"):
        send(DRAIN, LIFETIME_S)


_publisher = Publisher()

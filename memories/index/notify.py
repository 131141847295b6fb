"""After a commit, notify the indexer that there is work.

`SOMA_INDEXER` selects the indexer: a thread in this process, a Celery worker, or another process that needs no
notification. If the broker is down, publishing a message to it takes seconds, so a request does not publish messages
itself. A thread in this process does so, and combines many commits into one message. If a message is lost, the work
waits until Celery beat next starts the drain.
"""

from __future__ import annotations

import threading

from django.conf import settings
from django.db import transaction

from somamemory.scheduling import Thread, scheduler
from somamemory.telemetry import tracing

DRAIN = "memories.drain"
# The minimum time between two messages from one process. More messages are not needed, because a drain continues until
# nothing is due.
PAUSE_S = 0.05
# The minimum time before the broker is contacted again after a failure. Celery beat starts the drain anyway.
PAUSE_AFTER_FAILURE_S = 5.0
# An unread message expires after this time, because Celery beat will have started a drain by then.
LIFETIME_S = 10


def on_commit() -> None:
    """Notify the indexer after the transaction has been committed. Takes microseconds and never fails."""
    if settings.INDEXER == "celery":
        transaction.on_commit(_publisher.ask)
    elif settings.INDEXER == "thread":
        transaction.on_commit(_wake)


def _wake() -> None:
    tracing.ask()
    scheduler.wake(DRAIN)


class Publisher:
    """Publishes notifications on a separate thread, which starts with the first notification after a fork."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._thread: Thread | None = None

    def ask(self) -> None:
        """Request a notification. At most one request is pending, however often this is called."""
        tracing.ask()
        self._requested.set()
        if self._thread is None or not self._thread.is_alive():  # after a fork, the parent's thread is not alive
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = _Publishing(self._requested)
                    self._thread.start()


class _Publishing(Thread):
    recoverable = (OSError,)  # the broker cannot be reached, so Celery beat will start the drain

    def __init__(self, requested: threading.Event) -> None:
        super().__init__("nudge")
        self._requested = requested

    def loop(self) -> None:
        while not self.stopping.is_set():
            self._requested.wait()
            self._requested.clear()
            self.stopping.wait(PAUSE_S if self.attempt(publish) else PAUSE_AFTER_FAILURE_S)


def publish() -> None:
    """Publish a message that starts one drain. Raises OSError if the broker cannot be reached."""
    from somamemory.celery import send  # imported only if there is a broker, because Celery takes 0.1 s and 20 MB

    with tracing.asked(f"send {DRAIN}"):
        send(DRAIN, LIFETIME_S)


_publisher = Publisher()

"""Stop a web process on Ctrl-C."""

from __future__ import annotations

from types import FrameType

from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker


class SignalledWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, without the deadlock that a stop signal can cause."""

    alive: bool
    is_quitting = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at once. This runs in a signal handler.

        gunicorn's own method also shuts down the pool. If the signal interrupted `submit`, which holds the pool's lock,
        gunicorn's method would wait for that lock forever.

        On Ctrl-C, the terminal and the arbiter each send a signal. The second one must not interrupt the first handler.
        """
        if not self.is_quitting:
            self.is_quitting = True
            Worker.handle_quit(self, sig, frame)

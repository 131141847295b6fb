"""The Celery application, used by `python -m celery -A somamemory worker` and `beat`.

This module imports no other package of this project: Celery loads operations/tasks.py when a worker starts, and tasks
are sent by name.
"""

import os
import signal
from types import FrameType
from typing import Any

from celery import Celery, Task
from celery.exceptions import OperationalError
from celery.signals import beat_init, celeryd_init

from somamemory import files
from somamemory.telemetry import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")


class TracedTask(Task):  # type: ignore[misc]
    """Continues the sender's trace if tracing is enabled."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with tracing.job(self.name, self.request.get(tracing.TRACEPARENT)):
            return self.run(*args, **kwargs)


app = Celery("somamemory", task_cls=TracedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _create_privately(**kwargs: Any) -> None:
    files.create_privately()


celeryd_init.connect(_create_privately)
beat_init.connect(_create_privately)


def _stop_beat(number: int, frame: FrameType | None) -> None:
    raise SystemExit


def _stop_without_closing(**kwargs: Any) -> None:
    """Replace Celery beat's signal handler, which closes the connection to the broker before it raises SystemExit.

    If a signal arrives while a message is being sent, closing the connection waits forever for a lock that the
    interrupted code holds. Beat closes the connection anyway once SystemExit has ended that code.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_beat)


beat_init.connect(_stop_without_closing)


def send(task: str, lifetime_s: float) -> None:
    """Request one run of a task. A message older than `lifetime_s` is discarded.

    Raises ConnectionError if the broker cannot be reached. Never call this function while processing a request, because
    the attempt to reach the broker may take seconds.
    """
    try:
        app.send_task(task, expires=lifetime_s, retry=False, ignore_result=True, headers=tracing.headers())
    except OperationalError as error:
        raise ConnectionError(str(error)) from error

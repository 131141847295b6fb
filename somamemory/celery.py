"""The job queue's application; `python -m celery -A somamemory worker` and `beat` find it here.

It imports none of our rooms: Celery loads `*/tasks.py` by name when a worker starts, and whoever sends names a task.
"""

import os
from typing import Any

from celery import Celery, Task
from celery.exceptions import OperationalError

from somamemory.telemetry import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")


class TracedTask(Task):  # type: ignore[misc]
    """Goes on with the trace of whoever has sent it, where there are traces."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with tracing.job(self.name, self.request.get(tracing.TRACEPARENT)):
            return self.run(*args, **kwargs)


app = Celery("somamemory", task_cls=TracedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def send(task: str, lifetime_s: float) -> None:
    """Ask for one run of a task; a message older than `lifetime_s` is thrown away unread.

    Raises ConnectionError when the broker cannot be reached, which may take seconds: never call it in a request.
    """
    try:
        app.send_task(task, expires=lifetime_s, retry=False, ignore_result=True, headers=tracing.headers())
    except OperationalError as error:
        raise ConnectionError(str(error)) from error

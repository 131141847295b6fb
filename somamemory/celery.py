"""The job queue's application; `python -m celery -A somamemory worker` and `beat` find it here.

It imports none of our rooms: Celery loads `*/tasks.py` by name when a worker starts, and whoever sends names a task.
"""

import os

from celery import Celery
from celery.exceptions import OperationalError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")

app = Celery("somamemory")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def send(task: str, lifetime_s: float) -> None:
    """Ask for one run of a task; a message older than `lifetime_s` is thrown away unread.

    Raises ConnectionError when the broker cannot be reached, which may take seconds: never call it in a request.
    """
    try:
        app.send_task(task, expires=lifetime_s, retry=False, ignore_result=True)
    except OperationalError as error:
        raise ConnectionError(str(error)) from error

"""The jobs of a Celery worker that concern conversations. No harm in running twice, late, or side by side."""

from __future__ import annotations

import time

from celery import shared_task
from django.conf import settings

from conversations import schedule, working
from memories.tasks import trying


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    until = time.monotonic() + settings.DRAIN_LIMIT_S
    trying(lambda: schedule.run(lambda: time.monotonic() > until))


@shared_task(name="conversations.work")
def work() -> None:
    """Do what is to be done with conversations, for so long that other tasks get their turn."""
    until = time.monotonic() + settings.DRAIN_LIMIT_S
    trying(lambda: working.run(lambda: time.monotonic() > until))

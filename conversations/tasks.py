"""The jobs of a Celery worker that concern conversations. No harm in running twice, late, or side by side."""

from __future__ import annotations

import logging
import time

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError

from conversations import schedule
from somamemory.errors import ConfigurationError, SomaError

log = logging.getLogger("soma.tasks")


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    try:
        schedule.run(time.monotonic() + settings.DRAIN_LIMIT_S)
    except (DatabaseError, SomaError, ConfigurationError) as error:
        log.warning("a job will be tried again", extra={"reason": str(error)})

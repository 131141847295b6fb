"""The jobs of a Celery worker that concern conversations. No harm in running twice, late, or side by side."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery import shared_task
from django.conf import settings

from conversations import schedule, upkeep, working
from memories.tasks import trying


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    _for_a_while(schedule.run)


@shared_task(name="conversations.upkeep")
def keep_up() -> None:
    """Move on what nobody uses, for so long that other tasks get their turn."""
    _for_a_while(upkeep.run_all)


@shared_task(name="conversations.work")
def work_off() -> None:
    """Do what is to be done with conversations, for so long that other tasks get their turn."""
    _for_a_while(working.run)


def _for_a_while(work: Callable[[Callable[[], bool]], object]) -> None:
    until = time.monotonic() + settings.DRAIN_LIMIT_S
    trying(lambda: work(lambda: time.monotonic() > until))

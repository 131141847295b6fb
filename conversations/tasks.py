"""The jobs of a Celery worker that concern conversations. No harm in running twice, late, or side by side."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery import shared_task
from django.conf import settings

from conversations import schedule, upkeep
from memories.tasks import trying


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    _for_a_while(schedule.run)


@shared_task(name="conversations.upkeep")
def keep_up() -> None:
    """Move on what nobody uses, for so long that other tasks get their turn."""
    _for_a_while(upkeep.run_all)


def _for_a_while(work: Callable[[Callable[[], bool]], object]) -> None:
    until = time.monotonic() + settings.DRAIN_LIMIT_S
    trying(lambda: work(lambda: time.monotonic() > until))

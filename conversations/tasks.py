"""The jobs of a Celery worker that concern conversations. No harm in running twice, late, or side by side."""

from __future__ import annotations

from celery import shared_task

from conversations import schedule, upkeep, working
from memories.tasks import for_a_while


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    for_a_while(schedule.run)


@shared_task(name="conversations.upkeep")
def keep_up() -> None:
    """Move on what nobody uses, for so long that other tasks get their turn."""
    for_a_while(upkeep.run_all)


@shared_task(name="conversations.work")
def work_off() -> None:
    """Do what is to be done with conversations, for so long that other tasks get their turn."""
    for_a_while(working.run)

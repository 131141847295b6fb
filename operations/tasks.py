"""The jobs of a Celery worker. Nothing or ids in, one call, and no harm in running twice, late, or side by side.

What there is to do stands in the database; a message only says that now is a good moment. Losing one costs a beat.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celery import shared_task
from celery.signals import beat_init, worker_init, worker_process_init, worker_process_shutdown
from django.conf import settings

from conversations.enrichment import schedule, worker
from conversations.lifecycle import policy
from memories import embeddings, index, read_counts, retention
from memories.index import drain as sync
from memories.index import generations, notify, reconcile
from operations import jobs
from somamemory import background, checks
from somamemory.errors import ConfigurationError
from somamemory.telemetry import logs, metrics, tracing
from tenants import maintenance

log = logging.getLogger("soma.tasks")


@shared_task(name=notify.DRAIN)
def drain() -> None:
    """Bring the index up to date, for so long that other jobs get their turn."""
    for_a_while(_drain)


@shared_task(name="memories.purge")
def purge() -> None:
    """Remove for good what was deleted, or has expired, longer ago than the retention time; sweep what is old."""
    trying(retention.tidy)


@shared_task(name="memories.advance_jobs")
def advance_jobs() -> None:
    """Go on with long jobs, for so long that other tasks get their turn."""
    for_a_while(_advance)


@shared_task(name="memories.reconcile")
def reconcile_index() -> None:
    """Put right what differs between the index and the database."""
    trying(reconcile.repair_all)


@shared_task(name="memories.write_back_accesses")
def write_back_accesses() -> None:
    """Write the reads that Redis has counted into the memories."""
    trying(read_counts.write_back)


@shared_task(name="memories.keep")
def keep() -> None:
    """Seal the audit log, and what else is done every few seconds for all tenants."""
    trying(maintenance.keep)


@shared_task(name="memories.keep_hourly")
def keep_hourly() -> None:
    """Prune the audit log, and what else is done once in a while."""
    trying(maintenance.keep_hourly)


@shared_task(name="conversations.summarise")
def summarise() -> None:
    """Summarise what is over, for so long that other tasks get their turn."""
    for_a_while(schedule.run)


@shared_task(name="conversations.upkeep")
def keep_up() -> None:
    """Move on what nobody uses, for so long that other tasks get their turn."""
    for_a_while(policy.run_all)


@shared_task(name="conversations.work")
def work_off() -> None:
    """Do what is to be done with conversations, for so long that other tasks get their turn."""
    for_a_while(worker.run)


def _drain(over: Callable[[], bool]) -> None:
    while sync.drain() and not over():
        pass


def _advance(over: Callable[[], bool]) -> None:
    while jobs.advance() and not over():
        time.sleep(0.2)


def for_a_while(work: Callable[[Callable[[], bool]], object]) -> None:
    """Run it, and tell it when its time is over, so that other tasks get their turn."""
    until = time.monotonic() + settings.DRAIN_LIMIT_S
    trying(lambda: work(lambda: time.monotonic() > until))


def trying(work: Callable[[], object]) -> None:
    """Run it; what a later beat can mend is one line in the log, not a failed task with a stack."""
    try:
        work()
    except background.MENDABLE as error:
        log.warning("a job will be tried again", extra={"reason": logs.reason(error)})


@worker_init.connect
@beat_init.connect
def refuse_impossible_settings(**signal: object) -> None:
    """As the server does, before anything is done."""
    try:
        checks.refuse_impossible_settings()
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from None


@worker_init.connect
def _tell_metrics(**_: object) -> None:
    if settings.WORKER_METRICS_PORT:
        metrics.serve(settings.HOST, settings.WORKER_METRICS_PORT)


@worker_process_init.connect
def _prepare(**_: object) -> None:
    """Load the model once a process, and not while the first memories wait."""
    tracing.start()
    trying(generations.check_settings)
    trying(lambda: embeddings.current().embed(["warm"]))


@worker_process_shutdown.connect
def _let_go(pid: int, **_: object) -> None:
    index.close_all()
    tracing.stop()
    metrics.process_ended(pid)

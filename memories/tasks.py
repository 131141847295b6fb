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

from memories import access, embeddings, housekeeping, index, jobs
from memories.index import generations, nudge, reconcile, sync
from somamemory import background, checks, logs, metrics, tracing
from somamemory.errors import ConfigurationError
from tenants import keeper

log = logging.getLogger("soma.tasks")


@shared_task(name=nudge.DRAIN)
def drain() -> None:
    """Bring the index up to date, for so long that other jobs get their turn."""
    for_a_while(_drain)


@shared_task(name="memories.purge")
def purge() -> None:
    """Remove for good what was deleted, or has expired, longer ago than the retention time; sweep what is old."""
    trying(housekeeping.tidy)


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
    trying(access.write_back)


@shared_task(name="memories.keep")
def keep() -> None:
    """Seal the audit log, and what else is done every few seconds for all tenants."""
    trying(keeper.keep)


@shared_task(name="memories.keep_hourly")
def keep_hourly() -> None:
    """Prune the audit log, and what else is done once in a while."""
    trying(keeper.keep_hourly)


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

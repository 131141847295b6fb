"""Celery tasks: one for each kind of periodic work, and Celery beat's schedule.

The work itself is recorded in the database, and a message only triggers it. A lost message delays the work by one
interval.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celery import shared_task
from celery.signals import beat_init, worker_init, worker_process_init, worker_process_shutdown
from django.conf import settings

from memories import embeddings, index
from memories.index import generations
from somamemory import checks
from somamemory.celery import app
from somamemory.errors import ConfigurationError
from somamemory.scheduling import RECOVERABLE, Periodic, registered
from somamemory.telemetry import logs, metrics, tracing

log = logging.getLogger("soma.tasks")


def _declare(job: Periodic) -> None:
    @shared_task(name=job.name)
    def run() -> None:
        until = time.monotonic() + settings.DRAIN_LIMIT_S  # after that, other tasks run
        _attempt(lambda: job.run(lambda: time.monotonic() > until))


def _attempt(work: Callable[[], object]) -> None:
    """Do the work. If it fails but a later message may succeed, log one line without a stack trace."""
    try:
        work()
    except RECOVERABLE as error:
        log.warning("a task failed and will be retried", extra={"reason": logs.reason(error)})


for job in registered():
    if job.in_beat:
        _declare(job)

# Messages expire after one interval, so that a queue without consumers does not grow.
app.conf.beat_schedule = {
    job.name: {"task": job.name, "schedule": every_s, "options": {"expires": every_s}}
    for job in registered()
    if job.in_beat and (every_s := job.every_s())
}


@worker_init.connect
@beat_init.connect
def refuse_impossible_settings(**signal: object) -> None:
    """Like the server, exit before doing any work if the settings cannot work together."""
    try:
        checks.refuse_impossible_settings()
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from None


@worker_init.connect
def _serve_metrics(**signal: object) -> None:
    if settings.WORKER_METRICS_PORT:
        metrics.serve(settings.HOST, settings.WORKER_METRICS_PORT)


@worker_process_init.connect
def _prepare(**signal: object) -> None:
    """Load the embedding model once per process, before the first memories need it."""
    tracing.start()
    _attempt(generations.check_settings)
    _attempt(lambda: embeddings.current().embed(["warm"]))


@worker_process_shutdown.connect
def _clean_up(pid: int, **signal: object) -> None:
    index.close_all()
    tracing.stop()
    metrics.process_ended(pid)

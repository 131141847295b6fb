"""Watch a job from the command line, and run it if no server does."""

from __future__ import annotations

import time

from django.conf import settings
from django.core.management.base import OutputWrapper

from memories import index
from memories.index import drain
from memories.models import Job
from operations import jobs
from somamemory.management.progress import ProgressBar

# A running server or Celery worker takes a job within this time.
TAKEN_WITHIN_S = max(5.0, 2.0 * settings.DRAIN_INTERVAL_S)


def watch(job: Job, out: OutputWrapper) -> Job:
    """Show a job's progress until the job has ended, and return the job.

    If the job has made no progress for a while, no server or worker is running, so this process runs the steps itself.
    """
    bar = ProgressBar(out)
    seen, since = _progress(job), time.monotonic()
    while job.state in (Job.State.QUEUED, Job.State.RUNNING):
        _show(bar, job)
        if time.monotonic() - since > TAKEN_WITHIN_S:
            _do(job, bar)
        time.sleep(0.2)
        job.refresh_from_db()
        if _progress(job) != seen:
            seen, since = _progress(job), time.monotonic()
    bar.clear()
    return job


def _do(job: Job, bar: ProgressBar) -> None:
    """Alternate between the job's steps and the drain, until the job has ended or another process has taken it."""
    try:
        while job.state in (Job.State.QUEUED, Job.State.RUNNING) and jobs.advance():
            while drain.drain():
                job.refresh_from_db()
                _show(bar, job)
            time.sleep(0.2)
            job.refresh_from_db()
            _show(bar, job)
    finally:
        index.close_all()


def _progress(job: Job) -> tuple[object, ...]:
    return job.state, job.done, job.total, job.lease, job.lease_until, job.error


def _show(bar: ProgressBar, job: Job) -> None:
    share = job.done / job.total if job.total else None
    done = f"{job.done:,} of {job.total:,}" if job.total else ""
    bar(job.data.get("phase") or job.state, share, f"{done}  {job.error[:40]}".strip())

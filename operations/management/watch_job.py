"""What the commands that ask for a job share: watching it, and doing it when nobody else does."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from django.conf import settings

from memories import index
from memories.index import drain
from memories.models import Job
from operations import jobs

# A running server, or a Celery worker, takes a job within its beat.
TAKEN_WITHIN_S = max(5.0, 2.0 * settings.DRAIN_INTERVAL_S)
_WIDTH = 30


def watch(job: Job, out: TextIO, *, may_do_it: bool = True) -> Job:
    """Show how far the job has come until it is over; it as it is then.

    Does the steps here when nobody has for a while: no server runs, or it was killed. Milvus Lite's folder can be open
    once, so where a server has it, its answer is waited for.
    """
    bar = _Bar(out)
    seen, since = _progress(job), time.monotonic()
    while job.state in (Job.State.QUEUED, Job.State.RUNNING):
        bar.show(job)
        if may_do_it and time.monotonic() - since > TAKEN_WITHIN_S:
            _do(job, bar)
        time.sleep(0.2)
        job.refresh_from_db()
        if _progress(job) != seen:
            seen, since = _progress(job), time.monotonic()
    bar.end(job)
    return job


def _do(job: Job, bar: _Bar) -> None:
    """The job's steps and the drain, turn by turn, until it is over or somebody else is at it."""
    try:
        while job.state in (Job.State.QUEUED, Job.State.RUNNING) and jobs.advance():
            while drain.drain():
                job.refresh_from_db()
                bar.show(job)
            time.sleep(0.2)
            job.refresh_from_db()
            bar.show(job)
    finally:
        index.close_all()


def _progress(job: Job) -> tuple[object, ...]:
    return job.state, job.done, job.total, job.lease, job.lease_until, job.error


class _Bar:
    """One line that is written over on a terminal; else a line a phase."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.terminal = getattr(sys.stdout, "isatty", lambda: False)()
        self.phase: str | None = None

    def show(self, job: Job) -> None:
        phase = job.data.get("phase") or job.state
        if self.terminal:
            self.out.write("\r" + self._line(job, phase).ljust(78), ending="")  # type: ignore[call-arg]
        elif phase != self.phase:
            self.out.write(self._line(job, phase))
        self.out.flush()
        self.phase = phase

    def end(self, job: Job) -> None:
        if self.terminal:
            self.out.write("\r" + " " * 78 + "\r", ending="")  # type: ignore[call-arg]

    def _line(self, job: Job, phase: str) -> str:
        if not job.total:
            return f"{phase} …"
        share = min(1.0, job.done / job.total)
        bar = ("█" * round(share * _WIDTH)).ljust(_WIDTH, "░")
        return f"{phase:8} {bar} {job.done:,} of {job.total:,}" + (f"  ({job.error[:40]})" if job.error else "")

"""The job page, which updates while the job runs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.utils import timezone

from console.templatetags.humane import duration
from memories.models import Job
from somamemory.errors import NotFound

OVER = (Job.State.DONE, Job.State.FAILED)
PHASES = {
    "check": "checking the embedding provider",
    "rows": "listing the memories",
    "embed": "embedding the memories",
    "compare": "comparing the old and the new vectors",
    "switch": "switching to the new vectors",
    "retire": "removing the vectors that are no longer needed",
    "undo": "cancelling",
}
MAX_DATA_LENGTH = 20_000  # characters; longer job data is truncated


def described(job: Job) -> dict[str, Any]:
    return {
        "title": job.get_kind_display(),
        "job": job,
        "progress": _progress(job),
        "progress_url": reverse("admin:job_progress", args=[job.pk]),
        "is_over": job.state in OVER,
        "results": _results(job),
        "data": json.dumps(job.data, indent=2, sort_keys=True)[:MAX_DATA_LENGTH],
    }


def progress(request: HttpRequest, id: UUID) -> JsonResponse:
    """Return a job's progress for the page's script. Superusers only."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    job = Job.objects.filter(pk=id).first()
    if job is None:
        raise NotFound("this job does not exist")
    response = JsonResponse(_progress(job))
    response["Cache-Control"] = "no-store"
    return response


def _progress(job: Job) -> dict[str, Any]:
    """Return the values that change while a job runs, formatted for the page."""
    share = _share(job)
    return {
        "state": job.state,
        "is_over": job.state in OVER,
        "percent": None if share is None else round(100 * share, 1),
        "count": f"{job.done:,}" if job.total is None else f"{job.done:,} of {job.total:,}",
        "phase": PHASES.get(job.data.get("phase", ""), "") if job.state == Job.State.RUNNING else "",
        "error": job.error,
        "time": _time(job, timezone.now(), share),
    }


def _share(job: Job) -> float | None:
    if job.state == Job.State.DONE:
        return 1.0
    return min(1.0, job.done / job.total) if job.total else None


def _time(job: Job, now: datetime, share: float | None) -> str:
    if job.started_at is None:
        return "waiting for a worker"
    took_s = ((job.finished_at or now) - job.started_at).total_seconds()
    if job.state in OVER:
        return f"took {duration(took_s)}"
    left = f", about {duration(took_s / share - took_s)} left" if share else ""
    return f"running for {duration(took_s)}{left}"


def _results(job: Job) -> list[tuple[str, Any]]:
    """Return the values that a finished job reports, with readable names."""
    results: dict[str, Any] = {}
    for name in ("report", "comparison"):
        part = job.data.get(name)
        results |= part if isinstance(part, dict) else {}
    return [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
        for name, value in results.items()
        if isinstance(value, int | float | str) and not isinstance(value, bool)
    ]

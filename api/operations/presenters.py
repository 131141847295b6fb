"""Jobs as JSON."""

from __future__ import annotations

from api.json import JsonObject
from memories.models import Job
from somamemory.times import rfc3339_or_none


def started(job: Job, estimated_s: int) -> JsonObject:
    return {"job_id": str(job.id), "state": job.state, "estimated_completion_seconds": estimated_s}


def job(job: Job) -> JsonObject:
    return {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "error": job.error or None,
        "started_at": rfc3339_or_none(job.started_at),
        "finished_at": rfc3339_or_none(job.finished_at),
        "phase": job.data.get("phase"),
        "comparison": job.data.get("comparison"),
    }

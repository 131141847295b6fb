"""Present health reports and jobs as JSON."""

from __future__ import annotations

from api.json import JsonObject
from memories.models import Job
from operations.health import Report
from somamemory.times import rfc3339_or_none


def health(report: Report) -> JsonObject:
    return {
        "status": report.status,
        "healthy": report.status == "healthy",
        "version": report.version,
        "uptime_seconds": report.uptime_s,
        "checks": {
            name: {"status": "healthy" if check.healthy else "unhealthy", "latency_ms": check.latency_ms}
            for name, check in report.checks.items()
        },
        "services": [
            {"name": name, "healthy": check.healthy, "latency_ms": check.latency_ms}
            for name, check in report.checks.items()
        ],
    }


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

"""The dashboard, which shows current problems and their start times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from console import charts, example_data, staff
from console.templatetags.humane import duration
from memories.index import generations
from memories.models import EmbeddingGeneration, Job
from memories.search import slow_searches
from operations import health, queue_history, statistics
from operations.backup import backups
from somamemory.web import request_stats
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG, Tenant

TOP = 8
NOW = 5  # current figures cover this number of minutes
MAX_BACKUP_AGE_S = 2 * 86_400
OLD_S = 60  # a queue needs attention if its oldest entry is older than this


def figures(request: HttpRequest) -> dict[str, Any]:
    """Return the figures on the dashboard. Only superusers see more than the health status and their own tenants."""
    whole = bool(getattr(request.user, "is_superuser", False))
    eye = Caller.command(Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))
    shared = {
        "whole": whole,
        "parts": _parts(),
        **_tenants(request, eye),
        "example": example_data.offer(request, eye.tenant),
    }
    return {**shared, **_traffic(), **_index(eye)} if whole else shared


def _parts() -> dict[str, Any]:
    report = health.report()
    names = {"database": "Database", "vector_index": "Vector index", "cache": "Cache"}
    parts = [
        {"name": names.get(name, name), "healthy": check.healthy, "latency_ms": check.latency_ms}
        for name, check in report.checks.items()
    ]
    return {
        "status": report.status,
        "version": report.version,
        "uptime": duration(report.uptime_s),
        "components": parts,
    }


def _traffic() -> dict[str, Any]:
    minutes = request_stats.stats.recent()
    stacks = [
        (
            f"{_time(minute.at):%H:%M} UTC: {minute.ok} succeeded, "
            f"{minute.client_errors} rejected, {minute.server_errors} failed",
            {"good": minute.ok, "refused": minute.client_errors, "broken": minute.server_errors},
        )
        for minute in minutes
    ]
    slow = [request_stats.percentile(minute.histogram, 0.95) for minute in minutes]
    polylines, most_ms = charts.lines(slow)
    late, hour = _sum(minutes[-NOW:]), _sum(minutes)
    return {
        "requests": charts.columns(stacks),
        "slow": {"lines": polylines, "most": most_ms},
        "from": _time(minutes[0].at),
        "until": _time(minutes[-1].at),
        "rate": round(late.total / NOW / 60, 1),
        "broken": late.server_errors,
        "broken_hour": hour.server_errors,
        "refused": late.client_errors,
        "refused_hour": hour.client_errors,
        "total_hour": hour.total,
        "p95": request_stats.percentile(late.histogram, 0.95),
        "p50": request_stats.percentile(late.histogram, 0.5),
        "p95_hour": request_stats.percentile(hour.histogram, 0.95),
        "now": NOW,
    }


def _index(eye: Caller) -> dict[str, Any]:
    queue = statistics.queue(eye)
    building = EmbeddingGeneration.objects.filter(state=EmbeddingGeneration.State.BUILDING).first()
    return {
        "queue": queue,
        "bound": statistics.BOUND,
        "queue_is_old": queue.oldest_s > OLD_S,
        "queue_age": duration(queue.oldest_s),
        "generation": generations.active(),
        "building": building,
        **_queue_charts(eye),
        "backup": _backup(timezone.now()),
        "slow_searches": len(slow_searches.recent(eye)),
        "jobs": list(Job.objects.order_by("-created_at")[:4]),
        "database_size": _size(statistics.database_bytes()),
    }


def _queue_charts(eye: Caller) -> dict[str, Any]:
    """Return charts of the queue over the last hour, as measured by this process every minute."""
    samples = queue_history.last_hour(eye)
    pending, most_pending = charts.lines([None if sample is None else sample.pending for _, sample in samples])
    oldest, most_s = charts.lines([None if sample is None else sample.oldest_s for _, sample in samples])
    return {
        "queue_lines": {"lines": pending, "most": round(most_pending)},
        "lag_lines": {"lines": oldest, "most": duration(most_s)},
        "is_sampled": bool(pending),
    }


def _backup(now: datetime) -> dict[str, Any]:
    """Return the state of the newest backup in the data folder. Backups stored elsewhere are not included."""
    folder = Path(settings.DATA_DIR) / "backups"
    latest = backups.latest(folder)
    if latest is None:
        return {"folder": str(folder)}
    age_s = (now - latest.created_at).total_seconds()
    return {"name": latest.name, "age": duration(age_s), "is_old": age_s > MAX_BACKUP_AGE_S}


def _tenants(request: HttpRequest, eye: Caller) -> dict[str, Any]:
    known, counted = statistics.of_tenants(eye)
    mine = {tenant.pk: tenant for tenant in staff.tenants_of(request.user).filter(pk__in=list(known)[:10_000])}
    ranked = sorted(((known[pk], tenant) for pk, tenant in mine.items()), key=lambda pair: (-pair[0], pair[1].slug))
    most, total = (ranked[0][0] if ranked else 0), sum(size for size, _ in ranked)
    return {
        "top": [
            {"tenant": tenant, "size": size, "width": round(100 * size / most, 1) if most else 0,
             "share": round(100 * size / total) if total else 0}
            for size, tenant in ranked[:TOP]
        ],
        "others": len(ranked) - TOP if len(ranked) > TOP else 0,
        "memories": total,
        "counted": counted,
    }  # fmt: skip


def _sum(minutes: list[request_stats.Minute]) -> request_stats.Minute:
    whole = request_stats.Minute(0)
    for minute in minutes:
        whole.add(minute)
    return whole


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"

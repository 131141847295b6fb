"""Is it alive, is it ready, is it well? No key needed, and nothing about tenants."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from api.json import reply
from api.operations.schemas import HealthOut, HealthzOut, PingOut, ReadyOut
from api.routing import PolicyRouter
from conversations import llm
from operations import health
from operations.health import Check
from somamemory.errors import Forbidden
from somamemory.telemetry import metrics
from somamemory.web import client_address
from somamemory.web.request_state import state_of

_TEXT = {"responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}}
router = PolicyRouter("health", auth=None)


@router.get("/ping", out=PingOut, problems=[500])
def ping(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return reply({"status": "ok"})


@router.get("/healthz", out=HealthzOut, problems=[500])
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers; which of its stores did, when they were last asked."""
    checks = health.report().checks
    database = checks["database"].healthy
    return reply(
        {
            "status": "ok",
            "kv_store": database,
            "vector_store": checks["vector_index"].healthy,
            "graph_store": database,
        }
    )


@router.get("/readyz", out={200: ReadyOut, 503: ReadyOut}, problems=[500])
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and its migrations are applied, else 503."""
    ready, reason = health.ready()
    return reply({"ready": ready, **({"reason": reason} if reason else {})}, 200 if ready else 503)


@router.get("/metrics", out=None, problems=[403, 500], openapi_extra=_TEXT)
def show_metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, in Prometheus' text format; for the addresses in SOMA_METRICS_ALLOW."""
    peer = request.META.get("REMOTE_ADDR", "")
    if "X-Forwarded-For" in request.headers and not client_address.among(peer, settings.TRUSTED_PROXIES):
        raise Forbidden("a proxy passed this request on, and SOMA_TRUSTED_PROXIES does not name it")
    if not client_address.among(state_of(request).client_address, settings.METRICS_ALLOW):
        raise Forbidden("this address may not read the metrics: see SOMA_METRICS_ALLOW")
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


@router.get("/health", out={200: HealthOut, 503: HealthOut}, problems=[500])
def full_health(request: HttpRequest) -> HttpResponse:
    """Each part, its state and its latency; at most ten seconds old."""
    report = health.report()
    if (answering := llm.healthy()) is not None:
        report = replace(report, checks={**report.checks, "llm": Check(answering, 0.0)})
    checks = {
        name: {"status": "healthy" if check.healthy else "unhealthy", "latency_ms": check.latency_ms}
        for name, check in report.checks.items()
    }
    services = [
        {"name": name, "healthy": check.healthy, "latency_ms": check.latency_ms}
        for name, check in report.checks.items()
    ]
    return reply(
        {
            "status": report.status,
            "healthy": report.status == "healthy",
            "version": report.version,
            "uptime_seconds": report.uptime_s,
            "checks": checks,
            "services": services,
        },
        503 if report.status == "unhealthy" else 200,
    )

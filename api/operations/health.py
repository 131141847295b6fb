"""Routes for liveness, readiness, health and metrics. They require no key and reveal nothing about tenants."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from api.json import reply
from api.operations import presenters
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
router = PolicyRouter("health", auth=None, crosses=True)


@router.get("/ping", out=PingOut, problems=[500])
def ping(request: HttpRequest) -> HttpResponse:
    """Confirm that the process responds."""
    return reply({"status": "ok"})


@router.get("/healthz", out=HealthzOut, problems=[500])
def healthz(request: HttpRequest) -> HttpResponse:
    """Confirm that the process responds, and report the result of each store's most recent check."""
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
    """Return 200 if the database responds and its migrations are applied, otherwise 503.

    The result is at most three seconds old.
    """
    found = health.ready()
    return reply(
        {"ready": found.ready, **({"reason": found.reason} if found.reason else {})}, 200 if found.ready else 503
    )


@router.get("/metrics", out=None, problems=[403, 500], openapi_extra=_TEXT)
def show_metrics(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the Prometheus text format. Only the addresses in SOMA_METRICS_ALLOW have access."""
    peer = request.META.get("REMOTE_ADDR", "")
    if "X-Forwarded-For" in request.headers and not client_address.among(peer, settings.TRUSTED_PROXIES):
        raise Forbidden("the request came through a proxy that is not in SOMA_TRUSTED_PROXIES; add its address")
    if not client_address.among(state_of(request).client_address, settings.METRICS_ALLOW):
        raise Forbidden("this address is not in SOMA_METRICS_ALLOW; add it to allow access")
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


@router.get("/health", out={200: HealthOut, 503: HealthOut}, problems=[500])
def full_health(request: HttpRequest) -> HttpResponse:
    """Show the state and latency of each component. The result is at most ten seconds old."""
    report = health.report()
    if (llm_healthy := llm.healthy()) is not None:
        report = replace(report, checks={**report.checks, "llm": Check(llm_healthy, 0.0)})
    return reply(presenters.health(report), 503 if report.status == "unhealthy" else 200)

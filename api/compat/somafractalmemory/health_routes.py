"""SomaFractalMemory's routes for health and statistics, and its pages. As in that product, all except `/test-stats` are
public.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from api.auth import identify, token_of
from api.compat.lenient import LenientRouter
from api.compat.somafractalmemory.memory_routes import ROOT
from api.json import JsonObject, reply
from api.operations import health
from api.request import Request, as_api
from memories import counts
from operations.health import report
from somamemory.db import tenant_scope
from somamemory.times import rfc3339
from tenants import keys
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG

TEST_NAMESPACE = "test_ns"
# Maps our names for the stores to SomaFractalMemory's names.
_SERVICES = {"database": "postgresql", "cache": "redis", "vector_index": "milvus"}
router = LenientRouter("somafractalmemory", prefix=ROOT, has_key=False)
with_key = LenientRouter("somafractalmemory", prefix=ROOT)


@router.get("/", out=None)
def root(request: HttpRequest) -> HttpResponse:
    return reply({"status": "online", "message": "SomaFractalMemory API is running", "metrics": "/metrics"})


@router.get("/ping", out=None)
def ping(request: HttpRequest) -> HttpResponse:
    return reply({"ping": "pong"})


@router.get("/health/basic", out=None)
def basic(request: HttpRequest) -> HttpResponse:
    return reply(_stores())


@router.get("/healthz", out=None)
def healthz(request: HttpRequest) -> HttpResponse:
    stores = _stores()
    return reply(stores, 200 if all(stores.values()) else 503)


@router.get("/readyz", out=None)
def readyz(request: HttpRequest) -> HttpResponse:
    """Return 503 if the server is not ready. SomaFractalMemory always returns 200."""
    return reply(_stores(), health.readyz(request).status_code)


@router.get("/health", out=None)
def full_health(request: HttpRequest) -> HttpResponse:
    """Return our report, with SomaFractalMemory's names for the stores.

    Unlike SomaFractalMemory's report, it contains no counts that cover all tenants.
    """
    response = health.full_health(request)
    body = orjson.loads(response.content)
    services = [
        {**service, "name": _SERVICES.get(service["name"], service["name"]), "details": {}}
        for service in body["services"]
    ]
    now = rfc3339(datetime.now(UTC))
    more = {"services": services, "timestamp": now, "database": {}, "tenants": [], "system": {}}
    return reply({**body, **more}, response.status_code)


@router.get("/metrics", out=None)
def metrics(request: HttpRequest) -> HttpResponse:
    return health.show_metrics(request)


@router.get("/stats", out=None)
def stats(request: HttpRequest) -> HttpResponse:
    """Count the memories in the caller's tenant or, without a key, in the default tenant."""
    caller = identify(as_api(request)) if token_of(request) else _anyone()
    return reply(_counted(caller, "default"))


@router.get("/openapi.json", out=None)
def openapi(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/api/v1/openapi.json")


@router.get("/docs", out=None)
def docs(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/api/v1/docs")


@with_key.get("/test-stats", out=None, limited=True)
def test_stats(request: Request) -> HttpResponse:
    """Count the memories in the `test_ns` namespace."""
    request.caller.require("read", [TEST_NAMESPACE])
    return reply(_counted(replace(request.caller, namespaces=frozenset({TEST_NAMESPACE})), TEST_NAMESPACE))


def _anyone() -> Caller:
    tenant = keys.find_tenant(DEFAULT_TENANT_SLUG)
    tenant_scope.enter(tenant.id)
    return Caller(tenant=tenant, actor="anyone", scopes=frozenset({"read"}))


def _counted(caller: Caller, namespace: str) -> JsonObject:
    counted = counts.stats(caller)
    numbers = {name: counted[name] for name in ("total_memories", "episodic", "semantic")}
    return {**numbers, "namespace": namespace}


def _stores() -> dict[str, bool]:
    checks = report().checks
    database = checks["database"].healthy
    return {"kv_store": database, "vector_store": checks["vector_index"].healthy, "graph_store": database}

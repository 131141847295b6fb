"""The tools of Sekha's MCP server over plain HTTP: `POST /mcp/tools/<name>` with `{"success": true, "data": …}`."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.lenient import Json, LenientRouter
from api.compat.sekha import tools
from api.compat.sekha.requests import PREFIX
from api.json import JsonObject, reply
from api.request import Request

router = LenientRouter("sekha", prefix=PREFIX)


@router.get("/mcp/tools", out=None, limited=True)
def list_tools(request: Request) -> HttpResponse:
    return reply(tools.described())


@router.get("/api/v1/mcp/tools", out=None, limited=True)
def list_tools_again(request: Request) -> HttpResponse:
    return reply(tools.described())


@router.post("/mcp/tools/memory_store", out=None, limited=True)
def memory_store(request: Request, body: Json) -> HttpResponse:
    return _success(tools.store(request, body))


@router.post("/mcp/tools/memory_search", out=None, kind="search", limited=True)
def memory_search(request: Request, body: Json) -> HttpResponse:
    return _success(tools.search(request, body))


@router.post("/mcp/tools/memory_query", out=None, kind="search", limited=True)
def memory_query(request: Request, body: Json) -> HttpResponse:
    return _success(tools.query(request, body))


@router.post("/mcp/tools/memory_get_context", out=None, kind="read", limited=True)
def memory_get_context(request: Request, body: Json) -> HttpResponse:
    return _success(tools.get_context(request, body))


@router.post("/mcp/tools/memory_update", out=None, limited=True)
def memory_update(request: Request, body: Json) -> HttpResponse:
    return _success(tools.update(request, body))


@router.post("/mcp/tools/memory_prune", out=None, kind="read")
def memory_prune(request: Request, body: Json) -> HttpResponse:
    return _success(tools.prune(request, body))


@router.post("/mcp/tools/memory_export", out=None, kind="read", limited=True)
def memory_export(request: Request, body: Json) -> HttpResponse:
    return _success(tools.export(request, body))


@router.post("/mcp/tools/memory_stats", out=None, kind="read", limited=True)
def memory_stats(request: Request, body: Json) -> HttpResponse:
    return _success(tools.stats(request, body))


@router.get("/api/v1/stats", out=None, limited=True)
def stats(request: Request) -> HttpResponse:
    """Return statistics for sekha-mcp."""
    return _success(tools.stats(request, dict(request.GET.items())))


@router.post("/mcp/memory/search", out=None, kind="search", limited=True)
def search_plain(request: Request, body: Json) -> HttpResponse:
    """Return only the `data` of memory_query, as the MCP client in Sekha's Python SDK expects."""
    return reply(tools.query(request, body))


@router.post("/mcp/memory/stats", out=None, kind="read", limited=True)
def stats_plain(request: Request, body: Json) -> HttpResponse:
    """Return only the `data` of memory_stats, as the MCP client in Sekha's Python SDK expects."""
    filters = body.get("filters")
    return reply(tools.stats(request, filters if isinstance(filters, dict) else {}))


def _success(data: JsonObject) -> HttpResponse:
    return reply({"success": True, "data": data, "error": None})

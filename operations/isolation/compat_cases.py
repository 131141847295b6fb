"""One or more requests for every route of the compatibility layers, and the scope that each route needs.

Paths are absolute. The routes in SomaFractalMemory's layer exist only if a setting enables them, and their names begin
with `root:`. Unlike in `cases.CASES`, no request stores {text}, so no response may contain it. Reads come first.
"""

from __future__ import annotations

from typing import Any

from operations.isolation.cases import Case
from operations.isolation.needs import Needs, Route

ROOT = "root:"
_MEMORY = "/mem0/v1/memories/{mem0}/"
_VAULT = {"user_id": "vault"}
_TALK = {"label": "mine", "folder": "/mine", "messages": [{"role": "user", "content": "mine"}]}
_CONVERSATION = "/sekha/api/v1/conversations/{conversation}"
_NAMED = {"conversation_id": "{conversation}"}


def _case(path: str, body: Any = None) -> Case:
    return Case(path, body, root="")


MEM0: dict[Route, list[Case]] = {
    ("GET", "/mem0/v1/ping/"): [_case("/mem0/v1/ping/")],
    ("POST", "/mem0/v3/memories/"): [
        _case("/mem0/v3/memories/?page_size=5", {"filters": _VAULT}),
        _case("/mem0/v3/memories/", {"filters": {"AND": [{"user_id": "*"}, {"memory_ids": ["{mem0}"]}]}}),
    ],
    ("POST", "/mem0/v3/memories/search/"): [
        _case("/mem0/v3/memories/search/", {"query": "{text}", "filters": {"OR": [_VAULT, {"app_id": "*"}]}}),
    ],
    ("GET", "/mem0/v1/memories/"): [
        _case("/mem0/v1/memories/?user_id=vault"),
        _case("/mem0/v1/memories/?app_id=*&page=1&page_size=5"),
    ],
    ("GET", "/mem0/v1/memories/{kind}/{name}/"): [_case("/mem0/v1/memories/user/vault/")],
    ("POST", "/mem0/v2/memories/"): [_case("/mem0/v2/memories/", {"filters": _VAULT})],
    ("POST", "/mem0/v1/memories/search/"): [_case("/mem0/v1/memories/search/", {"query": "{text}", **_VAULT})],
    ("POST", "/mem0/v2/memories/search/"): [
        _case("/mem0/v2/memories/search/", {"query": "{text}", "filters": {"AND": [_VAULT]}})
    ],
    ("GET", "/mem0/v2/entities/{kind}/{name}/"): [_case("/mem0/v2/entities/user/vault/")],
    ("GET", "/mem0/v1/memories/{memory_id}/"): [_case(_MEMORY), _case("/mem0/v1/memories/{id}/")],
    ("GET", "/mem0/v1/memories/{memory_id}/history/"): [_case(_MEMORY + "history/")],
    ("GET", "/mem0/v1/entities/"): [_case("/mem0/v1/entities/")],
    ("GET", "/mem0/v1/events/"): [_case("/mem0/v1/events/")],
    ("GET", "/mem0/v1/event/{event_id}/"): [
        _case("/mem0/v1/event/{mem0_event}/"),
        _case("/mem0/v1/event/{conversation}/"),
    ],
    ("GET", "/mem0/memories"): [_case("/mem0/memories?user_id=vault")],
    ("GET", "/mem0/memories/{memory_id}"): [_case("/mem0/memories/{mem0}")],
    ("GET", "/mem0/memories/{memory_id}/history"): [_case("/mem0/memories/{mem0}/history")],
    ("POST", "/mem0/search"): [_case("/mem0/search", {"query": "{text}", "user_id": "vault"})],
    ("PUT", "/mem0/v1/memories/{memory_id}/"): [
        _case(_MEMORY, {"text": "mine now"}),
        _case(_MEMORY, {"expiration_date": None}),
    ],
    ("PUT", "/mem0/memories/{memory_id}"): [_case("/mem0/memories/{mem0}", {"text": "mine now"})],
    ("PUT", "/mem0/v1/batch/"): [_case("/mem0/v1/batch/", {"memories": [{"memory_id": "{mem0}", "text": "mine"}]})],
    ("DELETE", "/mem0/v1/memories/{memory_id}/"): [_case(_MEMORY)],
    ("DELETE", "/mem0/memories/{memory_id}"): [_case("/mem0/memories/{mem0}")],
    ("DELETE", "/mem0/v1/batch/"): [_case("/mem0/v1/batch/", {"memories": [{"memory_id": "{mem0}"}]})],
    ("DELETE", "/mem0/v1/memories/"): [_case("/mem0/v1/memories/?user_id=vault"), _case("/mem0/v1/memories/?run_id=*")],
    ("DELETE", "/mem0/memories"): [_case("/mem0/memories?user_id=vault")],
    ("DELETE", "/mem0/v1/entities/{kind}/{entity_id}/"): [_case("/mem0/v1/entities/user/{mem0}/")],
    ("DELETE", "/mem0/v2/entities/{kind}/{name}/"): [_case("/mem0/v2/entities/user/vault/")],
    ("POST", "/mem0/reset"): [_case("/mem0/reset")],
    ("POST", "/mem0/v3/memories/add/"): [
        _case("/mem0/v3/memories/add/", {"messages": "mine", "user_id": "other", "infer": False}),
    ],
    ("POST", "/mem0/v1/memories/"): [_case("/mem0/v1/memories/", {"messages": "mine", "user_id": "other"})],
    ("POST", "/mem0/memories"): [
        _case("/mem0/memories", {"messages": [{"role": "user", "content": "mine"}], "user_id": "other"}),
    ],
}

SEKHA: dict[Route, list[Case]] = {
    ("GET", "/sekha/health"): [_case("/sekha/health")],
    ("GET", "/sekha/metrics"): [_case("/sekha/metrics")],
    ("GET", "/sekha/api/v1/conversations"): [
        _case("/sekha/api/v1/conversations"),
        _case("/sekha/api/v1/conversations?limit=3&offset=1&label=Vault"),
    ],
    ("GET", "/sekha/api/v1/conversations/count"): [_case("/sekha/api/v1/conversations/count?folder=/vault")],
    ("GET", "/sekha/api/v1/conversations/{id}"): [_case(_CONVERSATION)],
    ("POST", "/sekha/api/v1/query"): [
        _case("/sekha/api/v1/query", {"query": "{text}", "filters": {"labels": ["Vault"]}}),
        _case("/sekha/api/v1/query", {"query": "{text}", "filters": {"conversation_ids": ["{conversation}"]}}),
    ],
    ("POST", "/sekha/api/v1/query/smart"): [_case("/sekha/api/v1/query/smart", {"query": "{text}"})],
    ("POST", "/sekha/api/v1/search/fts"): [_case("/sekha/api/v1/search/fts", {"query": "{text}"})],
    ("POST", "/sekha/api/v1/context/assemble"): [_case("/sekha/api/v1/context/assemble", {"query": "{text}"})],
    ("GET", "/sekha/api/v1/export"): [
        _case("/sekha/api/v1/export"),
        _case("/sekha/api/v1/export?format=json&conversation_id={conversation}"),
    ],
    ("GET", "/sekha/api/v1/prune/suggestions"): [_case("/sekha/api/v1/prune/suggestions?threshold_days=0")],
    ("POST", "/sekha/api/v1/prune/dry-run"): [_case("/sekha/api/v1/prune/dry-run", {"threshold_days": 0})],
    ("POST", "/sekha/api/v1/labels/suggest"): [_case("/sekha/api/v1/labels/suggest", _NAMED)],
    ("POST", "/sekha/api/v1/conversations/{id}/suggest-labels"): [_case(_CONVERSATION + "/suggest-labels")],
    ("GET", "/sekha/api/v1/stats"): [_case("/sekha/api/v1/stats?label=Vault")],
    ("GET", "/sekha/mcp/tools"): [_case("/sekha/mcp/tools")],
    ("GET", "/sekha/api/v1/mcp/tools"): [_case("/sekha/api/v1/mcp/tools")],
    ("POST", "/sekha/mcp/tools/memory_search"): [_case("/sekha/mcp/tools/memory_search", {"query": "{text}"})],
    ("POST", "/sekha/mcp/tools/memory_query"): [_case("/sekha/mcp/tools/memory_query", {"query": "{text}"})],
    ("POST", "/sekha/mcp/tools/memory_get_context"): [_case("/sekha/mcp/tools/memory_get_context", _NAMED)],
    ("POST", "/sekha/mcp/tools/memory_prune"): [_case("/sekha/mcp/tools/memory_prune", {"threshold_days": 0})],
    ("POST", "/sekha/mcp/tools/memory_export"): [
        _case("/sekha/mcp/tools/memory_export", _NAMED),
        _case("/sekha/mcp/tools/memory_export", {**_NAMED, "format": "markdown"}),
    ],
    ("POST", "/sekha/mcp/tools/memory_stats"): [_case("/sekha/mcp/tools/memory_stats", {"folder": "/vault"})],
    ("POST", "/sekha/mcp/memory/search"): [_case("/sekha/mcp/memory/search", {"query": "{text}"})],
    ("POST", "/sekha/mcp/memory/stats"): [_case("/sekha/mcp/memory/stats", {"filters": {}})],
    ("POST", "/sekha/mcp/tools/memory_update"): [_case("/sekha/mcp/tools/memory_update", {**_NAMED, "label": "mine"})],
    ("PUT", "/sekha/api/v1/conversations/{id}/label"): [
        _case(_CONVERSATION + "/label", {"label": "mine", "folder": "/mine"})
    ],
    ("PUT", "/sekha/api/v1/conversations/{id}/folder"): [_case(_CONVERSATION + "/folder", {"folder": "/mine"})],
    ("PUT", "/sekha/api/v1/conversations/{id}/status"): [_case(_CONVERSATION + "/status", {"status": "archived"})],
    ("PUT", "/sekha/api/v1/conversations/{id}/pin"): [_case(_CONVERSATION + "/pin")],
    ("PUT", "/sekha/api/v1/conversations/{id}/archive"): [_case(_CONVERSATION + "/archive")],
    ("POST", "/sekha/api/v1/summarize"): [_case("/sekha/api/v1/summarize", {**_NAMED, "level": "daily"})],
    ("POST", "/sekha/api/v1/conversations/{id}/summary"): [_case(_CONVERSATION + "/summary")],
    ("POST", "/sekha/api/v1/messages/{id}/importance"): [_case("/sekha/api/v1/messages/{message}/importance")],
    ("POST", "/sekha/api/v1/messages/score"): [_case("/sekha/api/v1/messages/score", {"message_id": "{message}"})],
    ("POST", "/sekha/api/v1/prune/execute"): [
        _case("/sekha/api/v1/prune/execute", {"conversation_ids": ["{conversation}"]})
    ],
    ("POST", "/sekha/api/v1/rebuild-embeddings"): [_case("/sekha/api/v1/rebuild-embeddings")],
    ("DELETE", "/sekha/api/v1/conversations/{id}"): [_case(_CONVERSATION)],
    ("POST", "/sekha/api/v1/conversations"): [_case("/sekha/api/v1/conversations", _TALK)],
    ("POST", "/sekha/mcp/tools/memory_store"): [_case("/sekha/mcp/tools/memory_store", _TALK)],
}

SOMAFRACTALMEMORY: dict[Route, list[Case]] = {
    ("GET", f"{ROOT}/"): [_case("/")],
    ("GET", f"{ROOT}/ping"): [_case("/ping")],
    ("GET", f"{ROOT}/healthz"): [_case("/healthz")],
    ("GET", f"{ROOT}/readyz"): [_case("/readyz")],
    ("GET", f"{ROOT}/health"): [_case("/health")],
    ("GET", f"{ROOT}/health/basic"): [_case("/health/basic")],
    ("GET", f"{ROOT}/metrics"): [_case("/metrics")],
    ("GET", f"{ROOT}/openapi.json"): [_case("/openapi.json")],
    ("GET", f"{ROOT}/docs"): [_case("/docs")],
    ("GET", f"{ROOT}/stats"): [_case("/stats")],
    ("GET", f"{ROOT}/test-stats"): [_case("/test-stats")],
    ("GET", f"{ROOT}/memories/search"): [
        _case("/memories/search?query={text}"),
        _case("/memories/search?query={text}&namespace=n&top_k=500"),
    ],
    ("POST", f"{ROOT}/memories/search"): [
        _case("/memories/search", {"query": "{text}", "filters": {"metadata.tenant": "acme"}})
    ],
    ("GET", f"{ROOT}/memories/{{coord}}"): [_case("/memories/{coord}"), _case("/memories/{deleted}?namespace=n")],
    ("GET", f"{ROOT}/graph/neighbors"): [_case("/graph/neighbors?coord={coord}&k_hop=2&include_memory=true")],
    ("GET", f"{ROOT}/graph/path"): [_case("/graph/path?from_coord={coord}&to_coord={expired}")],
    ("DELETE", f"{ROOT}/memories/{{coord}}"): [_case("/memories/{coord}"), _case("/memories/{coord}?namespace=n")],
    ("POST", f"{ROOT}/graph/link"): [_case("/graph/link", {"from_coord": "{coord}", "to_coord": "{expired}"})],
    ("POST", f"{ROOT}/memories"): [_case("/memories", {"coord": "{coord}", "payload": {"text": "mine"}})],
}

CASES = {**MEM0, **SEKHA, **SOMAFRACTALMEMORY}

_READING_POSTS = (
    "/mem0/v2/memories/", "/mem0/v3/memories/", "/search", "/search/", "/query", "/query/smart", "/search/fts",
    "/assemble", "/dry-run", "/suggest", "/suggest-labels", "/memory_search", "/memory_query", "/memory_get_context",
    "/memory_prune", "/memory_export", "/memory_stats", "/mcp/memory/stats",
)  # fmt: skip
_EXCEPTIONS: dict[Route, Needs] = {
    **{("GET", f"{ROOT}{path}"): "nothing" for path in (
        "/", "/ping", "/healthz", "/readyz", "/health", "/health/basic", "/metrics", "/openapi.json", "/docs", "/stats",
    )},
    ("GET", "/sekha/health"): "nothing",
    ("GET", "/sekha/metrics"): "nothing",
    ("GET", "/mem0/v1/ping/"): "key",
    ("GET", "/sekha/mcp/tools"): "key",
    ("GET", "/sekha/api/v1/mcp/tools"): "key",
    ("POST", "/mem0/reset"): "delete",
    ("POST", "/sekha/api/v1/rebuild-embeddings"): "operator",
}  # fmt: skip


def _needs(route: Route) -> Needs:
    method, path = route
    if route in _EXCEPTIONS:
        return _EXCEPTIONS[route]
    if method == "DELETE":
        return "delete"
    return "read" if method == "GET" or path.endswith(_READING_POSTS) else "write"


NEEDS: dict[Route, Needs] = {route: _needs(route) for route in CASES}

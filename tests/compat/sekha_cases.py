"""One request for every route under `/sekha`, with the placeholders {id} (conversation) and {message}."""

from __future__ import annotations

from typing import Any

_MESSAGES = [{"role": "user", "content": "Bread"}]

CASES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/sekha/health", None),
    ("GET", "/sekha/metrics", None),
    ("GET", "/sekha/api/v1/conversations", None),
    ("GET", "/sekha/api/v1/conversations/count", None),
    ("GET", "/sekha/api/v1/conversations/{id}", None),
    ("DELETE", "/sekha/api/v1/conversations/{id}", None),
    ("PUT", "/sekha/api/v1/conversations/{id}/label", {"label": "x", "folder": "/x"}),
    ("PUT", "/sekha/api/v1/conversations/{id}/folder", {"folder": "/x"}),
    ("PUT", "/sekha/api/v1/conversations/{id}/status", {"status": "archived"}),
    ("PUT", "/sekha/api/v1/conversations/{id}/pin", None),
    ("PUT", "/sekha/api/v1/conversations/{id}/archive", None),
    ("POST", "/sekha/api/v1/conversations/{id}/summary", None),
    ("POST", "/sekha/api/v1/conversations/{id}/suggest-labels", None),
    ("POST", "/sekha/api/v1/messages/{id}/importance", None),
    ("POST", "/sekha/api/v1/messages/score", {"message_id": "{message}"}),
    ("POST", "/sekha/api/v1/query", {"query": "vault", "filters": {"labels": ["Vault"]}}),
    ("POST", "/sekha/api/v1/query/smart", {"query": "vault"}),
    ("POST", "/sekha/api/v1/search/fts", {"query": "vault"}),
    ("POST", "/sekha/api/v1/context/assemble", {"query": "vault"}),
    ("GET", "/sekha/api/v1/export?conversation_id={id}", None),
    ("GET", "/sekha/api/v1/export", None),
    ("POST", "/sekha/api/v1/summarize", {"conversation_id": "{id}", "level": "daily"}),
    ("POST", "/sekha/api/v1/labels/suggest", {"conversation_id": "{id}"}),
    ("POST", "/sekha/api/v1/prune/dry-run", {"threshold_days": 0}),
    ("GET", "/sekha/api/v1/prune/suggestions", None),
    ("POST", "/sekha/api/v1/prune/execute", {"conversation_ids": ["{id}"]}),
    ("POST", "/sekha/api/v1/rebuild-embeddings", None),
    ("GET", "/sekha/api/v1/stats", None),
    ("GET", "/sekha/mcp/tools", None),
    ("GET", "/sekha/api/v1/mcp/tools", None),
    ("POST", "/sekha/mcp/tools/memory_search", {"query": "vault"}),
    ("POST", "/sekha/mcp/tools/memory_query", {"query": "vault"}),
    ("POST", "/sekha/mcp/tools/memory_get_context", {"conversation_id": "{id}"}),
    ("POST", "/sekha/mcp/tools/memory_update", {"conversation_id": "{id}", "label": "x"}),
    ("POST", "/sekha/mcp/tools/memory_prune", {}),
    ("POST", "/sekha/mcp/tools/memory_export", {"conversation_id": "{id}"}),
    ("POST", "/sekha/mcp/tools/memory_stats", {"folder": "/vault"}),
    ("POST", "/sekha/mcp/memory/search", {"query": "vault"}),
    ("POST", "/sekha/mcp/memory/stats", {"filters": {}}),
    ("POST", "/sekha/api/v1/conversations", {"label": "x", "folder": "/x", "messages": _MESSAGES}),
    ("POST", "/sekha/mcp/tools/memory_store", {"label": "x", "folder": "/x", "messages": _MESSAGES}),
]

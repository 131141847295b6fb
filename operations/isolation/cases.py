"""One or more requests for every published route.

The isolation check sends them with another tenant's key. Tests fail if a route has no case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from operations.isolation.needs import Route


@dataclass(frozen=True)
class Case:
    """A request with placeholders in `path` and `body`, such as {coord}, {key}, {text}, {conversation} or {slug}."""

    path: str
    body: Any = None
    root: str = "/api/v1"

    def filled(self, names: dict[str, str]) -> Case:
        return Case(_filled(self.path, names), _filled(self.body, names), self.root)

    @property
    def url(self) -> str:
        """Return the path under the server's URL, with a percent-encoded query."""
        head, mark, query = self.path.partition("?")
        return self.root + head + mark + quote(query, safe="=&,;.{}:-_%")


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, names) for name, item in value.items()}
    return value


CASES: dict[Route, list[Case]] = {
    ("GET", "/memories/search"): [
        Case("/memories/search?query={text}&top_k=50&explain=true"),
        Case("/memories/search?query={text}&mode=keyword"),
        Case("/memories/search?query={text}&mode=semantic&consistency=strong"),
        Case("/memories/search?query={text}&prefix={coord}"),
        Case("/memories/search?query={text}&key_prefix=vault"),
        Case("/memories/search?query={text}&near={coord}&radius=10"),
        Case('/memories/search?query={text}&filters={"id":"{id}"}'),
    ],
    ("POST", "/memories/search"): [
        Case("/memories/search", {"query": "{text}", "top_k": 200, "explain": True}),
        Case("/memories/search", {"query": "{text}", "namespace": ["default", "n"], "consistency": "strong"}),
        Case("/memories/search", {"query": "{text}", "mode": "keyword", "offset": 1}),
        Case("/memories/search", {"query": "{text}", "filters": {"AND": [{"tag": "x"}, {"metadata.tenant": "acme"}]}}),
        Case("/memories/search", {"query": "{text}", "weights": {"importance": 1}}),
        Case("/memories/search", {"query": "{text}", "expand": {"hops": 3}, "explain": True}),
        Case("/memories/search", {"query": "{text}", "namespace_prefix": "n", "user_id": "acme"}),
    ],
    ("GET", "/memories/map"): [
        Case("/memories/map"),
        Case("/memories/map?depth=2&limit=1"),
        Case("/memories/map?prefix={coord}&axes=0,1"),
        Case("/memories/map?namespace=n&axes=0,2&box=-10,-10;10,10&resolution=4"),
    ],
    ("GET", "/memories"): [
        Case("/memories?limit=1000&include_deleted=true"),
        Case("/memories?namespace=n"),
        Case("/memories?prefix={coord}"),
        Case("/memories?key_prefix=vault"),
        Case("/memories?near={coord}&radius=10&limit=1"),
        Case("/memories?box=-10,-10,-10;10,10,10"),
        Case("/memories?cursor={cursor}"),
        Case("/memories?cursor={time_cursor}&order=created_at"),
        Case("/memories?near={coord}&radius=10&limit=1&cursor={near_cursor}"),
    ],
    ("POST", "/memories/bulk/get"): [
        Case("/memories/bulk/get", {"coords": ["{coord}", "{deleted}", "9,9,9"]}),
        Case("/memories/bulk/get", {"coords": ["{coord}"], "namespace": "n"}),
        Case("/memories/bulk/get", {"ids": ["{id}", "6f1c1f0e-0000-4000-8000-000000000001"]}),
        Case("/memories/bulk/get", {"keys": ["{key}", "none"]}),
    ],
    ("GET", "/memories/{coord}"): [
        Case("/memories/{coord}"),
        Case("/memories/{coord}?namespace=n"),
        Case("/memories/{deleted}"),
        Case("/memories/{expired}"),
    ],
    ("PATCH", "/memories/{coord}"): [
        Case("/memories/{coord}", {"payload": {"text": "mine now"}}),
        Case("/memories/{coord}?namespace=n", {"expires_at": None}),
    ],
    ("GET", "/memories/by-key/{key}"): [Case("/memories/by-key/{key}"), Case("/memories/by-key/{key}?namespace=n")],
    ("PATCH", "/memories/by-key/{key}"): [Case("/memories/by-key/{key}", {"payload": {"text": "mine now"}})],
    ("GET", "/memories/by-id/{id}"): [Case("/memories/by-id/{id}"), Case("/memories/by-id/{deleted_id}")],
    ("PATCH", "/memories/by-id/{id}"): [
        Case("/memories/by-id/{id}", {"payload": {"text": "mine now"}}),
        Case("/memories/by-id/{id}", {"supersedes": [{"id": "{deleted_id}"}]}),
    ],
    ("GET", "/memories/by-id/{id}/links"): [Case("/memories/by-id/{id}/links?include_memory=true")],
    ("POST", "/memories/by-id/{id}/restore"): [
        Case("/memories/by-id/{deleted_id}/restore"),
        Case("/memories/by-id/{id}/restore"),
    ],
    ("POST", "/memories/restore"): [
        Case("/memories/restore", {"key": "{key}"}),
        Case("/memories/restore", {"id": "{deleted_id}"}),
        Case("/memories/restore", {"coord": "{deleted}"}),
    ],
    ("POST", "/memories/{coord}/restore"): [
        Case("/memories/{deleted}/restore"),
        Case("/memories/{coord}/restore"),
        Case("/memories/{coord}/restore?version=1"),
    ],
    ("GET", "/memories/{coord}/history"): [
        Case("/memories/{coord}/history?limit=1"),
        Case("/memories/{coord}/history?namespace=n"),
        Case("/memories/{deleted}/history"),
    ],
    ("GET", "/memories/history"): [
        Case("/memories/history?key={key}"),
        Case("/memories/history?key={key}&namespace=n"),
    ],
    ("GET", "/memories/by-id/{id}/history"): [Case("/memories/by-id/{id}/history")],
    ("GET", "/conversations"): [
        Case("/conversations?q=vault&folder=/vault&label=Vault&status=pinned"),
        Case("/conversations?page=1&page_size=200&pinned=true&archived=false"),
        Case("/conversations?limit=1&cursor={conversations_cursor}"),
    ],
    ("GET", "/conversations/count"): [Case("/conversations/count?label=Vault&folder=/vault")],
    ("GET", "/conversations/deleted"): [Case("/conversations/deleted"), Case("/conversations/deleted?limit=1")],
    ("POST", "/conversations/{id}/restore"): [
        Case("/conversations/{deleted_conversation}/restore"),
        Case("/conversations/{conversation}/restore"),
    ],
    ("GET", "/conversations/{id}"): [Case("/conversations/{conversation}")],
    ("GET", "/conversations/by-external-id/{external_id}"): [Case("/conversations/by-external-id/vault")],
    ("GET", "/conversations/by-external-id/{external_id}/messages"): [
        Case("/conversations/by-external-id/vault/messages")
    ],
    ("GET", "/conversations/{id}/messages"): [Case("/conversations/{conversation}/messages?limit=1")],
    ("POST", "/query"): [
        Case("/query", {"query": "{text}"}),
        Case("/query", {"query": "{text}", "limit": 1000, "filters": {"folder": "/vault", "status": "pinned"}}),
        Case("/query", {"query": "{text}", "filters": {"conversation_id": "{conversation}", "role": "user"}}),
        Case("/query", {"query": "{text}", "filters": {"OR": [{"label": "Vault"}, {"metadata.tenant": "acme"}]}}),
    ],
    ("POST", "/query/smart"): [Case("/query/smart", {"query": "{text}", "limit": None, "offset": None})],
    ("POST", "/search/fts"): [
        Case("/search/fts", {"query": "aardvark"}),
        Case("/search/fts", {"query": '"sleeps in the vault" -bread'}),
    ],
    ("POST", "/context/assemble"): [
        Case("/context/assemble", {"query": "{text}", "preferred_labels": ["Vault"], "context_budget": 1000000}),
        Case(
            "/context/assemble?manifest=true",
            {"query": "{text}", "excluded_folders": ["/vault"], "as_of": "2026-01-01T00:00:00Z"},
        ),
        Case(
            "/context/assemble",
            {
                "query": "{text}",
                "namespaces": ["vault", "facts"],
                "filters": {"metadata.tenant": "acme"},
                "min_relevance": 0,
            },
        ),
    ],
    ("POST", "/labels/suggest"): [Case("/labels/suggest", {"conversation_id": "{conversation}"})],
    ("POST", "/conversations/{id}/suggest-labels"): [Case("/conversations/{conversation}/suggest-labels")],
    ("GET", "/proposals"): [Case("/proposals"), Case("/proposals?state=accepted&limit=1")],
    ("POST", "/proposals/{id}/accept"): [Case("/proposals/{proposal}/accept")],
    ("POST", "/proposals/{id}/reject"): [Case("/proposals/{proposal}/reject")],
    ("POST", "/proposals/{id}/undo"): [Case("/proposals/{proposal}/undo"), Case("/proposals/{accepted}/undo")],
    ("POST", "/prune/dry-run"): [Case("/prune/dry-run", {"threshold_days": 0, "importance_threshold": 10})],
    ("GET", "/prune/suggestions"): [Case("/prune/suggestions?threshold_days=0&importance_threshold=10")],
    ("GET", "/export"): [
        Case("/export?label=Vault&folder=/vault"),
        Case("/export?format=jsonl"),
        Case("/export?format=markdown"),
    ],
    ("POST", "/summarize"): [
        Case("/summarize", {"conversation_id": "{conversation}", "level": "monthly"}),
    ],
    ("POST", "/conversations/{id}/summary"): [Case("/conversations/{conversation}/summary?level=weekly")],
    ("GET", "/conversations/{id}/facts"): [Case("/conversations/{conversation}/facts?limit=1")],
    ("POST", "/conversations/{id}/facts"): [Case("/conversations/{conversation}/facts")],
    ("POST", "/messages/{id}/importance"): [Case("/messages/{message}/importance")],
    ("POST", "/prune/execute"): [Case("/prune/execute", {"conversation_ids": ["{conversation}"]})],
    ("GET", "/upkeep"): [Case("/upkeep")],
    ("PATCH", "/upkeep"): [Case("/upkeep", {"active_days": 1, "archived_days": 0, "pruning": {"mode": "archive"}})],
    ("POST", "/prune/undo"): [Case("/prune/undo", {"conversation_ids": ["{conversation}"]})],
    ("PATCH", "/conversations/{id}"): [Case("/conversations/{conversation}", {"label": "mine now"})],
    ("POST", "/conversations/{id}/messages"): [
        Case("/conversations/{conversation}/messages", {"messages": [{"role": "user", "content": "{text}"}]})
    ],
    ("PUT", "/conversations/by-external-id/{external_id}"): [
        Case("/conversations/by-external-id/vault", {"label": "mine"})
    ],
    ("POST", "/conversations/by-external-id/{external_id}/messages"): [
        # Not {text}: the previous case created a conversation that belongs to the caller, so the response contains its
        # text
        Case("/conversations/by-external-id/vault/messages", {"messages": [{"role": "user", "content": "mine"}]})
    ],
    ("PUT", "/conversations/{id}/label"): [Case("/conversations/{conversation}/label", {"label": "mine"})],
    ("PUT", "/conversations/{id}/folder"): [Case("/conversations/{conversation}/folder", {"folder": "/mine"})],
    ("PUT", "/conversations/{id}/status"): [Case("/conversations/{conversation}/status", {"status": "active"})],
    ("PUT", "/conversations/{id}/pin"): [Case("/conversations/{conversation}/pin")],
    ("PUT", "/conversations/{id}/archive"): [Case("/conversations/{conversation}/archive")],
    ("DELETE", "/conversations/{id}"): [
        Case("/conversations/{conversation}"),
        Case("/conversations/{conversation}?purge=true"),
    ],
    ("GET", "/stats"): [Case("/stats")],
    ("GET", "/namespaces"): [Case("/namespaces"), Case("/namespaces?prefix=n&depth=1")],
    ("GET", "/graph/neighbors"): [
        Case("/graph/neighbors?coord={coord}&k_hop=5&direction=both&include_memory=true&limit=1000"),
        Case("/graph/neighbors?coord={deleted}&direction=in&namespace=n"),
        Case("/graph/neighbors?key={key}&direction=both"),
        Case("/graph/neighbors?id={id}"),
        Case("/graph/neighbors?coord={expired}&direction=in&link_type=follows,related&min_strength=0.1"),
    ],
    ("GET", "/graph/path"): [
        Case("/graph/path?from_coord={coord}&to_coord={expired}"),
        Case("/graph/path?from_coord={coord}&to_coord={expired}&direction=both&weighted=true&max_length=20"),
        Case("/graph/path?from_key={key}&to_id={id}"),
    ],
    ("GET", "/graph/export"): [
        Case("/graph/export"),
        Case("/graph/export?format=graphml&prefix={coord}"),
        Case("/graph/export?coords={coord}"),
        Case("/graph/export?namespace=n"),
    ],
    ("DELETE", "/graph/link"): [
        Case("/graph/link?from_coord={coord}&to_coord={deleted}"),
        Case("/graph/link?from_coord={coord}&to_coord={deleted}&namespace=n&link_type=follows"),
        Case("/graph/link?from_key={key}&to_id={id}"),
    ],
    ("POST", "/graph/link"): [
        Case("/graph/link", {"from_coord": "{coord}", "to_coord": "{deleted}", "metadata": {"tenant": "acme"}}),
        Case("/graph/link", {"from_coord": "{deleted}", "to_coord": "{expired}", "namespace": "n", "strength": 0.5}),
        Case("/graph/link", {"from_key": "{key}", "to_id": "{id}"}),
    ],
    ("POST", "/graph/links/bulk"): [
        Case("/graph/links/bulk", {"links": [{"from_coord": "{coord}", "to_coord": "{expired}"}, {"from_coord": "x"}]}),
        Case("/graph/links/bulk", {"links": [{"from_coord": "{coord}", "to_coord": "5"}], "atomic": True}),
        Case("/graph/links/bulk", {"links": [{"from_key": "{key}", "to_id": "{id}"}]}),
    ],
    ("DELETE", "/memories/{coord}"): [
        Case("/memories/{coord}"),
        Case("/memories/{coord}?purge=true"),
        Case("/memories/{deleted}?purge=true"),
        Case("/memories/{coord}?namespace=n"),
    ],
    ("DELETE", "/memories/by-key/{key}"): [Case("/memories/by-key/{key}"), Case("/memories/by-key/{key}?purge=true")],
    ("DELETE", "/memories/by-id/{id}"): [
        Case("/memories/by-id/{id}"),
        Case("/memories/by-id/{id}?purge=true"),
        Case("/memories/by-id/{deleted_id}?purge=true"),
    ],
    ("POST", "/memories/bulk/delete"): [
        Case("/memories/bulk/delete", {"coords": ["{coord}", "{deleted}"]}),
        Case("/memories/bulk/delete", {"ids": ["{id}"]}),
        Case("/memories/bulk/delete", {"keys": ["{key}"], "namespace": "n"}),
    ],
    ("POST", "/memories/delete"): [
        Case("/memories/delete", {"filters": {"metadata.tenant": "acme"}, "dry_run": True}),
        Case("/memories/delete", {"filters": {"metadata.tenant": "acme"}}),
        Case("/memories/delete", {"namespace_prefix": "n", "all": True}),
    ],
    ("POST", "/namespaces/rename"): [Case("/namespaces/rename", {"namespace": "n", "to": "taken", "merge": True})],
    ("POST", "/namespaces/delete"): [
        Case("/namespaces/delete", {"namespace": "n"}),
        Case("/namespaces/delete", {"namespace": "n", "below": True, "purge": True}),
    ],
    ("POST", "/import"): [
        Case("/import", [{"id": "{conversation}", "messages": [{"role": "user", "content": "mine"}]}]),
        Case("/import?source=soma&dry_run=true", [{"id": "{conversation}"}]),
    ],
    ("POST", "/conversations"): [
        Case(
            "/conversations", {"label": "Vault", "folder": "/vault", "messages": [{"role": "user", "content": "mine"}]}
        )
    ],
    ("PUT", "/memories/by-key/{key}"): [
        Case("/memories/by-key/{key}", {"coord": "{coord}", "payload": {"text": "{text}"}})
    ],
    ("POST", "/memories"): [
        Case("/memories", {"key": "{key}", "payload": {"text": "{text}"}}),
        Case("/memories", {"coord": "{coord}", "payload": {"text": "{text}"}}),
        Case("/memories", {"coord": "{deleted}", "payload": {"text": "{text}"}, "namespace": "n"}),
    ],
    ("POST", "/memories/bulk"): [
        Case("/memories/bulk", {"items": [{"coord": "{coord}", "payload": {}}, {"coord": "x", "payload": {}}]}),
        Case("/memories/bulk", {"items": [{"coord": "{expired}", "payload": {}}], "atomic": True}),
        Case("/memories/bulk", {"items": [{"coord": "8", "payload": {}, "supersedes": [{"id": "{id}"}]}]}),
        Case("/memories/bulk", {"items": [{"coord": "8", "payload": {}, "supersedes": [{"key": "{key}"}]}]}),
    ],
    ("POST", "/tenants"): [Case("/tenants", {"slug": "{slug}"}), Case("/tenants", {"slug": "new"})],
    ("GET", "/tenants"): [Case("/tenants")],
    ("GET", "/tenants/{slug}"): [Case("/tenants/{slug}"), Case("/tenants/nobody")],
    ("PATCH", "/tenants/{slug}"): [Case("/tenants/{slug}", {"active": False})],
    ("DELETE", "/tenants/{slug}"): [Case("/tenants/{slug}")],
    ("GET", "/tenants/{slug}/usage"): [Case("/tenants/{slug}/usage")],
    ("GET", "/tenants/{slug}/audit"): [Case("/tenants/{slug}/audit?actor=command&limit=1")],
    ("GET", "/tenants/{slug}/export"): [Case("/tenants/{slug}/export")],
    ("POST", "/tenants/{slug}/keys/{prefix}/rotate"): [Case("/tenants/{slug}/keys/{prefix}/rotate", {})],
    ("POST", "/tenants/{slug}/keys"): [Case("/tenants/{slug}/keys", {})],
    ("GET", "/tenants/{slug}/keys"): [Case("/tenants/{slug}/keys")],
    ("DELETE", "/tenants/{slug}/keys/{prefix}"): [Case("/tenants/{slug}/keys/{prefix}")],
    ("POST", "/rebuild-embeddings"): [Case("/rebuild-embeddings", {"provider": "hashing", "dimension": 8})],
    ("GET", "/jobs/{id}"): [Case("/jobs/6f1c1f0e-0000-4000-8000-000000000001")],
    ("GET", "/ping"): [Case("/ping")],
    ("GET", "/healthz"): [Case("/healthz")],
    ("GET", "/readyz"): [Case("/readyz")],
    ("GET", "/health"): [Case("/health")],
    ("GET", "/metrics"): [Case("/metrics")],
}

"""The explorer: memories on a map, with search and links. It uses the same selectors as the API's routes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

import graph.selectors
from api.graph.presenters import coordinate_text
from api.map.routes import density
from api.map.schemas import MapParams
from api.memories.presenters import memory as present_memory
from api.search.presenters import hit as present_hit
from console import staff
from console.admin.memories import link
from console.json_views import json_view, memory_id, require_memories
from console.site import site
from console.validation import validated
from memories import density_map, selectors
from memories.search import hybrid
from somamemory.errors import InvalidInput, SomaError
from tenants.caller import Caller

HITS = 30
_NOT_THE_MAPS = {"tenant"}


def page(request: HttpRequest) -> HttpResponse:
    """Show the map for one tenant and namespace. `at` is the initial coordinate."""
    require_memories(request)
    try:
        tenant = staff.chosen_tenant(request)
    except SomaError:
        tenant = None
    namespaces = selectors.namespaces(staff.caller(request, tenant)) if tenant else []
    namespace = staff.chosen_namespace(request, namespaces)
    context = {
        **site.each_context(request),
        "title": "Explorer",
        "tenant": tenant,
        "tenants": staff.slugs(request.user),
        "namespaces": namespaces if namespace in namespaces else [*namespaces, namespace],
        "namespace": namespace,
        "at": request.GET.get("at", ""),
        "urls": {name: reverse(f"admin:explorer_{name}") for name in ("map", "search", "memory")},
    }
    return TemplateResponse(request, "console/explorer.html", context)


@json_view
def map_cells(request: HttpRequest, caller: Caller) -> Any:
    given = {name: value for name, value in request.GET.items() if name not in _NOT_THE_MAPS and value}
    return density(caller, validated(MapParams, given))


@json_view
def search(request: HttpRequest, caller: Caller) -> Any:
    words = request.GET.get("q", "").strip()
    if not 1 <= len(words) <= 8192 or "\0" in words:
        raise InvalidInput("q", "must be 1 to 8192 characters long and must not contain NUL")
    namespace = request.GET.get("namespace", "default")
    query = hybrid.Search(words, namespaces=(namespace,), top_k=HITS, explain=True, shown=False)
    results = hybrid.search(caller, query)
    return {
        "memories": [present_hit(hit) for hit in results.hits],
        "degraded": results.degraded,
        "took_ms": results.took_ms,
    }


@json_view
def memory(request: HttpRequest, caller: Caller) -> Any:
    row = selectors.inspect(caller, memory_id(request))
    around = graph.selectors.network(caller, row.namespace, row.coordinate)
    return {"memory": present_memory(row), "link": link(caller.tenant.slug, row.id), "network": _network(around)}


def _network(network: graph.selectors.Network) -> Any:
    nodes = [
        {
            "coord": coordinate_text(key),
            "hops": hops,
            "id": str(row.id) if row else None,
            "text": density_map.excerpt(row) if row else "",
        }
        for key, hops, row in network.nodes
    ]
    links = [
        {"from": link.start.text, "to": link.end.text, "link_type": link.link_type, "strength": link.strength}
        for link in network.links
    ]
    return {"nodes": nodes, "links": links, "truncated": network.truncated}

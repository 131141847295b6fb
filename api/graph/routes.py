"""Routes for the graph: links, neighbours, paths, export."""

from __future__ import annotations

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Path, Query

from api import bulk, throttle
from api.graph import named_links, presenters
from api.graph.schemas import (
    BulkLinkBody,
    BulkLinkedOut,
    ExportOut,
    ExportParams,
    HopParams,
    LinkOut,
    NamedLinkBody,
    NeighborParams,
    NeighborsOut,
    PathOut,
    PathParams,
    UnlinkedOut,
    UnlinkParams,
)
from api.json import PRIVATE, reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from graph import exporting, selectors, services
from graph.services import NewLink
from memories import lookup
from memories.coordinates import Coordinate
from somamemory.errors import SomaError

GRAPHML = "application/graphml+xml"
router = PolicyRouter("graph")


@router.post("/graph/link", out=LinkOut, limited=True)
def link(request: Request, body: NamedLinkBody) -> HttpResponse:
    """Link two addresses, replacing any link of the same type. The addresses need not contain memories.

    A key or an id refers to the coordinate of its memory.
    """
    return reply(
        presenters.linked(
            services.link(request.caller, named_links.new_link(body, *named_links.ends(request.caller, body)))
        )
    )


@router.post("/graph/links/bulk", out={200: BulkLinkedOut, 207: BulkLinkedOut}, limited=True)
def link_bulk(request: Request, body: BulkLinkBody) -> HttpResponse:
    """Create up to 1,000 links. With `atomic`, create all or none; otherwise, create every valid link."""
    caller = request.caller
    throttle.charge(request, len(body.links), per=50)
    items = named_links.new_links(caller, [bulk.parsed(raw, NamedLinkBody, named_links.named) for raw in body.links])
    if body.atomic:
        bulk.require_all(items, "links", "")
    valid = [item for item in items if isinstance(item, NewLink)]
    linked = iter(services.link_many(caller, valid) if valid else [])
    results = [
        bulk.failed(index, item) if isinstance(item, SomaError) else presenters.bulk_linked(index, next(linked))
        for index, item in enumerate(items)
    ]
    failed = len(items) - len(valid)
    return reply({"results": results, "stored": len(valid), "failed": failed}, 207 if failed else 200)


@router.delete("/graph/link", out=UnlinkedOut, limited=True)
def unlink(request: Request, query: Query[UnlinkParams]) -> HttpResponse:
    """Remove a link."""
    deleted = services.unlink(
        request.caller, query.namespace, *named_links.ends(request.caller, query), query.link_type
    )
    return reply({"deleted": deleted})


@router.get("/graph/neighbors", out=NeighborsOut, kind="search", limited=True)
def neighbors(request: Request, query: Query[NeighborParams]) -> HttpResponse:
    """List the coordinates within `k_hop` hops, sorted by number of hops, then link strength, then coordinate."""
    start = lookup.coordinate(request.caller, query.namespace, query.start())
    return _neighbourhood(request, query.namespace, start, query)


@router.get("/memories/by-id/{id}/links", out=NeighborsOut, kind="search", limited=True)
def neighbors_by_id(request: Request, id: Path[Id], query: Query[HopParams]) -> HttpResponse:
    """List the coordinates within `k_hop` hops of a memory, in its namespace."""
    start = lookup.place(request.caller, None, id)
    return _neighbourhood(request, start.namespace, start.coordinate, query)


@router.get("/graph/path", out=PathOut, kind="search", limited=True)
def path(request: Request, query: Query[PathParams]) -> HttpResponse:
    """Find the path with the fewest hops or, with `weighted`, the path with the lowest cost.

    The cost of a hop is 1.01 minus the link's strength.
    """
    start, goal = named_links.ends(request.caller, query)
    shortest = selectors.shortest_path(
        request.caller,
        query.namespace,
        start,
        goal,
        query.link_filter(),
        max_length=query.max_length,
        weighted=query.weighted,
    )
    return reply(presenters.path(start, goal, shortest))


@router.get(
    "/graph/export",
    out=ExportOut,
    openapi_extra={"responses": {200: {"content": {GRAPHML: {"schema": {"type": "string"}}}}}},
    kind="search",
    long=True,
    limited=True,
)
def export(request: Request, query: Query[ExportParams]) -> StreamingHttpResponse:
    """Export the links in a namespace.

    With `prefix`, export only links within that subtree; with `coords`, only links that begin or end at one of them.
    The format is GraphML, or JSON that `POST /graph/links/bulk` accepts.
    """
    graph = selectors.subgraph(request.caller, query.namespace, query.prefix, query.coords or ())
    if query.format == "graphml":
        return StreamingHttpResponse(exporting.graphml(graph), content_type=GRAPHML, headers=PRIVATE)
    return StreamingHttpResponse(exporting.json(graph), content_type="application/json", headers=PRIVATE)


def _neighbourhood(request: Request, namespace: str, start: Coordinate, query: HopParams) -> HttpResponse:
    throttle.charge(request, query.offset + query.limit, per=100)
    neighbourhood = selectors.neighbours(
        request.caller,
        namespace,
        start,
        query.link_filter(),
        hops=query.k_hop,
        limit=query.limit,
        offset=query.offset,
        include_memory=query.include_memory,
    )
    return reply(presenters.neighbourhood(start, neighbourhood))

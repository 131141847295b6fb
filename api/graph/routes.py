"""Routes for the graph: links, neighbours, paths, export."""

from __future__ import annotations

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Query

from api import bulk, throttle
from api.graph import presenters
from api.graph.schemas import (
    BulkLinkBody,
    BulkLinkedOut,
    ExportOut,
    ExportParams,
    LinkBody,
    LinkOut,
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
from graph import exporting, selectors, services
from graph.services import NewLink
from somamemory.errors import SomaError

GRAPHML = "application/graphml+xml"
router = PolicyRouter("graph")


@router.post("/graph/link", out=LinkOut, limited=True)
def link(request: Request, body: LinkBody) -> HttpResponse:
    """Link two coordinates, replacing any link of the same type. The coordinates need not contain memories."""
    return reply(presenters.linked(services.link(request.caller, new_link(body))))


@router.post("/graph/links/bulk", out={200: BulkLinkedOut, 207: BulkLinkedOut}, limited=True)
def link_bulk(request: Request, body: BulkLinkBody) -> HttpResponse:
    """Create up to 1000 links. With `atomic`, creates all or none; otherwise, creates every valid link."""
    caller = request.caller
    throttle.charge(request, len(body.links), per=50)
    items = [bulk.parsed(raw, LinkBody, lambda item: services.checked(caller, new_link(item))) for raw in body.links]
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
    deleted = services.unlink(request.caller, query.namespace, query.from_coord, query.to_coord, query.link_type)
    return reply({"deleted": deleted})


@router.get("/graph/neighbors", out=NeighborsOut, kind="search", limited=True)
def neighbors(request: Request, query: Query[NeighborParams]) -> HttpResponse:
    """List the coordinates within `k_hop` hops, sorted by number of hops, then link strength, then coordinate."""
    throttle.charge(request, query.offset + query.limit, per=100)
    neighbourhood = selectors.neighbours(
        request.caller,
        query.namespace,
        query.coord,
        query.link_filter(),
        hops=query.k_hop,
        limit=query.limit,
        offset=query.offset,
        include_memory=query.include_memory,
    )
    return reply(presenters.neighbourhood(query.coord, neighbourhood))


@router.get("/graph/path", out=PathOut, kind="search", limited=True)
def path(request: Request, query: Query[PathParams]) -> HttpResponse:
    """Find the path with the fewest steps or, with `weighted`, the cheapest path. A step costs 1 - strength + 0.01."""
    shortest = selectors.shortest_path(
        request.caller,
        query.namespace,
        query.from_coord,
        query.to_coord,
        query.link_filter(),
        max_length=query.max_length,
        weighted=query.weighted,
    )
    return reply(presenters.path(query.from_coord, query.to_coord, shortest))


@router.get(
    "/graph/export",
    out=ExportOut,
    openapi_extra={"responses": {200: {"content": {GRAPHML: {"schema": {"type": "string"}}}}}},
    kind="search",
    long=True,
    limited=True,
)
def export(request: Request, query: Query[ExportParams]) -> StreamingHttpResponse:
    """Export the links of a namespace or subtree (`prefix`), as JSON for `/graph/links/bulk` or as GraphML."""
    graph = selectors.subgraph(request.caller, query.namespace, query.prefix)
    if query.format == "graphml":
        return StreamingHttpResponse(exporting.graphml(graph), content_type=GRAPHML, headers=PRIVATE)
    return StreamingHttpResponse(exporting.json(graph), content_type="application/json", headers=PRIVATE)


def new_link(body: LinkBody) -> NewLink:
    return NewLink(
        start=body.from_coord,
        end=body.to_coord,
        link_type=body.link_type,
        strength=body.strength,
        namespace=body.namespace,
        metadata=body.metadata,
        valid_from=body.valid_from,
        valid_to=body.valid_to,
    )

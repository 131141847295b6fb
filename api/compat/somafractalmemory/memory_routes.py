"""SomaFractalMemory's routes for memories, searches and the graph. Successful requests always return 200."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpResponse
from ninja import Path

from api.compat.changes import changes_of
from api.compat.lenient import Json, LenientRouter, known, parameters_of, valid
from api.graph import routes as graph
from api.graph.schemas import NamedLinkBody, NeighborParams, PathParams
from api.json import JsonObject
from api.memories import routes
from api.memories.schemas import DeleteParams, FetchParams, StoreBody
from api.request import Request
from api.schemas import CoordText
from api.search import routes as search_routes
from api.search.schemas import SearchBody, SearchParams

# Distinguishes these routes from ours, whose policies are listed without /api/v1.
ROOT = "root:"
router = LenientRouter("somafractalmemory", prefix=ROOT)
MAX_RESULTS = 200


@router.get("/memories/search", out=None, kind="search", limited=True)
def search_by_query(request: Request) -> HttpResponse:
    query = known(parameters_of(request), SearchParams, changes_of(request))
    return search_routes.search_by_query(request, valid(SearchParams, _limited(request, query)))


@router.post("/memories/search", out=None, kind="search", limited=True)
def search(request: Request, body: Json) -> HttpResponse:
    query = known(_given(body), SearchBody, changes_of(request))
    return search_routes.search(request, valid(SearchBody, _limited(request, query)))


@router.post("/memories", out=None, conditional=True, limited=True)
def store(request: Request, body: Json) -> HttpResponse:
    stored = known(_given(body), StoreBody, changes_of(request))
    return _ok(routes.store(request, valid(StoreBody, stored)))


@router.get("/memories/{coord}", out=None, conditional=True, limited=True)
def fetch(request: Request, coord: Path[CoordText]) -> HttpResponse:
    query = valid(FetchParams, known(parameters_of(request), FetchParams, changes_of(request)))
    return routes.fetch(request, coord, query)


@router.delete("/memories/{coord}", out=None, conditional=True, limited=True)
def delete(request: Request, coord: Path[CoordText]) -> HttpResponse:
    """Delete a memory. If it does not exist, the response contains `deleted: false`."""
    query = valid(DeleteParams, known(parameters_of(request), DeleteParams, changes_of(request)))
    return routes.delete(request, coord, query)


@router.post("/graph/link", out=None, limited=True)
def link(request: Request, body: Json) -> HttpResponse:
    return graph.link(request, valid(NamedLinkBody, known(_given(body), NamedLinkBody, changes_of(request))))


@router.get("/graph/neighbors", out=None, kind="search", limited=True)
def neighbors(request: Request) -> HttpResponse:
    query = known(parameters_of(request), NeighborParams, changes_of(request))
    return graph.neighbors(request, valid(NeighborParams, query))


@router.get("/graph/path", out=None, kind="search", limited=True)
def path(request: Request) -> HttpResponse:
    return graph.path(request, valid(PathParams, known(parameters_of(request), PathParams, changes_of(request))))


def _given(body: JsonObject) -> JsonObject:
    """Return the fields that are not null; null means the default."""
    return {name: value for name, value in body.items() if value is not None}


def _limited(request: Request, query: JsonObject) -> JsonObject:
    top_k = query.get("top_k")
    number = int(top_k) if isinstance(top_k, str) and top_k.isdecimal() and len(top_k) < 10 else top_k
    if isinstance(number, int) and number > MAX_RESULTS:
        changes_of(request).note("top_k", f"reduced to {MAX_RESULTS}")
        return {**query, "top_k": str(MAX_RESULTS) if isinstance(top_k, str) else MAX_RESULTS}
    return query


def _ok(response: HttpResponse) -> HttpResponse:
    response.status_code = HTTPStatus.OK
    return response

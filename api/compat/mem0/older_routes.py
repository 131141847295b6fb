"""mem0 platform routes that only older clients call (Python before 2.0, TypeScript before 3.0).

They do the same as the current routes. Lists are arrays or, if `output_format` is v1.1, objects that contain `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.changes import changes_of
from api.compat.layer import CompatRouter
from api.compat.mem0 import presenters, reading, routes
from api.compat.mem0.schemas import (
    MAX_PAGE_SIZE,
    EntityKind,
    OlderAddBody,
    OlderListParams,
    OlderPageParams,
    OwnedListBody,
    OwnedSearchBody,
)
from api.json import JsonObject, reply
from api.request import Request, absolute_url
from somamemory.errors import InvalidInput

# Mounted before `routes`, where `search` in /v1/memories/search/ would be parsed as a memory id.
router = CompatRouter("mem0older", prefix=routes.PREFIX)


@router.post("/v1/memories/search/", out=None, kind="search", limited=True)
def search(request: Request, body: OwnedSearchBody) -> HttpResponse:
    return _search_response(request, body)


@router.post("/v2/memories/search/", out=None, kind="search", limited=True)
def search_with_filters(request: Request, body: OwnedSearchBody) -> HttpResponse:
    return _search_response(request, body)


@router.post("/v2/memories/", out=None, kind="read", limited=True)
def list_with_filters(request: Request, query: Query[OlderPageParams], body: OwnedListBody) -> HttpResponse:
    body.accept(changes_of(request))
    return _list_response(request, body.all_filters, query, body.output_format)


# Other methods for this path are in `routes`.
@routes.router.get("/v1/memories/", out=None, limited=True)
def list_memories(request: Request, query: Query[OlderListParams]) -> HttpResponse:
    return _list_response(request, query.owners, query, query.output_format)


@routes.router.get("/v1/memories/{kind}/{text:name}/", out=None, limited=True)
def list_of_entity(request: Request, kind: EntityKind, name: str, query: Query[OlderListParams]) -> HttpResponse:
    return _list_response(request, {f"{kind}_id": name}, query, query.output_format)


@routes.router.post("/v1/memories/", out=None, limited=True)
def add(request: Request, body: OlderAddBody) -> HttpResponse:
    added = routes.added(request, body)
    results = [{"memory": presenters.text(memory), **presenters.addition(memory)} for memory in added.memories]
    return _formatted(results or [added.event], body.output_format)


def _search_response(request: Request, body: OwnedSearchBody) -> HttpResponse:
    changes = changes_of(request)
    body.accept(changes)
    throttle.charge(request, body.top_k, per=100)
    hits = reading.search(request.caller, body, changes).hits
    return _formatted([presenters.hit(hit, body.fields) for hit in hits], body.output_format)


def _list_response(
    request: Request, filters: Mapping[str, object], query: OlderPageParams, output_format: str | None
) -> HttpResponse:
    """Return the requested page or, without one, all memories. Raises InvalidInput if there are more than 1,000."""
    number, size = query.page or 1, query.page_size or 100
    is_page = query.page is not None or query.page_size is not None
    throttle.charge(request, size if is_page else MAX_PAGE_SIZE, per=100)
    page = reading.page(request.caller, filters, number, size if is_page else MAX_PAGE_SIZE)
    items = [presenters.memory(memory) for memory in page.items]
    if is_page:
        parameters = {name: value for name, value in request.GET.items() if name not in ("page", "page_size")}
        url = absolute_url(request, request.path) + (f"?{urlencode(parameters)}" if parameters else "")
        return reply(presenters.page(page.count, items, url, number, size))
    if page.count > MAX_PAGE_SIZE:
        raise InvalidInput("page_size", f"there are more than {MAX_PAGE_SIZE:,} memories; send page and page_size")
    return _formatted(items, output_format)


def _formatted(results: list[JsonObject], output_format: str | None) -> HttpResponse:
    return reply({"results": results} if output_format == "v1.1" else results)

"""Routes for semantic and keyword search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.http import HttpResponse
from ninja import Query

from api import filter_text, throttle
from api.json import reply
from api.memories.schemas import ball
from api.request import Request
from api.routing import PolicyRouter
from api.search import presenters
from api.search.schemas import ExpandBody, SearchBody, SearchOut, SearchParams
from graph.search_expansion import Neighbourhood
from memories import filters, lookup
from memories.filters import Filter
from memories.search import as_of
from memories.search.query import Search
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput

router = PolicyRouter("search")


@router.get("/memories/search", out=SearchOut, exclude_unset=True, kind="search", limited=True)
def search_by_query(request: Request, query: Query[SearchParams]) -> HttpResponse:
    """Search memories. `filters` is JSON text."""
    return _run(request, _search(query, [query.namespace], filter_text.parse(query.filters)))


@router.post("/memories/search", out=SearchOut, kind="search", limited=True)
def search(request: Request, body: SearchBody) -> HttpResponse:
    """Search memories."""
    return _run(request, search_of(body))


def search_of(body: SearchBody) -> Search:
    """Convert a request body to a `Search`. Raises InvalidInput if options or filters are not valid."""
    namespaces = [body.namespace] if isinstance(body.namespace, str) else body.namespace
    if body.expand and body.as_of is not None:
        raise InvalidInput("expand", "cannot be combined with as_of; send only one of them")
    return replace(
        _search(body, namespaces, None if body.filters is None else filters.parse(body.filters)),
        weights=body.weights.model_dump(exclude_none=True),
        expansion=_expansion(body.expand) if body.expand else None,
    )


def _run(request: Request, search: Search) -> HttpResponse:
    conditions = search.narrowing.filters
    throttle.charge(request, len(filters.leaves(conditions)) if conditions else 0, per=10)
    throttle.charge(request, search.offset + search.top_k, per=100)
    return reply(presenters.results(as_of.search(request.caller, search), search.mode))


def _search(options: SearchBody | SearchParams, namespaces: Sequence[str], conditions: Filter | None) -> Search:
    if options.include_superseded and options.valid_at is not None:
        raise InvalidInput("valid_at", "cannot be combined with include_superseded; send only one of them")
    options.check_namespace()
    return Search(
        query=options.query,
        namespaces=tuple(namespaces),
        namespace_prefix=options.namespace_prefix,
        narrowing=Narrowing(
            memory_type=options.memory_type,
            filters=conditions,
            prefix=options.prefix,
            ball=ball(options.near, options.radius),
            **options.ids,
            also=lookup.below(options.key_prefix.text) if options.key_prefix else None,
        ),
        mode=options.mode,
        top_k=options.top_k,
        offset=options.offset,
        min_score=options.min_score,
        min_relevance=options.min_relevance,
        strong=options.consistency == "strong",
        explain=options.explain,
        include_archived=options.include_archived,
        valid_at=options.valid_at,
        include_superseded=options.include_superseded,
        as_of=options.as_of,
    )


def _expansion(options: ExpandBody) -> Neighbourhood:
    types = (options.link_type,) if isinstance(options.link_type, str) else tuple(options.link_type or ())
    return Neighbourhood(options.hops, types, options.weight)

"""Search by meaning and by word."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Query

from api import json
from api.json import reply
from api.memories.schemas import ExpandBody, SearchBody, SearchOut, SearchParams, ball
from api.request import Request
from api.routing import PolicyRouter
from api.search import presenters
from graph.search_expansion import Neighbourhood
from memories import filters
from memories.search import hybrid
from memories.search.hybrid import Search
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput, MalformedRequest

router = PolicyRouter("search")


@router.get("/memories/search", out=SearchOut, exclude_unset=True, kind="search")
def search_by_query(request: Request, query: Query[SearchParams]) -> HttpResponse:
    """The memories that answer a query best."""
    raw = None
    if query.filters is not None:
        try:
            raw = json.parse(query.filters.encode("utf-8", "surrogatepass"))
        except MalformedRequest as error:
            raise InvalidInput("filters", error.detail.replace("the body", "it")) from None
        except InvalidInput as error:
            within = {f"filters.{name}".removesuffix(".body"): message for name, message in error.fields.items()}
            raise InvalidInput(*within.popitem(), **within) from None
    return _answer(request, query, raw, {}, (query.namespace,), None)


@router.post("/memories/search", out=SearchOut, kind="search")
def search(request: Request, body: SearchBody) -> HttpResponse:
    """The memories that answer a query best."""
    weights = body.weights.model_dump(exclude_none=True)
    namespaces = (body.namespace,) if isinstance(body.namespace, str) else tuple(body.namespace)
    return _answer(request, body, body.filters, weights, namespaces, body.expand)


def _answer(
    request: Request,
    given: SearchBody | SearchParams,
    raw_filters: Any,
    weights: dict[str, float],
    namespaces: tuple[str, ...],
    expand: ExpandBody | None,
) -> HttpResponse:
    wanted = Search(
        query=given.query,
        namespaces=namespaces,
        narrowing=Narrowing(
            memory_type=given.memory_type,
            filters=None if raw_filters is None else filters.parse(raw_filters),
            prefix=given.prefix,
            ball=ball(given.near, given.radius),
        ),
        mode=given.mode,
        top_k=given.top_k,
        offset=given.offset,
        min_score=given.min_score,
        strong=given.consistency == "strong",
        weights=weights,
        explain=given.explain,
        include_archived=given.include_archived,
        expansion=_expansion(expand) if expand else None,
    )
    results = hybrid.search(request.caller, wanted)
    return reply(
        {
            "memories": [presenters.hit(found) for found in results.found],
            "degraded": results.degraded,
            "mode": given.mode,
            "took_ms": results.took_ms,
        }
    )


def _expansion(given: ExpandBody) -> Neighbourhood:
    types = (given.link_type,) if isinstance(given.link_type, str) else tuple(given.link_type or ())
    return Neighbourhood(given.hops, types, given.weight)

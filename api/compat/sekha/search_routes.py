"""Sekha's routes for searches, contexts and exports."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.changes import changes_of
from api.compat.lenient import Json, LenientRouter
from api.compat.sekha.exports import exported
from api.compat.sekha.filters import translated_filters
from api.compat.sekha.messages import text_of
from api.compat.sekha.requests import PREFIX, at_most, body_of
from api.context import routes
from api.context.schemas import ContextBody, ContextParams, FullTextBody, QueryBody
from api.json import JsonObject
from api.request import Request

router = LenientRouter("sekha", prefix=PREFIX)
_MAX_RESULTS = 1000
_MAX_TOKENS = 1_000_000


@router.post("/api/v1/query", out=None, kind="search", limited=True)
def query(request: Request, body: Json) -> HttpResponse:
    return searched(request, body)


@router.post("/api/v1/query/smart", out=None, kind="search", limited=True)
def smart_query(request: Request, body: Json) -> HttpResponse:
    return searched(request, body)


def searched(request: Request, body: JsonObject) -> HttpResponse:
    adapted = {**_limited(request, body), "filters": translated_filters(body)}
    adapted.pop("filter_labels", None)
    return routes.query(request, body_of(request, adapted, QueryBody))


@router.post("/api/v1/search/fts", out=None, kind="search", limited=True)
def full_text(request: Request, body: Json) -> HttpResponse:
    return routes.full_text(request, body_of(request, _limited(request, body), FullTextBody))


@router.post("/api/v1/context/assemble", out=None, kind="search", limited=True)
def assemble(request: Request, body: Json) -> HttpResponse:
    """Return a context's messages as a list, as Sekha's server does."""
    adapted = {name: value for name, value in _limited(request, body).items() if value is not None}
    if "context_budget" in adapted:
        adapted["context_budget"] = at_most(
            adapted["context_budget"], _MAX_TOKENS, "context_budget", changes_of(request)
        )
    return routes.assemble(request, ContextParams(), body_of(request, adapted, ContextBody))


@router.get("/api/v1/export", out=None, long=True, limited=True)
def export(request: Request) -> HttpResponse:
    """Return an export as a single string in `content`."""
    return exported(request)


def _limited(request: Request, body: JsonObject) -> JsonObject:
    adapted = {**body, "query": text_of(body.get("query"))}
    if "limit" in body:
        adapted["limit"] = at_most(body["limit"], _MAX_RESULTS, "limit", changes_of(request))
    return adapted

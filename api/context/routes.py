"""Routes of message searches, and of the context for a prompt."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api.context import presenters
from api.conversations.schemas import (
    ContextBody,
    ContextMessageOut,
    ContextParams,
    FullTextBody,
    FullTextOut,
    ManifestOut,
    QueryBody,
    QueryOut,
)
from api.json import reply
from api.request import Request
from api.routing import PolicyRouter
from conversations.context import assemble as assembly
from conversations.context.assemble import Wanted
from conversations.search import semantic

router = PolicyRouter("conversations")


@router.post("/query", out=QueryOut, kind="search")
def query(request: Request, body: QueryBody) -> HttpResponse:
    """Search messages by meaning and by word."""
    return _run_query(request, body)


@router.post("/query/smart", out=QueryOut, kind="search")
def smart_query(request: Request, body: QueryBody) -> HttpResponse:
    """Search messages by meaning and by word; an alias of `/query` for Sekha's clients."""
    return _run_query(request, body)


@router.post("/search/fts", out=FullTextOut, kind="search")
def full_text(request: Request, body: FullTextBody) -> HttpResponse:
    """Search messages by word: all "quoted phrases" must occur, and no -excluded word may."""
    hits = semantic.full_text(
        request.caller,
        body.query,
        limit=body.limit or 10,
        offset=body.offset or 0,
        include_archived=body.include_archived,
    )
    return reply(
        {
            "results": [presenters.full_text_hit(hit) for hit in hits.found],
            "total": hits.total,
            "degraded": hits.degraded,
        }
    )


@router.post("/context/assemble", out=list[ContextMessageOut] | ManifestOut, kind="search")
def assemble(request: Request, query: Query[ContextParams], body: ContextBody) -> HttpResponse:
    """Select the messages for the next prompt, within a budget of tokens."""
    assembled = assembly.assemble(
        request.caller,
        Wanted(
            body.query,
            budget=body.context_budget,
            preferred_labels=frozenset(body.preferred_labels),
            excluded_folders=tuple(body.excluded_folders),
            order=body.order,
            include_archived=body.include_archived,
            truncate=body.truncate,
            as_of=body.as_of,
            tell_excluded=query.manifest,
        ),
    )
    if query.manifest:
        return reply(presenters.manifest(assembled))
    return reply([presenters.context_message(item) for item in assembled.items])


def _run_query(request: Request, body: QueryBody) -> HttpResponse:
    limit, offset = body.limit or 10, body.offset or 0
    hits = semantic.query(
        request.caller, body.query, body.filters, limit=limit, offset=offset, include_archived=body.include_archived
    )
    return reply(
        {
            "results": [presenters.query_hit(hit) for hit in hits.found],
            "total": hits.total,
            "page": offset // limit + 1,
            "page_size": limit,
            "degraded": hits.degraded,
        }
    )

"""Routes for message search and for prompt contexts."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.context import presenters
from api.context.schemas import (
    ContextBody,
    ContextMessageOut,
    ContextParams,
    ContextPromptOut,
    FullTextBody,
    FullTextOut,
    ManifestOut,
    QueryBody,
    QueryOut,
)
from api.json import reply
from api.request import Request
from api.routing import PolicyRouter
from conversations.context.assemble import assemble_context
from conversations.context.types import ContextRequest
from conversations.search.full_text import search_full_text
from conversations.search.semantic import search_messages
from somamemory.errors import InvalidInput

router = PolicyRouter("conversations")


@router.post("/query", out=QueryOut, kind="search", limited=True)
def query(request: Request, body: QueryBody) -> HttpResponse:
    """Search messages by meaning and keyword."""
    return _run_query(request, body)


@router.post("/query/smart", out=QueryOut, kind="search", limited=True)
def smart_query(request: Request, body: QueryBody) -> HttpResponse:
    """Search messages by meaning and keyword. Alias of `/query` for Sekha's clients."""
    return _run_query(request, body)


@router.post("/search/fts", out=FullTextOut, kind="search", limited=True)
def full_text(request: Request, body: FullTextBody) -> HttpResponse:
    """Search messages by keyword.

    Words, `"quoted phrases"` and `prefixes*` can be combined with `AND`, `OR`, `NOT` and parentheses. Without
    operators, a message matches if it contains all phrases or, without phrases, at least one word. Put `-` before a
    word to exclude it.
    """
    results = search_full_text(
        request.caller,
        body.query,
        limit=body.limit or 10,
        offset=body.offset or 0,
        include_archived=body.include_archived,
        ids=body.ids,
    )
    return reply(
        {
            "results": [presenters.full_text_hit(hit) for hit in results.hits],
            "total": results.total,
            "degraded": results.degraded,
            "next_offset": results.next_offset,
        }
    )


@router.post(
    "/context/assemble", out=list[ContextMessageOut] | ManifestOut | ContextPromptOut, kind="search", limited=True
)
def assemble(request: Request, query: Query[ContextParams], body: ContextBody) -> HttpResponse:
    """Select the best messages for the next prompt, within a token budget.

    With the `text` format, the context is a single string that can be inserted into a prompt; with `messages`, it is a
    list of messages for a model.
    """
    if query.manifest and body.format != "items":
        raise InvalidInput("manifest", "is available only with format=items; omit manifest or format")
    throttle.charge(request, body.context_budget, per=10_000)
    context = assemble_context(request.caller, context_of(body, manifest=query.manifest))
    if body.format != "items":
        present = presenters.prompt_text if body.format == "text" else presenters.prompt_messages
        return reply(present(context))
    if query.manifest:
        return reply(presenters.manifest(context))
    return reply([presenters.context_message(item) for item in context.items])


def context_of(body: ContextBody, *, manifest: bool) -> ContextRequest:
    """Convert a request body to a `ContextRequest`."""
    return ContextRequest(
        body.query,
        budget=body.context_budget,
        preferred_labels=frozenset(body.preferred_labels),
        excluded_folders=tuple(body.excluded_folders),
        folder=body.folder,
        conversation_id=body.conversation_id,
        exclude_current_session=body.exclude_current_session,
        order=body.order,
        include_archived=body.include_archived,
        truncate=body.truncate,
        as_of=body.as_of,
        report_excluded=manifest,
        filters=body.filters,
        namespaces=tuple(body.namespaces),
        min_relevance=body.min_relevance,
        **body.ids,
    )


def _run_query(request: Request, body: QueryBody) -> HttpResponse:
    limit, offset = body.limit or 10, body.offset or 0
    throttle.charge(request, limit + offset, per=100)
    results = search_messages(
        request.caller,
        body.query,
        body.filters,
        limit=limit,
        offset=offset,
        include_archived=body.include_archived,
        min_relevance=body.min_relevance,
        ids=body.ids,
    )
    return reply(
        {
            "results": [presenters.query_hit(hit) for hit in results.hits],
            "total": results.total,
            "page": offset // limit + 1,
            "page_size": limit,
            "degraded": results.degraded,
            "next_offset": results.next_offset,
        }
    )

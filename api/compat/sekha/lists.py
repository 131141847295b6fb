"""Conversation lists, by page and page_size as in our own API, or by limit and offset."""

from __future__ import annotations

from typing import Annotated

import orjson
from django.http import HttpResponse
from pydantic import Field

from api.compat.changes import changes_of
from api.compat.lenient import valid
from api.compat.sekha.requests import parameters
from api.conversations import routes
from api.conversations.schemas import ConversationListParams, CountParams
from api.json import JsonObject, reply
from api.request import Request
from api.schemas import MAX_OFFSET, Whole

MAX_LISTED = 1000
_PAGE = 200  # the maximum page size of our route
_DEFAULT = 50


class ListParams(CountParams):
    pinned: bool | None = None
    archived: bool | None = None
    status: str | None = None
    page: Annotated[Whole, Field(ge=0, le=1_000_000)] = 1
    page_size: Annotated[Whole, Field(ge=1)] | None = None
    limit: Annotated[Whole, Field(ge=1)] | None = None
    offset: Annotated[Whole, Field(ge=0, le=MAX_OFFSET)] | None = None

    @property
    def size(self) -> int:
        return self.limit or self.page_size or _DEFAULT


def page_of(request: Request) -> HttpResponse:
    query = parameters(request, ListParams)
    size = min(query.size, MAX_LISTED)
    if size < query.size:
        changes_of(request).note("limit", f"reduced to {MAX_LISTED}")
    offset = query.offset if query.offset is not None else max(query.page - 1, 0) * size
    if size <= _PAGE and offset % size == 0:
        return routes.list_conversations(request, _page(query, offset // size + 1, size))
    rows, total = _rows(request, query, offset, size)
    return reply({"results": rows, "total": total, "page": offset // size + 1, "page_size": size, "next_cursor": None})


def _rows(request: Request, query: ListParams, offset: int, size: int) -> tuple[list[JsonObject], int]:
    """Return `size` rows, starting at `offset`, and the total number of rows.

    Reads every page that contains these rows from our own route.
    """
    rows: list[JsonObject] = []
    first, total = offset // _PAGE, 0
    for number in range(first, (offset + size - 1) // _PAGE + 1):
        page = orjson.loads(routes.list_conversations(request, _page(query, number + 1, _PAGE)).content)
        rows += page["results"]
        total = page["total"]
        if len(page["results"]) < _PAGE:
            break
    start = offset - first * _PAGE
    return rows[start : start + size], total


def _page(query: ListParams, page: int, size: int) -> ConversationListParams:
    same = query.model_dump(exclude={"limit", "offset", "page", "page_size"}, exclude_none=True)
    return valid(ConversationListParams, {**same, "page": page, "page_size": size})

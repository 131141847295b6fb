"""Keyset pagination that keeps admin lists fast at any length: each page starts after the last row of the previous one.

No rows are skipped or counted. Rows are in index order, and a list supports only the orders that it declares.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Field, ForeignObjectRel, Model, Q
from django.http import HttpRequest
from django.utils.text import capfirst
from unfold.views import ChangeList

from console import row_counts
from somamemory import cursors
from somamemory.errors import InvalidInput

AFTER, BEFORE = "after", "before"
OWN = {AFTER, BEFORE, "tenant", "namespace", "p", "all"}


class _NoNumbers(Paginator):  # type: ignore[type-arg]
    """The paginator that the templates expect, without page numbers."""

    template_name = "console/pages.html"
    count = 0


class KeysetChangeList(ChangeList):  # type: ignore[misc]
    """A change list with only next and previous pages."""

    total: row_counts.Total
    next_query = previous_query = first_query = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(self.opts.verbose_name_plural)  # instead of "Select … to view"

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in parameters.items() if name not in OWN}

    def get_results(self, request: HttpRequest) -> None:
        order: Sequence[str] = self.model_admin.keyset(request)
        size = self.list_per_page
        rows = self.queryset.order_by(*order)
        before, after = request.GET.get(BEFORE), request.GET.get(AFTER)
        backwards = before is not None
        position = _position(before if backwards else after, order, self.model)
        if position is not None:
            rows = rows.filter(beyond(order, position, backwards=backwards))
        page = list((rows.reverse() if backwards else rows)[: size + 1])
        more = len(page) > size
        page = page[:size]
        if backwards:
            page.reverse()
        self.result_list = page
        if page and (more or backwards):
            self.next_query = self._page(AFTER, page[-1], order)
        if page and (position is not None) and (more or not backwards):
            self.previous_query = self._page(BEFORE, page[0], order)
        if position is not None:
            self.first_query = self.get_query_string(remove=[AFTER, BEFORE])
        whole = position is None and not more
        self.total = row_counts.Total(len(page)) if whole else row_counts.estimate(self.queryset)
        self.result_count = len(page)
        self.full_result_count = self.result_count  # hides "50 results (show all)"
        self.show_full_result_count = False
        self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = _NoNumbers(page, size)

    def _page(self, which: str, row: Model, order: Sequence[str]) -> str:
        values = [getattr(row, name.lstrip("-")) for name in order]
        query: str = self.get_query_string({which: cursors.encode(*values)}, remove=[AFTER, BEFORE])
        return query


def beyond(order: Sequence[str], position: Sequence[Any], *, backwards: bool = False) -> Q:
    """Return the condition for all rows after a position. All columns must be sorted in the same direction.

    With several columns, the first part of the condition is redundant, but lets the database start its index scan at
    the position.
    """
    descending = order[0].startswith("-")
    further = "lt" if descending != backwards else "gt"
    name, value = order[0].lstrip("-"), position[0]
    if len(order) == 1:
        return Q(**{f"{name}__{further}": value})
    later = Q(**{f"{name}__{further}": value}) | beyond(order[1:], position[1:], backwards=backwards)
    return Q(**{f"{name}__{further}e": value}) & later


def _position(cursor: str | None, order: Sequence[str], model: type[Model]) -> list[Any] | None:
    """Return the position at which a page starts, or None for an invalid cursor, which shows the first page."""
    if not cursor:
        return None
    fields = [model._meta.get_field("pk" if name == "pk" else name.lstrip("-")) for name in order]
    try:
        return cursors.decode(cursor, *map(_kind, fields))
    except InvalidInput:
        return None


def _kind(field: Field[Any, Any] | ForeignObjectRel) -> type:
    name = field.get_internal_type()
    if "Integer" in name or "Auto" in name:
        return int
    return {"DateTimeField": datetime.datetime, "UUIDField": UUID}.get(name, str)

"""Numbered pages, newest memories first, for clients that do not use cursors.

Reading a page also reads all rows before it, and counting reads all rows that match, so clients should prefer
cursor-based lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from memories import large_rows, selectors
from memories.models import Memory
from memories.selectors import Narrowing
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput
from somamemory.response_size import fitting
from tenants.caller import Caller

ORDER = ("-created_at", "namespace", "coordinate_key")


@dataclass(frozen=True)
class NumberedPage:
    """A page of memories. `count` is the number of memories that match, across all pages."""

    count: int
    items: Sequence[Memory]


@may_read_replica
def numbered_page(
    caller: Caller, namespaces: Sequence[str], narrowing: Narrowing, page: int, size: int
) -> NumberedPage:
    """Return the page with this number, counted from 1. Raises InvalidInput if it is too large for one response."""

    def source() -> QuerySet[Memory]:
        return narrowing.apply(selectors.live(caller, namespaces))

    start = (page - 1) * size
    rows = list(large_rows.outline(source()).order_by(*ORDER)[start : start + size])
    if fitting(row.size for row in rows) < len(rows):
        raise InvalidInput("page_size", "the page is too large for one response; use a smaller page_size")
    return NumberedPage(source().order_by().count(), large_rows.filled(rows, source))

# Written by scripts/client_sync.py from _async/pages.py. Do not edit: run `make reference`.
"""Iterate over lists that the service returns in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, cast

from somamemory_client._operation import Fields
from somamemory_client._sync.caller import Caller

T = TypeVar("T")


class Pages(Generic[T]):
    """The items of a list. Pages are fetched as needed. Each iteration starts with the first page."""

    def __init__(self, caller: Caller, operation: str, fields: Fields, name: str = "items") -> None:
        self._caller = caller
        self._operation = operation
        self._fields = fields
        self._name = name

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            for item in page:
                yield item

    def pages(self) -> Iterator[list[T]]:
        """Yield the items of each page. The page size is the `limit` passed to the list method."""
        cursor: object = self._fields.get("cursor")
        while True:
            body = self._page(cursor)
            yield cast("list[T]", body[self._name])
            cursor = body.get("next_cursor")
            if cursor is None:
                return

    def first_page(self) -> list[T]:
        """Return the items of the first page."""
        return cast("list[T]", (self._page(self._fields.get("cursor")))[self._name])

    def _page(self, cursor: object) -> dict[str, Any]:
        fields = self._fields if cursor is None else {**self._fields, "cursor": cursor}
        body: dict[str, Any] = self._caller.fetch(dict, self._operation, dict(fields))
        return body

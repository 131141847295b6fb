"""Iterate over lists that the service returns in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar, cast

from somamemory_client._async.caller import AsyncCaller
from somamemory_client._operation import Fields

T = TypeVar("T")


class AsyncPages(Generic[T]):
    """The items of a list. Pages are fetched as needed. Each iteration starts with the first page."""

    def __init__(self, caller: AsyncCaller, operation: str, fields: Fields, name: str = "items") -> None:
        self._caller = caller
        self._operation = operation
        self._fields = fields
        self._name = name

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page:
                yield item

    async def pages(self) -> AsyncIterator[list[T]]:
        """Yield the items of each page. The page size is the `limit` passed to the list method."""
        cursor: object = self._fields.get("cursor")
        while True:
            body = await self._page(cursor)
            yield cast("list[T]", body[self._name])
            cursor = body.get("next_cursor")
            if cursor is None:
                return

    async def first_page(self) -> list[T]:
        """Return the items of the first page."""
        return cast("list[T]", (await self._page(self._fields.get("cursor")))[self._name])

    async def _page(self, cursor: object) -> dict[str, Any]:
        fields = self._fields if cursor is None else {**self._fields, "cursor": cursor}
        body: dict[str, Any] = await self._caller.fetch(dict, self._operation, dict(fields))
        return body

"""Request and response schemas for the density map of memories."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from api.schemas import BoxText, CoordText, Cursor, Limit, MemoryType, NamespaceParams, OwnerIds, Whole
from memories import coordinates
from somamemory.errors import InvalidInput


def _axes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,2}(,[0-9]{1,2})?", text):
        raise ValueError("must be one or two axes of a coordinate, counted from 0, such as 0,1")
    axes = tuple(map(int, text.split(",")))
    if max(axes) >= coordinates.MAX_DIMENSIONS or len(set(axes)) != len(axes):
        raise ValueError(f"must be different axes between 0 and {coordinates.MAX_DIMENSIONS - 1}")
    return axes


Axes = Annotated[tuple[int, ...], PlainValidator(_axes), WithJsonSchema({"type": "string", "example": "0,1"})]


class MapParams(OwnerIds, NamespaceParams):
    prefix: CoordText | None = None
    memory_type: MemoryType | None = None
    depth: Annotated[Whole, Field(ge=1, le=coordinates.MAX_DIMENSIONS)] | None = None
    axes: Axes | None = None
    box: BoxText | None = None
    resolution: Annotated[Whole, Field(ge=1, le=128)] | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def check(self) -> None:
        """Raise InvalidInput if grid parameters are combined with `depth` or paging, or if `box` does not fit `axes`.

        The grid parameters are `axes`, `box` and `resolution`; the paging parameters are `limit` and `cursor`.
        """
        if self.axes is None and (self.box or self.resolution):
            raise InvalidInput("axes", "is required when box or resolution is given")
        if self.axes is not None:
            if self.depth or self.limit or self.cursor:
                raise InvalidInput("axes", "cannot be combined with depth, limit or cursor; omit axes or these fields")
            if self.box and len(self.box.low) != len(self.axes):
                raise InvalidInput("box", "must have one number per axis in each corner")


class CellOut(BaseModel):
    """The memories in one cell of a grid (`column`, `row`), or at and below one coordinate (`coord`)."""

    count: int
    importance: float  # mean importance
    max_importance: float
    column: int | None = None
    row: int | None = None
    coord: str | None = None
    coordinate: list[float] | None = None


class SingleOut(BaseModel):
    id: str
    coord: str
    coordinate: list[float]
    memory_type: MemoryType
    importance: float
    text: str


class MapOut(BaseModel):
    namespace: str
    cells: list[CellOut]
    depth: int | None = None
    next_cursor: str | None = None
    axes: list[int] | None = None
    low: list[float] | None = None
    high: list[float] | None = None
    resolution: int | None = None
    total: int | None = None
    elsewhere: int | None = None
    memories: list[SingleOut] | None = None

"""Request and response schemas for links, neighbours, paths and graph exports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api.json import JsonObject
from api.memories.schemas import MemoryOut
from api.schemas import (
    ENDED_EARLY,
    MAX_BULK,
    Body,
    CoordText,
    CoordTexts,
    Decimal,
    Fraction,
    Id,
    Instant,
    KeyText,
    Limit,
    LinkType,
    NamespaceName,
    NamespaceParams,
    NewCoord,
    Params,
    Whole,
    one_address,
)
from graph.selectors import MAX_HOPS, MAX_LENGTH, MAX_READ, LinkFilter
from memories.addresses import Address
from memories.coordinates import Coordinate

MAX_TYPES = 100
_TYPE = r"[A-Za-z0-9._:-]{1,100}"


def _limit_types(names: str) -> str:
    if names.count(",") >= MAX_TYPES:
        raise ValueError(f"must contain at most {MAX_TYPES} link types")
    return names


# One type, or several separated by commas.
TypeNames = Annotated[str, StringConstraints(pattern=f"^{_TYPE}(,{_TYPE})*$"), AfterValidator(_limit_types)]
Strength = Fraction
Direction = Literal["out", "in", "both"]


class _LinkFields(Body):
    link_type: LinkType = "related"
    strength: Strength = 1.0
    metadata: JsonObject = Field(default_factory=dict)
    namespace: NamespaceName = "default"
    valid_from: Instant | None = None
    valid_to: Instant | None = None


class _Ends(BaseModel):
    """Two addresses. Each is given as a coordinate, or as the key or id of a memory."""

    from_key: KeyText | None = None
    from_id: Id | None = None
    to_key: KeyText | None = None
    to_id: Id | None = None

    def _ends(self, from_coord: Coordinate | None, to_coord: Coordinate | None) -> tuple[Address, Address]:
        """Return the names of both ends. Raises InvalidInput unless each end has exactly one name."""
        return (
            one_address("from_coord", from_coord, self.from_key, self.from_id),
            one_address("to_coord", to_coord, self.to_key, self.to_id),
        )


class NamedLinkBody(_Ends, _LinkFields):
    """A link between two addresses. Each is given as a coordinate, or as the key or id of a memory."""

    from_coord: NewCoord = None
    to_coord: NewCoord = None

    def ends(self) -> tuple[Address, Address]:
        return self._ends(self.from_coord, self.to_coord)


class EndParams(_Ends, NamespaceParams):
    from_coord: CoordText | None = None
    to_coord: CoordText | None = None

    def ends(self) -> tuple[Address, Address]:
        return self._ends(self.from_coord, self.to_coord)


class BulkLinkBody(Body):
    # Validated separately, so that an invalid link does not make the others fail.
    links: Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_BULK)]
    atomic: bool = False


class UnlinkParams(EndParams):
    link_type: LinkType = "related"


class FollowParams(Params):
    link_type: TypeNames | None = None
    direction: Direction = "out"
    min_strength: Annotated[Decimal, Field(ge=0, le=1)] = 0.0
    as_of: Instant | None = None
    valid_at: Instant | None = None

    def link_filter(self) -> LinkFilter:
        types = tuple(dict.fromkeys(self.link_type.split(","))) if self.link_type else ()
        return LinkFilter(self.direction, types, self.min_strength, self.as_of, self.valid_at)


class HopParams(FollowParams):
    k_hop: Annotated[Whole, Field(ge=1, le=MAX_HOPS)] = 1
    limit: Limit = 50
    offset: Annotated[Whole, Field(ge=0, le=MAX_READ)] = 0  # a traversal never returns more
    include_memory: bool = False


class NeighborParams(NamespaceParams, HopParams):
    coord: CoordText | None = None
    key: KeyText | None = None
    id: Id | None = None

    def start(self) -> Address:
        return one_address("coord", self.coord, self.key, self.id)


class PathParams(EndParams, FollowParams):
    max_length: Annotated[Whole, Field(ge=1, le=MAX_LENGTH)] = 10
    weighted: bool = False


class ExportParams(NamespaceParams):
    format: Literal["graphml", "json"] = "json"
    prefix: CoordText | None = None
    coords: CoordTexts | None = Field(
        None, description="Return only links that begin or end at one of these coordinates, separated by semicolons."
    )


class LinkOut(BaseModel):
    ok: bool
    from_coord: str
    to_coord: str
    link_type: str
    strength: float
    namespace: str
    valid_from: str | None
    valid_to: str | None
    created: bool


class UnlinkedOut(BaseModel):
    deleted: bool


class BulkLinkResult(BaseModel):
    index: int
    status: int
    from_coord: str | None = None
    to_coord: str | None = None
    link_type: str | None = None
    error: JsonObject | None = None


class BulkLinkedOut(BaseModel):
    results: list[BulkLinkResult]
    stored: int
    failed: int


class NeighborOut(BaseModel):
    coord: str
    coordinate: list[float]
    link_type: str
    strength: float
    hops: int
    direction: Literal["out", "in"]
    path: list[str]
    memory: MemoryOut | None = None


class NeighborsOut(BaseModel):
    coord: str
    neighbors: list[NeighborOut]
    truncated: bool
    next_offset: int | None = Field(None, description=ENDED_EARLY)


class PathOut(BaseModel):
    from_coord: str
    to_coord: str
    found: bool
    path: list[str]
    link_types: list[str]
    length: int | None
    cost: float | None
    truncated: bool


class ExportedLink(BaseModel):
    from_coord: str
    to_coord: str
    link_type: str
    strength: float
    metadata: JsonObject
    namespace: str
    valid_from: str | None
    valid_to: str | None


class ExportOut(BaseModel):
    links: list[ExportedLink]

"""Request and response schemas for memory searches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.filter_text import FilterText
from api.json import JsonObject
from api.memories.schemas import AnyMemoryOut
from api.schemas import (
    ENDED_EARLY,
    MAX_OFFSET,
    Body,
    Coord,
    CoordText,
    Decimal,
    Fraction,
    Instant,
    KeyText,
    LinkType,
    MemoryType,
    NamespaceList,
    NamespaceName,
    NamespacePrefix,
    OwnerIds,
    Params,
    QueryText,
    Radius,
    Whole,
)


class Weights(Body):
    semantic: Fraction | None = None
    keyword: Fraction | None = None
    recency: Fraction | None = None
    importance: Fraction | None = None


class ExpandBody(Body):
    """Follow links from the best hits, in both directions."""

    hops: Annotated[int, Field(ge=1, le=3)] = 1
    link_type: LinkType | Annotated[list[LinkType], Field(min_length=1, max_length=100)] | None = None
    weight: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25


Mode = Literal["hybrid", "semantic", "keyword"]
Consistency = Literal["eventual", "strong"]
MinScore = Fraction


class SearchBody(OwnerIds, NamespacePrefix, Body):
    query: QueryText
    top_k: Annotated[int, Field(ge=1, le=200)] = 5
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    namespace: NamespaceName | NamespaceList = "default"
    memory_type: MemoryType | None = None
    filters: JsonObject | None = None
    mode: Mode = "hybrid"
    prefix: Coord | None = None
    key_prefix: KeyText | None = None
    near: Coord | None = None
    radius: Annotated[float, Field(ge=0, le=1e100, allow_inf_nan=False)] | None = None
    min_score: MinScore = 0.0
    min_relevance: MinScore = 0.0
    consistency: Consistency = "eventual"
    weights: Weights = Field(default_factory=Weights)
    expand: ExpandBody | None = None
    explain: bool = False
    include_archived: bool = False
    valid_at: Instant | None = None
    include_superseded: bool = False
    as_of: Instant | None = None


class SearchParams(OwnerIds, NamespacePrefix, Params):
    query: QueryText
    top_k: Annotated[Whole, Field(ge=1, le=200)] = 5
    offset: Annotated[Whole, Field(ge=0, le=MAX_OFFSET)] = 0
    namespace: NamespaceName = "default"
    memory_type: MemoryType | None = None
    filters: FilterText | None = None
    mode: Mode = "hybrid"
    prefix: CoordText | None = None
    key_prefix: KeyText | None = None
    near: CoordText | None = None
    radius: Radius | None = None
    min_score: Annotated[Decimal, Field(ge=0, le=1)] = 0.0
    min_relevance: Annotated[Decimal, Field(ge=0, le=1)] = 0.0
    consistency: Consistency = "eventual"
    explain: bool = False
    include_archived: bool = False
    valid_at: Instant | None = None
    include_superseded: bool = False
    as_of: Instant | None = None


class FoundOut(AnyMemoryOut):
    score: float
    relevance: float
    scores: dict[str, float | None] | None = None


class SearchOut(BaseModel):
    memories: list[FoundOut]
    degraded: list[str]
    mode: str
    took_ms: float
    next_offset: int | None = Field(None, description=ENDED_EARLY)

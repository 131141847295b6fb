"""The types that routes share, and the shape of what goes in and out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from memories import coordinates
from memories.coordinates import Ball, Box, Coordinate
from memories.selectors import ORDERS
from somamemory.errors import InvalidCoordinate, InvalidInput

MAX_CONTEXT_LENGTH = 32_768
MAX_BULK = 1000
MAX_QUERY_LENGTH = 8192
MAX_OFFSET = 10_000


class Body(BaseModel):
    """A request body: no unknown field, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class Params(BaseModel):
    """Query parameters: text that says exactly one thing."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


# --- Small types -------------------------------------------------------------------------------------------------


def _coordinate(value: Any) -> Coordinate:
    if isinstance(value, str):
        return coordinates.parse(value)
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        return coordinates.of(value)
    raise InvalidCoordinate('a coordinate is text like "1.0,2.0,3.0" or a list of numbers')


def _instant(value: Any) -> datetime:
    """RFC 3339 with an offset."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            instant = datetime.fromisoformat(value.upper())
        except ValueError:  # the 30th of February, an offset of 99 hours
            raise ValueError("is not a time of the calendar") from None
        if 1 < instant.year < 9999:  # a year at the edge could leave the calendar on its way to UTC
            return instant
    raise ValueError("must be a time like 2026-01-31T12:00:00Z, with its offset from UTC")


def _whole(value: Any) -> Any:
    """The digits of a query parameter; pydantic alone would also take `1_0` and ` 1`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?", value):
        raise ValueError("must be a number")
    return value


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})
Value = TypeVar("Value")


def _from_text(make: Callable[[str], Value], example: str) -> Any:
    return PlainValidator(make), WithJsonSchema({"type": "string", "example": example})


Coord = Annotated[
    Coordinate,
    PlainValidator(_coordinate),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string", "pattern": r"^[^,]+(,[^,]+){0,31}$"},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 32},
            ],
            "example": "1.0,2.0,3.0",
        }
    ),
]
CoordText = Annotated[
    Coordinate, PlainValidator(coordinates.parse), WithJsonSchema({"type": "string", "example": "1.0,2.0,3.0"})
]
BoxText = Annotated[Box, PlainValidator(Box.parse), WithJsonSchema({"type": "string", "example": "0,0;1,1"})]
Instant = Annotated[datetime, PlainValidator(_instant), _TIME_SCHEMA]
Whole = Annotated[int, BeforeValidator(_whole)]
Decimal = Annotated[float, BeforeValidator(_decimal), Field(allow_inf_nan=False)]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,255}$", max_length=255)]
NamespaceList = Annotated[list[NamespaceName], Field(min_length=1, max_length=100), AfterValidator(_each_once)]
LinkType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$", max_length=100)]
MemoryType = Literal["episodic", "semantic"]
Importance = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Limit = Annotated[Whole, Field(ge=1, le=1000)]
Text = Annotated[str, AfterValidator(_storable)]
QueryText = Annotated[Text, StringConstraints(max_length=MAX_QUERY_LENGTH), AfterValidator(_not_blank)]
Radius = Annotated[Decimal, Field(ge=0, le=1e100)]


# --- Memories ----------------------------------------------------------------------------------------------------


class StoreBody(Body):
    coord: Coord
    payload: dict[str, Any]
    memory_type: MemoryType = "episodic"
    namespace: NamespaceName = "default"
    metadata: dict[str, Any] = Field(default_factory=dict)
    importance: Importance = 0.0
    context: Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)] = ""
    ttl_seconds: Annotated[int, Field(ge=1, le=3_153_600_000)] | None = None
    expires_at: Instant | None = None
    embedding: Annotated[list[float], Field(min_length=1, max_length=8192)] | None = None


class PatchBody(Body):
    """RFC 7396. A member that is absent is left alone; null removes what can be absent."""

    payload: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    importance: Importance | None = None
    memory_type: MemoryType | None = None
    context: Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)] | None = None
    expires_at: Instant | None = None


class BulkStoreBody(Body):
    # Checked one by one, so that one bad item need not spoil the others.
    items: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_BULK)]
    atomic: bool = False


class BulkCoordsBody(Body):
    coords: Annotated[list[Coord], Field(min_length=1, max_length=MAX_BULK)]
    namespace: NamespaceName = "default"


class NamespaceParams(Params):
    namespace: NamespaceName = "default"


class DeleteParams(NamespaceParams):
    purge: bool = False


class ListParams(NamespaceParams):
    prefix: CoordText | None = None
    near: CoordText | None = None
    radius: Radius | None = None
    box: BoxText | None = None
    memory_type: MemoryType | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    updated_after: Instant | None = None
    include_deleted: bool = False
    order: Literal[ORDERS] | None = None  # type: ignore[valid-type]
    limit: Limit = 50
    cursor: Annotated[str, Field(max_length=2048)] | None = None

    def ball(self) -> Ball | None:
        return ball(self.near, self.radius)


class MemoryOut(BaseModel):
    id: str
    coord: str
    coordinate: list[float]
    namespace: str
    payload: dict[str, Any]
    memory_type: MemoryType
    metadata: dict[str, Any]
    importance: float
    context: str
    version: int
    index_state: str
    created_at: str
    updated_at: str
    expires_at: str | None
    access_count: int
    last_accessed_at: str | None
    deleted_at: str | None = None
    distance: float | None = None


class MemoryEnvelope(BaseModel):
    memory: MemoryOut


class StoredOut(BaseModel):
    ok: bool
    id: str
    coord: str
    coordinate: list[float]
    namespace: str
    memory_type: MemoryType
    version: int
    created: bool
    index_state: str


class DeletedOut(BaseModel):
    coord: str
    deleted: bool


class PageOut(BaseModel):
    items: list[MemoryOut]
    next_cursor: str | None


class BulkResult(BaseModel):
    index: int
    status: int
    coord: str | None
    version: int | None = None
    error: dict[str, Any] | None = None


class BulkStoredOut(BaseModel):
    results: list[BulkResult]
    stored: int
    failed: int


class BulkFound(BaseModel):
    coord: str
    memory: MemoryOut | None


class BulkGotOut(BaseModel):
    items: list[BulkFound]


class BulkDeletedOut(BaseModel):
    results: list[DeletedOut]
    deleted: int


class IndexStats(BaseModel):
    pending: int
    failed: int
    ready: int
    generation: str
    model: str
    dimension: int
    oldest_due_seconds: int


class LanguageModelStats(BaseModel):
    """Of this month (202611), in UTC. `limit` is how many tokens the tenant may use."""

    month: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    limit: int | None


class StatsOut(BaseModel):
    total_memories: int
    episodic: int
    semantic: int
    deleted: int
    namespaces: dict[str, int]
    links: int
    conversations: int
    language_model: LanguageModelStats | None
    index: IndexStats


# --- Search ------------------------------------------------------------------------------------------------------


class Weights(Body):
    semantic: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    keyword: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    recency: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    importance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class ExpandBody(Body):
    """Go on from the best hits along links, in both directions."""

    hops: Annotated[int, Field(ge=1, le=3)] = 1
    link_type: LinkType | Annotated[list[LinkType], Field(min_length=1, max_length=100)] | None = None
    weight: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25


Mode = Literal["hybrid", "semantic", "keyword"]
Consistency = Literal["eventual", "strong"]
MinScore = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SearchBody(Body):
    query: QueryText
    top_k: Annotated[int, Field(ge=1, le=200)] = 5
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    namespace: NamespaceName | NamespaceList = "default"
    memory_type: MemoryType | None = None
    filters: dict[str, Any] | None = None
    mode: Mode = "hybrid"
    prefix: Coord | None = None
    near: Coord | None = None
    radius: Annotated[float, Field(ge=0, le=1e100, allow_inf_nan=False)] | None = None
    min_score: MinScore = 0.0
    consistency: Consistency = "eventual"
    weights: Weights = Field(default_factory=Weights)
    expand: ExpandBody | None = None
    explain: bool = False


class SearchParams(Params):
    query: QueryText
    top_k: Annotated[Whole, Field(ge=1, le=200)] = 5
    offset: Annotated[Whole, Field(ge=0, le=MAX_OFFSET)] = 0
    namespace: NamespaceName = "default"
    memory_type: MemoryType | None = None
    filters: Annotated[str, Field(max_length=65_536)] | None = None
    mode: Mode = "hybrid"
    prefix: CoordText | None = None
    near: CoordText | None = None
    radius: Radius | None = None
    min_score: Annotated[Decimal, Field(ge=0, le=1)] = 0.0
    consistency: Consistency = "eventual"
    explain: bool = False


class FoundOut(BaseModel):
    id: str
    coord: str
    coordinate: list[float]
    namespace: str
    payload: dict[str, Any]
    memory_type: MemoryType
    metadata: dict[str, Any]
    importance: float
    created_at: str
    version: int
    score: float
    scores: dict[str, float | None] | None = None


class SearchOut(BaseModel):
    memories: list[FoundOut]
    degraded: list[str]
    mode: str
    took_ms: float


# --- Tenants -----------------------------------------------------------------------------------------------------


Tier = Literal["free", "standard", "premium"]
Quota = Annotated[int, Field(ge=0, lt=2**63)]


class Quotas(Body):
    """Null: no limit. A member that is absent is left alone."""

    memories: Quota | None = None
    bytes: Quota | None = None
    keys: Quota | None = None
    requests_per_day: Quota | None = None
    llm_tokens_per_day: Quota | None = None


class TenantBody(Body):
    slug: Annotated[str, Field(max_length=63)]
    name: Annotated[Text, Field(max_length=255)] = ""
    tier: Tier = "standard"
    quotas: Quotas = Field(default_factory=Quotas)


class TenantPatch(Body):
    """A member that is absent is left alone."""

    name: Annotated[Text, Field(max_length=255)] | None = None
    tier: Tier | None = None
    active: bool | None = None
    quotas: Quotas = Field(default_factory=Quotas)


class QuotasOut(BaseModel):
    memories: int | None
    bytes: int | None
    keys: int | None
    requests_per_day: int | None
    llm_tokens_per_day: int | None


class TenantOut(BaseModel):
    slug: str
    name: str
    active: bool
    tier: Tier
    quotas: QuotasOut
    created_at: str


class Used(BaseModel):
    used: int
    quota: int | None


class UsageOut(BaseModel):
    slug: str
    memories: Used
    bytes: Used
    keys: Used
    requests_per_day: Used
    llm_tokens_per_day: Used


class AuditOut(BaseModel):
    id: int
    at: str
    actor: str
    action: str
    namespace: str
    target: str
    request_id: str
    address: str
    before_hash: str | None
    after_hash: str | None
    sealed: bool


class AuditPageOut(BaseModel):
    items: list[AuditOut]
    next_cursor: str | None


class ErasedOut(BaseModel):
    slug: str
    id: str
    erased_at: str
    rows: dict[str, int]
    elsewhere: dict[str, int]
    total: int
    complete: bool
    missing: list[str]


class TenantsOut(BaseModel):
    items: list[TenantOut]
    next_cursor: str | None


Scope = Literal["read", "write", "delete", "admin"]


class KeyBody(Body):
    name: Annotated[str, Field(max_length=255)] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] = ["read", "write", "delete"]
    namespaces: Annotated[list[NamespaceName], Field(max_length=100)] = Field(default_factory=list)
    expires_at: Instant | None = None
    secret: Annotated[str, Field(max_length=512)] | None = None


class RotateBody(Body):
    overlap_hours: Annotated[int, Field(ge=0, le=720)] = 24


class KeyOut(BaseModel):
    prefix: str
    name: str
    scopes: list[str]
    namespaces: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class IssuedKeyOut(KeyOut):
    key: str


class KeysOut(BaseModel):
    items: list[KeyOut]
    next_cursor: str | None


# --- Health ------------------------------------------------------------------------------------------------------


class PingOut(BaseModel):
    status: str


class HealthzOut(BaseModel):
    status: str
    kv_store: bool
    vector_store: bool
    graph_store: bool


class ReadyOut(BaseModel):
    ready: bool
    reason: str | None = None


class CheckOut(BaseModel):
    status: Literal["healthy", "unhealthy"]
    latency_ms: float


class ServiceOut(BaseModel):
    name: str
    healthy: bool
    latency_ms: float


class HealthOut(BaseModel):
    status: Literal["healthy", "degraded", "unhealthy"]
    healthy: bool
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]
    services: list[ServiceOut]


# --- Problems ----------------------------------------------------------------------------------------------------


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


def ball(near: Coordinate | None, radius: float | None) -> Ball | None:
    """`near` and `radius` go together."""
    if (near is None) != (radius is None):
        raise InvalidInput("radius" if radius is None else "near", "near and radius go together")
    return None if near is None or radius is None else Ball(near, radius)


# --- Jobs --------------------------------------------------------------------------------------------------------


class RebuildBody(Body):
    """Nothing: as before, but anew. Another provider or model: for operators."""

    provider: Annotated[str, Field(max_length=64)] = ""
    model: Annotated[str, Field(max_length=255)] = ""
    dimension: Annotated[int, Field(ge=0, le=8192)] = 0
    from_stored_vectors: bool = False


class RebuildOut(BaseModel):
    job_id: str
    state: str
    estimated_completion_seconds: int


class JobOut(BaseModel):
    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed"]
    done: int
    total: int | None
    error: str | None
    started_at: str | None
    finished_at: str | None
    phase: str | None
    comparison: dict[str, Any] | None

"""Request and response schemas for memories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.filter_text import FilterText
from api.json import JsonObject
from api.schemas import (
    MAX_BULK,
    MAX_CONTEXT_LENGTH,
    Body,
    BoxText,
    Coord,
    CoordText,
    Cursor,
    Fraction,
    Id,
    Importance,
    Instant,
    KeyText,
    Limit,
    MemoryType,
    NamespaceList,
    NamespaceName,
    NamespaceParams,
    NamespacePrefix,
    NewCoord,
    OwnerIds,
    OwnerIdsOut,
    Params,
    Patch,
    Radius,
    Source,
    Whole,
    one_address,
)
from memories.addresses import Address
from memories.coordinates import Ball, Coordinate
from memories.deletion import MAX_DELETED
from memories.selectors import ORDERS
from memories.supersession import MAX_SUPERSEDED
from somamemory.errors import InvalidInput

MAX_VERSION = 2_147_483_647


class MemoryName(Body):
    """The name of one memory in the request's namespace: a coordinate, a key or an id."""

    coord: Coord | None = None
    key: KeyText | None = None
    id: Id | None = None

    def address(self) -> Address:
        """Return the name. Raises InvalidInput unless exactly one of `coord`, `key` and `id` is given."""
        return one_address("coord", self.coord, self.key, self.id)


def _addresses(names: list[MemoryName]) -> list[MemoryName]:
    if any(len(name.model_fields_set) != 1 for name in names):
        raise ValueError("must identify each memory by exactly one of coord, key and id")
    return names


Superseded = Annotated[list[MemoryName], Field(max_length=MAX_SUPERSEDED), AfterValidator(_addresses)]


class KeyedBody(OwnerIds, Body):
    """A memory to store under the key in the path."""

    payload: JsonObject
    coord: NewCoord = None
    memory_type: MemoryType = "episodic"
    metadata: JsonObject = Field(default_factory=dict)
    importance: Importance = 0.0
    context: Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)] = ""
    ttl_seconds: Annotated[int, Field(ge=1, le=3_153_600_000)] | None = None
    expires_at: Instant | None = None
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    source: Source | None = None
    trust: Fraction | None = None
    supersedes: Superseded = Field(default_factory=list)
    embedding: Annotated[list[float], Field(min_length=1, max_length=8192)] | None = None


class StoreBody(KeyedBody):
    """A memory to store. Without `coord`, the memory gets the coordinate of its key, or a new coordinate."""

    key: KeyText | None = None
    namespace: NamespaceName = "default"


class PatchBody(OwnerIds, Patch):
    """A JSON merge patch (RFC 7396). Omitted fields are left unchanged. Null removes an optional value."""

    payload: JsonObject | None = None
    metadata: JsonObject | None = None
    importance: Importance | None = None
    memory_type: MemoryType | None = None
    context: Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)] | None = None
    expires_at: Instant | None = None
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    source: Source | None = None
    trust: Fraction | None = None
    supersedes: Superseded | None = None


class BulkStoreBody(Body):
    # Validated separately, so that an invalid item does not make the others fail.
    items: Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_BULK)]
    atomic: bool = False


class NameBody(MemoryName):
    """The name of one memory: a coordinate, a key or an id. An id needs no namespace."""

    namespace: NamespaceName | None = None


class RestoreBody(NameBody):
    version: Annotated[int, Field(ge=1, le=MAX_VERSION)] | None = None


class BulkNamesBody(Body):
    """The names of several memories: coordinates, keys or ids. Ids need no namespace."""

    coords: Annotated[list[Coord], Field(min_length=1, max_length=MAX_BULK)] | None = None
    keys: Annotated[list[KeyText], Field(min_length=1, max_length=MAX_BULK)] | None = None
    ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_BULK)] | None = None
    namespace: NamespaceName | None = None

    def addresses(self) -> Sequence[Address]:
        """Return the names. Raises InvalidInput unless exactly one of `coords`, `keys` and `ids` is given."""
        lists: list[Sequence[Address]] = [names for names in (self.coords, self.keys, self.ids) if names is not None]
        if len(lists) != 1:
            raise InvalidInput("body", "must contain exactly one of coords, keys and ids")
        return lists[0]


class DeleteMatchingBody(OwnerIds, NamespacePrefix, Body):
    """All conditions must match. Without any condition, `all` must be true."""

    namespace: NamespaceName | NamespaceList = "default"
    filters: JsonObject | None = None
    memory_type: MemoryType | None = None
    prefix: Coord | None = None
    created_before: Instant | None = None
    all: bool = False
    dry_run: bool = False
    limit: Annotated[int, Field(ge=1, le=MAX_DELETED)] = 1_000


class DeletedMatchingOut(BaseModel):
    deleted: int
    complete: bool
    dry_run: bool


class PurgeParams(Params):
    purge: bool = False


class DeleteParams(NamespaceParams, PurgeParams):
    pass


class AsOfParams(Params):
    as_of: Instant | None = None


class FetchParams(NamespaceParams, AsOfParams):
    pass


class VersionParams(Params):
    version: Annotated[Whole, Field(ge=1, le=MAX_VERSION)] | None = None


class RestoreParams(NamespaceParams, VersionParams):
    pass


class HistoryParams(Params):
    limit: Annotated[Whole, Field(ge=1, le=100)] = 20
    cursor: Cursor | None = None


class NamespacedHistoryParams(NamespaceParams, HistoryParams):
    pass


class KeyHistoryParams(NamespacedHistoryParams):
    key: KeyText


class ListParams(OwnerIds, NamespaceParams):
    prefix: CoordText | None = None
    key_prefix: KeyText | None = None
    near: CoordText | None = None
    radius: Radius | None = None
    box: BoxText | None = None
    memory_type: MemoryType | None = None
    filters: FilterText | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    updated_after: Instant | None = None
    valid_at: Instant | None = None
    as_of: Instant | None = None
    include_deleted: bool = False
    order: Literal[ORDERS] | None = None  # type: ignore[valid-type]
    limit: Limit = 50
    cursor: Cursor | None = None

    def ball(self) -> Ball | None:
        return ball(self.near, self.radius)


class AnyMemoryOut(OwnerIdsOut):
    """The fields of a memory that every response contains."""

    id: str
    coord: str
    coordinate: list[float]
    key: str | None
    namespace: str
    payload: JsonObject
    memory_type: MemoryType
    metadata: JsonObject
    importance: float
    valid_from: str | None
    valid_to: str | None
    source: str | JsonObject | None
    trust: float | None
    version: int
    created_at: str


class MemoryOut(AnyMemoryOut):
    context: str
    index_state: str
    updated_at: str
    expires_at: str | None
    access_count: int
    last_accessed_at: str | None
    deleted_at: str | None = None
    distance: float | None = None


class VersionOut(BaseModel):
    version: int
    at: str
    until: str | None
    by: str | None
    action: Literal["create", "update", "delete", "restore"]
    changed: list[str] | None
    payload: JsonObject
    memory_type: MemoryType
    metadata: JsonObject
    user_id: str | None
    agent_id: str | None
    session_id: str | None
    importance: float
    context: str
    expires_at: str | None
    valid_from: str | None
    valid_to: str | None
    source: str | JsonObject | None
    trust: float | None


class HistoryOut(BaseModel):
    items: list[VersionOut]
    next_cursor: str | None


class MemoryEnvelope(BaseModel):
    memory: MemoryOut


class StoredOut(BaseModel):
    ok: bool
    id: str
    coord: str
    coordinate: list[float]
    key: str | None
    namespace: str
    memory_type: MemoryType
    version: int
    created: bool
    index_state: str


class NamedOut(BaseModel):
    """The name that a request used."""

    coord: str | None = None
    key: str | None = None
    id: str | None = None


class DeletedOut(NamedOut):
    deleted: bool


class PageOut(BaseModel):
    items: list[MemoryOut]
    next_cursor: str | None


class BulkResult(BaseModel):
    index: int
    status: int
    coord: str | None
    id: str | None = None
    key: str | None = None
    version: int | None = None
    error: JsonObject | None = None


class BulkStoredOut(BaseModel):
    results: list[BulkResult]
    stored: int
    failed: int


class BulkFound(NamedOut):
    memory: MemoryOut | None


class BulkGotOut(BaseModel):
    items: list[BulkFound]
    next_index: int | None = Field(
        None,
        description="Set if the memories are too large for one response: the position in the request to continue from.",
    )


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
    """Language model usage in one month."""

    month: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    limit: int | None
    limit_usd: float | None


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


def ball(near: Coordinate | None, radius: float | None) -> Ball | None:
    """Return the ball, or None if neither `near` nor `radius` is given. Raises InvalidInput if only one of them is."""
    if (near is None) != (radius is None):
        missing, other = ("radius", "near") if radius is None else ("near", "radius")
        raise InvalidInput(missing, f"is required when {other} is given")
    return None if near is None or radius is None else Ball(near, radius)

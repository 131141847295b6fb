"""Request and response schemas for message searches and for contexts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from api.conversations.schemas import Folder, Label, MessageOut, SaidOut
from api.json import JsonObject
from api.schemas import (
    ENDED_EARLY,
    MAX_OFFSET,
    Body,
    Fraction,
    Id,
    Instant,
    NamespaceList,
    OwnerIds,
    Params,
    QueryText,
)

MAX_BUDGET = 1_000_000


class QueryBody(OwnerIds, Body):
    query: QueryText
    filters: JsonObject | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] | None = None
    include_archived: bool | None = None
    min_relevance: Fraction = 0.0


class FullTextBody(OwnerIds, Body):
    query: QueryText
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] | None = None
    include_archived: bool = False


class ContextBody(OwnerIds, Body):
    query: QueryText
    preferred_labels: Annotated[list[Label], Field(max_length=100)] = Field(default_factory=list)
    excluded_folders: Annotated[list[Folder], Field(max_length=100)] = Field(default_factory=list)
    folder: Folder | None = None
    conversation_id: Id | None = None
    exclude_current_session: bool = False
    filters: JsonObject | None = None
    namespaces: NamespaceList = Field(default_factory=list)
    min_relevance: Fraction | None = None
    format: Literal["items", "messages", "text"] = "items"
    context_budget: Annotated[int, Field(ge=1, le=MAX_BUDGET)] = 4000
    order: Literal["relevance", "chronological"] = "relevance"
    include_archived: bool = False
    truncate: bool = False
    as_of: Instant | None = None

    @field_validator("exclude_current_session")
    @classmethod
    def _names_the_session(cls, excluded: bool, info: ValidationInfo) -> bool:
        if excluded and info.data.get("session_id") is None and info.data.get("conversation_id") is None:
            raise ValueError("requires session_id or conversation_id, which identifies the session to exclude")
        return excluded


class ContextParams(Params):
    manifest: bool = False


class QueryResultOut(BaseModel):
    conversation_id: str
    message_id: str
    score: float
    relevance: float
    similarity: float | None
    role: str
    content: str
    coord: str
    metadata: JsonObject
    label: str
    folder: str
    timestamp: str


class QueryOut(BaseModel):
    results: list[QueryResultOut]
    total: int
    page: int
    page_size: int
    degraded: list[str]
    next_offset: int | None = Field(None, description=ENDED_EARLY)


class FullTextResultOut(MessageOut):
    rank: float
    label: str
    folder: str


class FullTextOut(BaseModel):
    results: list[FullTextResultOut]
    total: int
    degraded: list[str]
    next_offset: int | None = Field(None, description=ENDED_EARLY)


class ProvenanceOut(BaseModel):
    source: str | JsonObject | None
    trust: float | None


class ContextMessageOut(SaidOut):
    """A message in a context. `metadata.citation` identifies its source by `label`, `folder` and `timestamp`.

    For an item that is not from a conversation, `conversation_id` and `turn` are null, and `label` and `folder` are
    empty.
    """

    conversation_id: str | None
    turn: int | None
    label: str
    folder: str
    namespace: str
    relevance: float | None
    provenance: ProvenanceOut


class ContextScores(BaseModel):
    total: float
    relevance: float
    importance: float
    recency: float
    label: float


class ContextItemOut(ContextMessageOut):
    scores: ContextScores
    tokens: int
    source: str
    truncated: bool


class LeftOut(BaseModel):
    id: str
    conversation_id: str | None
    coord: str
    reason: Literal["budget", "duplicate", "excluded"]
    score: float | None
    tokens: int | None
    duplicate_of: str | None = None


class CitationOut(BaseModel):
    """The source of one item in the text."""

    number: int
    id: str
    conversation_id: str | None
    coord: str
    label: str
    folder: str
    role: str
    timestamp: str
    namespace: str
    relevance: float | None
    provenance: ProvenanceOut


class ContextPromptOut(BaseModel):
    """A context as a single string, or as messages for a model."""

    text: str | None = None
    messages: list[dict[str, str]] | None = None
    citations: list[CitationOut]
    used_tokens: int
    budget: int
    context_hash: str
    as_of: str
    degraded: list[str]


class ManifestOut(BaseModel):
    items: list[ContextItemOut]
    used_tokens: int
    budget: int
    target: int
    left_out: list[LeftOut]
    context_hash: str
    as_of: str
    degraded: list[str]

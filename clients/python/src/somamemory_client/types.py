"""Request and response types. Written by scripts/client_types.py. Do not edit: run `make reference`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict


class Weights(TypedDict):
    """The `Weights` object."""

    semantic: NotRequired[float | None]
    keyword: NotRequired[float | None]
    recency: NotRequired[float | None]
    importance: NotRequired[float | None]


class ExpandBody(TypedDict):
    """Follow links from the best hits, in both directions."""

    hops: NotRequired[int]
    link_type: NotRequired[str | Sequence[str] | None]
    weight: NotRequired[float]


class MemoryName(TypedDict):
    """The name of one memory in the request's namespace: a coordinate, a key or an id."""

    coord: NotRequired[str | Sequence[float] | None]
    key: NotRequired[str | None]
    id: NotRequired[str | None]


class MessageBody(TypedDict):
    """A message in the format used by model APIs."""

    role: Literal["user", "assistant", "system", "tool", "developer"]
    name: NotRequired[str | None]
    tool_calls: NotRequired[Sequence[Mapping[str, Any]] | None]
    tool_call_id: NotRequired[str | None]
    content: NotRequired[str | Sequence[Mapping[str, Any]] | None]
    metadata: NotRequired[Mapping[str, Any] | None]
    timestamp: NotRequired[str | datetime | None]


class PruningBody(TypedDict):
    """The `PruningBody` object."""

    mode: NotRequired[Literal["off", "report", "archive"]]
    threshold_days: NotRequired[float]
    importance_threshold: NotRequired[float]


class Quotas(TypedDict):
    """Null means no limit. Omitted fields are left unchanged."""

    memories: NotRequired[int | None]
    bytes: NotRequired[int | None]
    keys: NotRequired[int | None]
    requests_per_day: NotRequired[int | None]
    llm_tokens_per_day: NotRequired[int | None]
    llm_tokens_per_month: NotRequired[int | None]
    llm_cents_per_month: NotRequired[int | None]


class Policies(TypedDict):
    """A tenant's policies. Omitted fields are left unchanged."""

    auto_label: NotRequired[float | None]
    extract_facts: NotRequired[bool]
    history_days: NotRequired[int | None]


class StoreBody(TypedDict):
    """A memory to store. Without `coord`, the memory gets the coordinate of its key, or a new coordinate."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    payload: Mapping[str, Any]
    coord: NotRequired[str | Sequence[float]]
    memory_type: NotRequired[Literal["episodic", "semantic"]]
    metadata: NotRequired[Mapping[str, Any]]
    importance: NotRequired[float]
    context: NotRequired[str]
    ttl_seconds: NotRequired[int | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName]]
    embedding: NotRequired[Sequence[float] | None]
    key: NotRequired[str | None]
    namespace: NotRequired[str]


class NamedLinkBody(TypedDict):
    """A link between two addresses. Each is given as a coordinate, or as the key or id of a memory."""

    link_type: NotRequired[str]
    strength: NotRequired[float]
    metadata: NotRequired[Mapping[str, Any]]
    namespace: NotRequired[str]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    from_key: NotRequired[str | None]
    from_id: NotRequired[str | None]
    to_key: NotRequired[str | None]
    to_id: NotRequired[str | None]
    from_coord: NotRequired[str | Sequence[float]]
    to_coord: NotRequired[str | Sequence[float]]


class SearchOut(TypedDict):
    """The `SearchOut` object."""

    memories: list[FoundOut]
    degraded: list[str]
    mode: str
    took_ms: float
    next_offset: NotRequired[int | None]


class MapOut(TypedDict):
    """The `MapOut` object."""

    namespace: str
    cells: list[CellOut]
    depth: NotRequired[int | None]
    next_cursor: NotRequired[str | None]
    axes: NotRequired[list[int] | None]
    low: NotRequired[list[float] | None]
    high: NotRequired[list[float] | None]
    resolution: NotRequired[int | None]
    total: NotRequired[int | None]
    elsewhere: NotRequired[int | None]
    memories: NotRequired[list[SingleOut] | None]


class MemoryEnvelope(TypedDict):
    """The `MemoryEnvelope` object."""

    memory: MemoryOut


class StoredOut(TypedDict):
    """The `StoredOut` object."""

    ok: bool
    id: str
    coord: str
    coordinate: list[float]
    key: str | None
    namespace: str
    memory_type: Literal["episodic", "semantic"]
    version: int
    created: bool
    index_state: str


class DeletedOut(TypedDict):
    """The `DeletedOut` object."""

    coord: NotRequired[str | None]
    key: NotRequired[str | None]
    id: NotRequired[str | None]
    deleted: bool


class HistoryOut(TypedDict):
    """The `HistoryOut` object."""

    items: list[VersionOut]
    next_cursor: str | None


class PageOut(TypedDict):
    """The `PageOut` object."""

    items: list[MemoryOut]
    next_cursor: str | None


class BulkStoredOut(TypedDict):
    """The `BulkStoredOut` object."""

    results: list[BulkResult]
    stored: int
    failed: int


class BulkGotOut(TypedDict):
    """The `BulkGotOut` object."""

    items: list[BulkFound]
    next_index: NotRequired[int | None]


class BulkDeletedOut(TypedDict):
    """The `BulkDeletedOut` object."""

    results: list[DeletedOut]
    deleted: int


class DeletedMatchingOut(TypedDict):
    """The `DeletedMatchingOut` object."""

    deleted: int
    complete: bool
    dry_run: bool


class StatsOut(TypedDict):
    """The `StatsOut` object."""

    total_memories: int
    episodic: int
    semantic: int
    deleted: int
    namespaces: dict[str, int]
    links: int
    conversations: int
    language_model: LanguageModelStats | None
    index: IndexStats


class NamespacesOut(TypedDict):
    """The `NamespacesOut` object."""

    items: list[NamespaceOut]
    next_cursor: str | None


class ReceiptOut(TypedDict):
    """The `ReceiptOut` object."""

    namespaces: list[str]
    memories: int
    links: int
    at: str
    request_id: str


class LinkOut(TypedDict):
    """The `LinkOut` object."""

    ok: bool
    from_coord: str
    to_coord: str
    link_type: str
    strength: float
    namespace: str
    valid_from: str | None
    valid_to: str | None
    created: bool


class UnlinkedOut(TypedDict):
    """The `UnlinkedOut` object."""

    deleted: bool


class BulkLinkedOut(TypedDict):
    """The `BulkLinkedOut` object."""

    results: list[BulkLinkResult]
    stored: int
    failed: int


class NeighborsOut(TypedDict):
    """The `NeighborsOut` object."""

    coord: str
    neighbors: list[NeighborOut]
    truncated: bool
    next_offset: NotRequired[int | None]


class PathOut(TypedDict):
    """The `PathOut` object."""

    from_coord: str
    to_coord: str
    found: bool
    path: list[str]
    link_types: list[str]
    length: int | None
    cost: float | None
    truncated: bool


class ExportOut(TypedDict):
    """The `ExportOut` object."""

    links: list[ExportedLink]


class ConversationOut(TypedDict):
    """The `ConversationOut` object."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None
    id: str
    conversation_id: str
    external_id: str | None
    number: int
    label: str
    labelled_by: str | None
    folder: str
    status: Literal["active", "pinned", "archived"]
    tier: Literal["active", "archived", "cold"]
    importance_score: float
    message_count: int
    word_count: int
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class ConversationsOut(TypedDict):
    """The `ConversationsOut` object."""

    results: list[ListedOut]
    total: int
    page: int
    page_size: int
    next_cursor: str | None


class MessagesOut(TypedDict):
    """The `MessagesOut` object."""

    items: list[MessageOut]
    total: int
    next_cursor: str | None


class CountOut(TypedDict):
    """The `CountOut` object."""

    count: int
    label: str | None
    folder: str | None


class DeletedConversationsOut(TypedDict):
    """The `DeletedConversationsOut` object."""

    items: list[DeletedConversationOut]
    next_cursor: str | None


class ChangedOut(TypedDict):
    """The `ChangedOut` object."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None
    id: str
    conversation_id: str
    external_id: str | None
    number: int
    label: str
    labelled_by: str | None
    folder: str
    status: Literal["active", "pinned", "archived"]
    tier: Literal["active", "archived", "cold"]
    importance_score: float
    message_count: int
    word_count: int
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    success: bool


class ConversationDeletedOut(TypedDict):
    """The `ConversationDeletedOut` object."""

    success: bool
    id: str


class QueryOut(TypedDict):
    """The `QueryOut` object."""

    results: list[QueryResultOut]
    total: int
    page: int
    page_size: int
    degraded: list[str]
    next_offset: NotRequired[int | None]


class FullTextOut(TypedDict):
    """The `FullTextOut` object."""

    results: list[FullTextResultOut]
    total: int
    degraded: list[str]
    next_offset: NotRequired[int | None]


class ContextMessageOut(TypedDict):
    """A message in a context. `metadata.citation` identifies its source by `label`, `folder` and `timestamp`."""

    id: str
    role: str
    content: str
    content_parts: NotRequired[list[dict[str, Any]] | None]
    tool_calls: NotRequired[list[dict[str, Any]] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    coord: str
    timestamp: str
    metadata: dict[str, Any]
    importance: float
    conversation_id: str | None
    turn: int | None
    label: str
    folder: str
    namespace: str
    relevance: float | None
    provenance: ProvenanceOut


class ManifestOut(TypedDict):
    """The `ManifestOut` object."""

    items: list[ContextItemOut]
    used_tokens: int
    budget: int
    target: int
    left_out: list[LeftOut]
    context_hash: str
    as_of: str
    degraded: list[str]


class ContextPromptOut(TypedDict):
    """A context as a single string, or as messages for a model."""

    text: NotRequired[str | None]
    messages: NotRequired[list[dict[str, str]] | None]
    citations: list[CitationOut]
    used_tokens: int
    budget: int
    context_hash: str
    as_of: str
    degraded: list[str]


class SummaryOut(TypedDict):
    """The `SummaryOut` object."""

    conversation_id: str
    level: Literal["daily", "weekly", "monthly"]
    period: str
    coord: str
    summary: str
    model: str
    tokens_used: int
    generated_at: str
    covers: CoversOut


class SuggestionsOut(TypedDict):
    """The `SuggestionsOut` object."""

    conversation_id: str
    suggestions: list[SuggestionOut]
    model: str


class SuggestionOut(TypedDict):
    """The `SuggestionOut` object."""

    label: str
    confidence: float
    is_existing: bool
    reason: str


class ExtractionOut(TypedDict):
    """Progress of an extraction."""

    conversation_id: str
    state: Literal["none", "queued", "running", "waiting", "failed", "done"]
    read_to_turn: int
    last_turn: int
    facts: int
    left_out: int
    cut: int
    error: str | None
    due_at: str | None


class FactsOut(TypedDict):
    """The `FactsOut` object."""

    conversation_id: str
    state: Literal["none", "queued", "running", "waiting", "failed", "done"]
    read_to_turn: int
    last_turn: int
    facts: int
    left_out: int
    cut: int
    error: str | None
    due_at: str | None
    items: list[FactOut]
    next_cursor: str | None


class RatedOut(TypedDict):
    """The `RatedOut` object."""

    score: float
    reasoning: str
    model: str


class PruneSuggestionsOut(TypedDict):
    """The `PruneSuggestionsOut` object."""

    suggestions: list[PruneSuggestionOut]
    total: int


class PruneSuggestionOut(TypedDict):
    """The `PruneSuggestionOut` object."""

    conversation_id: str
    conversation_label: str
    last_accessed: str
    message_count: int
    token_estimate: int
    importance_score: float
    preview: str
    recommendation: Literal["keep", "archive"]
    score: float
    reasons: list[str]


class ArchivedOut(TypedDict):
    """The `ArchivedOut` object."""

    archived: int
    conversation_ids: list[str]


class UpkeepOut(TypedDict):
    """The lifecycle policy in effect, and the report of its last run."""

    active_days: int
    archived_days: int
    own: list[str]
    pruning: PruningBody
    ran_at: str | None
    report: dict[str, Any]


class RestoredOut(TypedDict):
    """The `RestoredOut` object."""

    restored: int
    conversation_ids: list[str]


class ProposalsOut(TypedDict):
    """The `ProposalsOut` object."""

    items: list[ProposalOut]
    next_cursor: str | None


class ProposalOut(TypedDict):
    """The `ProposalOut` object."""

    id: str
    state: Literal["open", "accepted", "rejected"]
    newer: ProposedFact | None
    older: ProposedFact | None
    reason: str
    confidence: float
    created_at: str
    decided_at: str | None
    decided_by: str | None


class ImportOut(TypedDict):
    """The `ImportOut` object."""

    conversations: dict[str, int]
    messages: int
    left_out: dict[str, int]
    failed: int
    errors: list[ImportErrorOut]
    dry_run: bool


class TenantOut(TypedDict):
    """The `TenantOut` object."""

    slug: str
    name: str
    active: bool
    tier: Literal["free", "standard", "premium"]
    quotas: QuotasOut
    policies: PoliciesOut
    created_at: str


class TenantsOut(TypedDict):
    """The `TenantsOut` object."""

    items: list[TenantOut]
    next_cursor: str | None


class ErasedOut(TypedDict):
    """The `ErasedOut` object."""

    slug: str
    id: str
    erased_at: str
    rows: dict[str, int]
    elsewhere: dict[str, int]
    total: int
    complete: bool
    missing: list[str]


class UsageOut(TypedDict):
    """The `UsageOut` object."""

    slug: str
    memories: Used
    bytes: Used
    keys: Used
    requests_per_day: Used
    llm_tokens_per_day: Used
    llm_tokens_per_month: Used
    llm_cents_per_month: Used


class AuditPageOut(TypedDict):
    """The `AuditPageOut` object."""

    items: list[AuditOut]
    next_cursor: str | None


class IssuedKeyOut(TypedDict):
    """The `IssuedKeyOut` object."""

    prefix: str
    name: str
    scopes: list[str]
    namespaces: list[str]
    user_id: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    key: str


class KeysOut(TypedDict):
    """The `KeysOut` object."""

    items: list[KeyOut]
    next_cursor: str | None


class KeyOut(TypedDict):
    """The `KeyOut` object."""

    prefix: str
    name: str
    scopes: list[str]
    namespaces: list[str]
    user_id: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class RebuildOut(TypedDict):
    """The `RebuildOut` object."""

    job_id: str
    state: str
    estimated_completion_seconds: int


class JobOut(TypedDict):
    """The `JobOut` object."""

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


class PingOut(TypedDict):
    """The `PingOut` object."""

    status: str


class HealthzOut(TypedDict):
    """The `HealthzOut` object."""

    status: str
    kv_store: bool
    vector_store: bool
    graph_store: bool


class ReadyOut(TypedDict):
    """The `ReadyOut` object."""

    ready: bool
    reason: NotRequired[str | None]


class HealthOut(TypedDict):
    """The `HealthOut` object."""

    status: Literal["healthy", "degraded", "unhealthy"]
    healthy: bool
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]
    services: list[ServiceOut]


class FoundOut(TypedDict):
    """The `FoundOut` object."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None
    id: str
    coord: str
    coordinate: list[float]
    key: str | None
    namespace: str
    payload: dict[str, Any]
    memory_type: Literal["episodic", "semantic"]
    metadata: dict[str, Any]
    importance: float
    valid_from: str | None
    valid_to: str | None
    source: str | dict[str, Any] | None
    trust: float | None
    version: int
    created_at: str
    score: float
    relevance: float
    scores: NotRequired[dict[str, float | None] | None]


class CellOut(TypedDict):
    """The memories in one cell of a grid (`column`, `row`), or at and below one coordinate (`coord`)."""

    count: int
    importance: float
    max_importance: float
    column: NotRequired[int | None]
    row: NotRequired[int | None]
    coord: NotRequired[str | None]
    coordinate: NotRequired[list[float] | None]


class SingleOut(TypedDict):
    """The `SingleOut` object."""

    id: str
    coord: str
    coordinate: list[float]
    memory_type: Literal["episodic", "semantic"]
    importance: float
    text: str


class MemoryOut(TypedDict):
    """The `MemoryOut` object."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None
    id: str
    coord: str
    coordinate: list[float]
    key: str | None
    namespace: str
    payload: dict[str, Any]
    memory_type: Literal["episodic", "semantic"]
    metadata: dict[str, Any]
    importance: float
    valid_from: str | None
    valid_to: str | None
    source: str | dict[str, Any] | None
    trust: float | None
    version: int
    created_at: str
    context: str
    index_state: str
    updated_at: str
    expires_at: str | None
    access_count: int
    last_accessed_at: str | None
    deleted_at: NotRequired[str | None]
    distance: NotRequired[float | None]


class VersionOut(TypedDict):
    """The `VersionOut` object."""

    version: int
    at: str
    until: str | None
    by: str | None
    action: Literal["create", "update", "delete", "restore"]
    changed: list[str] | None
    payload: dict[str, Any]
    memory_type: Literal["episodic", "semantic"]
    metadata: dict[str, Any]
    user_id: str | None
    agent_id: str | None
    session_id: str | None
    importance: float
    context: str
    expires_at: str | None
    valid_from: str | None
    valid_to: str | None
    source: str | dict[str, Any] | None
    trust: float | None


class BulkResult(TypedDict):
    """The `BulkResult` object."""

    index: int
    status: int
    coord: str | None
    id: NotRequired[str | None]
    key: NotRequired[str | None]
    version: NotRequired[int | None]
    error: NotRequired[dict[str, Any] | None]


class BulkFound(TypedDict):
    """The `BulkFound` object."""

    coord: NotRequired[str | None]
    key: NotRequired[str | None]
    id: NotRequired[str | None]
    memory: MemoryOut | None


class LanguageModelStats(TypedDict):
    """Language model usage in one month."""

    month: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    limit: int | None
    limit_usd: float | None


class IndexStats(TypedDict):
    """The `IndexStats` object."""

    pending: int
    failed: int
    ready: int
    generation: str
    model: str
    dimension: int
    oldest_due_seconds: int


class NamespaceOut(TypedDict):
    """The `NamespaceOut` object."""

    namespace: str
    memories: int
    exact: bool


class BulkLinkResult(TypedDict):
    """The `BulkLinkResult` object."""

    index: int
    status: int
    from_coord: NotRequired[str | None]
    to_coord: NotRequired[str | None]
    link_type: NotRequired[str | None]
    error: NotRequired[dict[str, Any] | None]


class NeighborOut(TypedDict):
    """The `NeighborOut` object."""

    coord: str
    coordinate: list[float]
    link_type: str
    strength: float
    hops: int
    direction: Literal["out", "in"]
    path: list[str]
    memory: NotRequired[MemoryOut | None]


class ExportedLink(TypedDict):
    """The `ExportedLink` object."""

    from_coord: str
    to_coord: str
    link_type: str
    strength: float
    metadata: dict[str, Any]
    namespace: str
    valid_from: str | None
    valid_to: str | None


class ListedOut(TypedDict):
    """A conversation with the fields of a search result, which Sekha's clients expect in a list."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None
    id: str
    conversation_id: str
    external_id: str | None
    number: int
    label: str
    labelled_by: str | None
    folder: str
    status: Literal["active", "pinned", "archived"]
    tier: Literal["active", "archived", "cold"]
    importance_score: float
    message_count: int
    word_count: int
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    message_id: str
    score: float
    content: str
    timestamp: str


class MessageOut(TypedDict):
    """The `MessageOut` object."""

    id: str
    role: str
    content: str
    content_parts: NotRequired[list[dict[str, Any]] | None]
    tool_calls: NotRequired[list[dict[str, Any]] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    coord: str
    timestamp: str
    metadata: dict[str, Any]
    importance: float
    conversation_id: str
    turn: int


class DeletedConversationOut(TypedDict):
    """A deleted conversation."""

    id: str
    deleted_at: str
    restorable_until: str
    conversation: ConversationOut | None


class QueryResultOut(TypedDict):
    """The `QueryResultOut` object."""

    conversation_id: str
    message_id: str
    score: float
    relevance: float
    similarity: float | None
    role: str
    content: str
    coord: str
    metadata: dict[str, Any]
    label: str
    folder: str
    timestamp: str


class FullTextResultOut(TypedDict):
    """The `FullTextResultOut` object."""

    id: str
    role: str
    content: str
    content_parts: NotRequired[list[dict[str, Any]] | None]
    tool_calls: NotRequired[list[dict[str, Any]] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    coord: str
    timestamp: str
    metadata: dict[str, Any]
    importance: float
    conversation_id: str
    turn: int
    rank: float
    label: str
    folder: str


class ProvenanceOut(TypedDict):
    """The `ProvenanceOut` object."""

    source: str | dict[str, Any] | None
    trust: float | None


class ContextItemOut(TypedDict):
    """The `ContextItemOut` object."""

    id: str
    role: str
    content: str
    content_parts: NotRequired[list[dict[str, Any]] | None]
    tool_calls: NotRequired[list[dict[str, Any]] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    coord: str
    timestamp: str
    metadata: dict[str, Any]
    importance: float
    conversation_id: str | None
    turn: int | None
    label: str
    folder: str
    namespace: str
    relevance: float | None
    provenance: ProvenanceOut
    scores: ContextScores
    tokens: int
    source: str
    truncated: bool


class LeftOut(TypedDict):
    """The `LeftOut` object."""

    id: str
    conversation_id: str | None
    coord: str
    reason: Literal["budget", "duplicate", "excluded"]
    score: float | None
    tokens: int | None
    duplicate_of: NotRequired[str | None]


class CitationOut(TypedDict):
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


CoversOut = TypedDict(
    "CoversOut",
    {
        "first_turn": "int",
        "last_turn": "int",
        "messages": "int",
        "left_out": "int",
        "days": "list[str]",
        "from": "str",
        "to": "str",
    },
)


class FactOut(TypedDict):
    """The `FactOut` object."""

    id: str
    coord: str
    fact: str
    turn: int
    entities: list[str]
    model: str
    timestamp: str


class ProposedFact(TypedDict):
    """The `ProposedFact` object."""

    id: str
    coord: str
    fact: str
    timestamp: str


class ImportErrorOut(TypedDict):
    """The `ImportErrorOut` object."""

    place: str
    reason: str


class QuotasOut(TypedDict):
    """The `QuotasOut` object."""

    memories: int | None
    bytes: int | None
    keys: int | None
    requests_per_day: int | None
    llm_tokens_per_day: int | None
    llm_tokens_per_month: int | None
    llm_cents_per_month: int | None


class PoliciesOut(TypedDict):
    """The `PoliciesOut` object."""

    auto_label: float | None
    extract_facts: bool
    history_days: int | None


class Used(TypedDict):
    """The `Used` object."""

    used: int
    quota: int | None


class AuditOut(TypedDict):
    """The `AuditOut` object."""

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


class CheckOut(TypedDict):
    """The `CheckOut` object."""

    status: Literal["healthy", "unhealthy"]
    latency_ms: float


class ServiceOut(TypedDict):
    """The `ServiceOut` object."""

    name: str
    healthy: bool
    latency_ms: float


class ContextScores(TypedDict):
    """The `ContextScores` object."""

    total: float
    relevance: float
    importance: float
    recency: float
    label: float


class MemoriesSearchByQueryOptions(TypedDict):
    """Optional parameters of `memories.search_by_query`."""

    namespace_prefix: NotRequired[str | None]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    top_k: NotRequired[int]
    offset: NotRequired[int]
    namespace: NotRequired[str]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    filters: NotRequired[str | None]
    mode: NotRequired[Literal["hybrid", "semantic", "keyword"]]
    prefix: NotRequired[str | Sequence[float] | None]
    key_prefix: NotRequired[str | None]
    near: NotRequired[str | Sequence[float] | None]
    radius: NotRequired[float | None]
    min_score: NotRequired[float]
    min_relevance: NotRequired[float]
    consistency: NotRequired[Literal["eventual", "strong"]]
    explain: NotRequired[bool]
    include_archived: NotRequired[bool]
    valid_at: NotRequired[str | datetime | None]
    include_superseded: NotRequired[bool]
    as_of: NotRequired[str | datetime | None]


class MemoriesSearchOptions(TypedDict):
    """Optional parameters of `memories.search`."""

    namespace_prefix: NotRequired[str | None]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    top_k: NotRequired[int]
    offset: NotRequired[int]
    namespace: NotRequired[str | Sequence[str]]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    filters: NotRequired[Mapping[str, Any] | None]
    mode: NotRequired[Literal["hybrid", "semantic", "keyword"]]
    prefix: NotRequired[str | Sequence[float] | None]
    key_prefix: NotRequired[str | None]
    near: NotRequired[str | Sequence[float] | None]
    radius: NotRequired[float | None]
    min_score: NotRequired[float]
    min_relevance: NotRequired[float]
    consistency: NotRequired[Literal["eventual", "strong"]]
    weights: NotRequired[Weights]
    expand: NotRequired[ExpandBody | None]
    explain: NotRequired[bool]
    include_archived: NotRequired[bool]
    valid_at: NotRequired[str | datetime | None]
    include_superseded: NotRequired[bool]
    as_of: NotRequired[str | datetime | None]


class MemoriesMapOptions(TypedDict):
    """Optional parameters of `memories.map`."""

    namespace: NotRequired[str]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    prefix: NotRequired[str | Sequence[float] | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    depth: NotRequired[int | None]
    axes: NotRequired[str | None]
    box: NotRequired[str | None]
    resolution: NotRequired[int | None]
    limit: NotRequired[int | None]
    cursor: NotRequired[str | None]


class MemoriesGetByKeyOptions(TypedDict):
    """Optional parameters of `memories.get_by_key`."""

    as_of: NotRequired[str | datetime | None]
    namespace: NotRequired[str]


class MemoriesStoreByKeyOptions(TypedDict):
    """Optional parameters of `memories.store_by_key`."""

    namespace: NotRequired[str]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    coord: NotRequired[str | Sequence[float]]
    memory_type: NotRequired[Literal["episodic", "semantic"]]
    metadata: NotRequired[Mapping[str, Any]]
    importance: NotRequired[float]
    context: NotRequired[str]
    ttl_seconds: NotRequired[int | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName]]
    embedding: NotRequired[Sequence[float] | None]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesPatchByKeyOptions(TypedDict):
    """Optional parameters of `memories.patch_by_key`."""

    namespace: NotRequired[str]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    payload: NotRequired[Mapping[str, Any] | None]
    metadata: NotRequired[Mapping[str, Any] | None]
    importance: NotRequired[float | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    context: NotRequired[str | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName] | None]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesDeleteByKeyOptions(TypedDict):
    """Optional parameters of `memories.delete_by_key`."""

    purge: NotRequired[bool]
    namespace: NotRequired[str]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesGetByIdOptions(TypedDict):
    """Optional parameters of `memories.get_by_id`."""

    as_of: NotRequired[str | datetime | None]


class MemoriesPatchByIdOptions(TypedDict):
    """Optional parameters of `memories.patch_by_id`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    payload: NotRequired[Mapping[str, Any] | None]
    metadata: NotRequired[Mapping[str, Any] | None]
    importance: NotRequired[float | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    context: NotRequired[str | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName] | None]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesDeleteByIdOptions(TypedDict):
    """Optional parameters of `memories.delete_by_id`."""

    purge: NotRequired[bool]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesRestoreByIdOptions(TypedDict):
    """Optional parameters of `memories.restore_by_id`."""

    version: NotRequired[int | None]


class MemoriesHistoryOptions(TypedDict):
    """Optional parameters of `memories.history`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]
    namespace: NotRequired[str]


class MemoriesHistoryByKeyOptions(TypedDict):
    """Optional parameters of `memories.history_by_key`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]
    namespace: NotRequired[str]


class MemoriesHistoryByIdOptions(TypedDict):
    """Optional parameters of `memories.history_by_id`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class MemoriesStoreOptions(TypedDict):
    """Optional parameters of `memories.store`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    coord: NotRequired[str | Sequence[float]]
    memory_type: NotRequired[Literal["episodic", "semantic"]]
    metadata: NotRequired[Mapping[str, Any]]
    importance: NotRequired[float]
    context: NotRequired[str]
    ttl_seconds: NotRequired[int | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName]]
    embedding: NotRequired[Sequence[float] | None]
    key: NotRequired[str | None]
    namespace: NotRequired[str]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesListOptions(TypedDict):
    """Optional parameters of `memories.list`."""

    namespace: NotRequired[str]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    prefix: NotRequired[str | Sequence[float] | None]
    key_prefix: NotRequired[str | None]
    near: NotRequired[str | Sequence[float] | None]
    radius: NotRequired[float | None]
    box: NotRequired[str | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    filters: NotRequired[str | None]
    created_after: NotRequired[str | datetime | None]
    created_before: NotRequired[str | datetime | None]
    updated_after: NotRequired[str | datetime | None]
    valid_at: NotRequired[str | datetime | None]
    as_of: NotRequired[str | datetime | None]
    include_deleted: NotRequired[bool]
    order: NotRequired[
        Literal["coordinate", "-coordinate", "created_at", "-created_at", "updated_at", "-updated_at"] | None
    ]
    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class MemoriesStoreManyOptions(TypedDict):
    """Optional parameters of `memories.store_many`."""

    atomic: NotRequired[bool]


class MemoriesGetManyOptions(TypedDict):
    """Optional parameters of `memories.get_many`."""

    coords: NotRequired[Sequence[str | Sequence[float]] | None]
    keys: NotRequired[Sequence[str] | None]
    ids: NotRequired[Sequence[str] | None]
    namespace: NotRequired[str | None]


class MemoriesDeleteManyOptions(TypedDict):
    """Optional parameters of `memories.delete_many`."""

    coords: NotRequired[Sequence[str | Sequence[float]] | None]
    keys: NotRequired[Sequence[str] | None]
    ids: NotRequired[Sequence[str] | None]
    namespace: NotRequired[str | None]


class MemoriesRestoreByNameOptions(TypedDict):
    """Optional parameters of `memories.restore_by_name`."""

    coord: NotRequired[str | Sequence[float] | None]
    key: NotRequired[str | None]
    id: NotRequired[str | None]
    namespace: NotRequired[str | None]
    version: NotRequired[int | None]


class MemoriesDeleteMatchingOptions(TypedDict):
    """Optional parameters of `memories.delete_matching`."""

    namespace_prefix: NotRequired[str | None]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    namespace: NotRequired[str | Sequence[str]]
    filters: NotRequired[Mapping[str, Any] | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    prefix: NotRequired[str | Sequence[float] | None]
    created_before: NotRequired[str | datetime | None]
    all: NotRequired[bool]
    dry_run: NotRequired[bool]
    limit: NotRequired[int]


class MemoriesGetOptions(TypedDict):
    """Optional parameters of `memories.get`."""

    as_of: NotRequired[str | datetime | None]
    namespace: NotRequired[str]


class MemoriesPatchOptions(TypedDict):
    """Optional parameters of `memories.patch`."""

    namespace: NotRequired[str]
    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    payload: NotRequired[Mapping[str, Any] | None]
    metadata: NotRequired[Mapping[str, Any] | None]
    importance: NotRequired[float | None]
    memory_type: NotRequired[Literal["episodic", "semantic"] | None]
    context: NotRequired[str | None]
    expires_at: NotRequired[str | datetime | None]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    source: NotRequired[str | Mapping[str, Any] | None]
    trust: NotRequired[float | None]
    supersedes: NotRequired[Sequence[MemoryName] | None]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesDeleteOptions(TypedDict):
    """Optional parameters of `memories.delete`."""

    purge: NotRequired[bool]
    namespace: NotRequired[str]
    if_match: NotRequired[str | int]
    if_none_match: NotRequired[str | int]


class MemoriesRestoreOptions(TypedDict):
    """Optional parameters of `memories.restore`."""

    version: NotRequired[int | None]
    namespace: NotRequired[str]


class StatsGetOptions(TypedDict):
    """Optional parameters of `stats.get`."""


class NamespacesListOptions(TypedDict):
    """Optional parameters of `namespaces.list`."""

    prefix: NotRequired[str | None]
    depth: NotRequired[int | None]
    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class NamespacesRenameOptions(TypedDict):
    """Optional parameters of `namespaces.rename`."""

    merge: NotRequired[bool]


class NamespacesDeleteOptions(TypedDict):
    """Optional parameters of `namespaces.delete`."""

    below: NotRequired[bool]
    purge: NotRequired[bool]


class GraphLinkOptions(TypedDict):
    """Optional parameters of `graph.link`."""

    link_type: NotRequired[str]
    strength: NotRequired[float]
    metadata: NotRequired[Mapping[str, Any]]
    namespace: NotRequired[str]
    valid_from: NotRequired[str | datetime | None]
    valid_to: NotRequired[str | datetime | None]
    from_key: NotRequired[str | None]
    from_id: NotRequired[str | None]
    to_key: NotRequired[str | None]
    to_id: NotRequired[str | None]
    from_coord: NotRequired[str | Sequence[float]]
    to_coord: NotRequired[str | Sequence[float]]


class GraphUnlinkOptions(TypedDict):
    """Optional parameters of `graph.unlink`."""

    namespace: NotRequired[str]
    from_key: NotRequired[str | None]
    from_id: NotRequired[str | None]
    to_key: NotRequired[str | None]
    to_id: NotRequired[str | None]
    from_coord: NotRequired[str | Sequence[float] | None]
    to_coord: NotRequired[str | Sequence[float] | None]
    link_type: NotRequired[str]


class GraphLinkManyOptions(TypedDict):
    """Optional parameters of `graph.link_many`."""

    atomic: NotRequired[bool]


class GraphNeighborsOptions(TypedDict):
    """Optional parameters of `graph.neighbors`."""

    link_type: NotRequired[str | None]
    direction: NotRequired[Literal["out", "in", "both"]]
    min_strength: NotRequired[float]
    as_of: NotRequired[str | datetime | None]
    valid_at: NotRequired[str | datetime | None]
    k_hop: NotRequired[int]
    limit: NotRequired[int]
    offset: NotRequired[int]
    include_memory: NotRequired[bool]
    namespace: NotRequired[str]
    coord: NotRequired[str | Sequence[float] | None]
    key: NotRequired[str | None]
    id: NotRequired[str | None]


class MemoriesLinksByIdOptions(TypedDict):
    """Optional parameters of `memories.links_by_id`."""

    link_type: NotRequired[str | None]
    direction: NotRequired[Literal["out", "in", "both"]]
    min_strength: NotRequired[float]
    as_of: NotRequired[str | datetime | None]
    valid_at: NotRequired[str | datetime | None]
    k_hop: NotRequired[int]
    limit: NotRequired[int]
    offset: NotRequired[int]
    include_memory: NotRequired[bool]


class GraphPathOptions(TypedDict):
    """Optional parameters of `graph.path`."""

    link_type: NotRequired[str | None]
    direction: NotRequired[Literal["out", "in", "both"]]
    min_strength: NotRequired[float]
    as_of: NotRequired[str | datetime | None]
    valid_at: NotRequired[str | datetime | None]
    namespace: NotRequired[str]
    from_key: NotRequired[str | None]
    from_id: NotRequired[str | None]
    to_key: NotRequired[str | None]
    to_id: NotRequired[str | None]
    from_coord: NotRequired[str | Sequence[float] | None]
    to_coord: NotRequired[str | Sequence[float] | None]
    max_length: NotRequired[int]
    weighted: NotRequired[bool]


class GraphExportOptions(TypedDict):
    """Optional parameters of `graph.export`."""

    namespace: NotRequired[str]
    format: NotRequired[Literal["graphml", "json"]]
    prefix: NotRequired[str | Sequence[float] | None]
    coords: NotRequired[str | None]


class ConversationsCreateOptions(TypedDict):
    """Optional parameters of `conversations.create`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]
    messages: NotRequired[Sequence[MessageBody]]
    metadata: NotRequired[Mapping[str, Any] | None]
    importance_score: NotRequired[float | None]


class ConversationsListOptions(TypedDict):
    """Optional parameters of `conversations.list`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]
    status: NotRequired[Literal["active", "pinned", "archived"] | None]
    pinned: NotRequired[bool | None]
    archived: NotRequired[bool | None]
    q: NotRequired[str | None]
    page: NotRequired[int | None]
    page_size: NotRequired[int | None]
    cursor: NotRequired[str | None]
    limit: NotRequired[int | None]


class ConversationsCreateOnceOptions(TypedDict):
    """Optional parameters of `conversations.create_once`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]
    messages: NotRequired[Sequence[MessageBody]]
    metadata: NotRequired[Mapping[str, Any] | None]
    importance_score: NotRequired[float | None]


class ConversationsGetByExternalIdOptions(TypedDict):
    """Optional parameters of `conversations.get_by_external_id`."""


class ConversationsListMessagesByExternalIdOptions(TypedDict):
    """Optional parameters of `conversations.list_messages_by_external_id`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class ConversationsAppendByExternalIdOptions(TypedDict):
    """Optional parameters of `conversations.append_by_external_id`."""


class ConversationsCountOptions(TypedDict):
    """Optional parameters of `conversations.count`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]


class ConversationsListDeletedOptions(TypedDict):
    """Optional parameters of `conversations.list_deleted`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class ConversationsGetOptions(TypedDict):
    """Optional parameters of `conversations.get`."""


class ConversationsUpdateOptions(TypedDict):
    """Optional parameters of `conversations.update`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]
    status: NotRequired[Literal["active", "pinned", "archived"] | None]
    importance_score: NotRequired[float | None]
    metadata: NotRequired[Mapping[str, Any] | None]


class ConversationsDeleteOptions(TypedDict):
    """Optional parameters of `conversations.delete`."""

    purge: NotRequired[bool]


class ConversationsRestoreOptions(TypedDict):
    """Optional parameters of `conversations.restore`."""


class ConversationsListMessagesOptions(TypedDict):
    """Optional parameters of `conversations.list_messages`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class ConversationsAppendOptions(TypedDict):
    """Optional parameters of `conversations.append`."""


class ConversationsSetLabelOptions(TypedDict):
    """Optional parameters of `conversations.set_label`."""

    folder: NotRequired[str | None]


class ConversationsSetFolderOptions(TypedDict):
    """Optional parameters of `conversations.set_folder`."""


class ConversationsSetStatusOptions(TypedDict):
    """Optional parameters of `conversations.set_status`."""


class ConversationsPinOptions(TypedDict):
    """Optional parameters of `conversations.pin`."""


class ConversationsArchiveOptions(TypedDict):
    """Optional parameters of `conversations.archive`."""


class MessagesSearchOptions(TypedDict):
    """Optional parameters of `messages.search`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    filters: NotRequired[Mapping[str, Any] | None]
    limit: NotRequired[int | None]
    offset: NotRequired[int | None]
    include_archived: NotRequired[bool | None]
    min_relevance: NotRequired[float]


class MessagesSearchSmartOptions(TypedDict):
    """Optional parameters of `messages.search_smart`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    filters: NotRequired[Mapping[str, Any] | None]
    limit: NotRequired[int | None]
    offset: NotRequired[int | None]
    include_archived: NotRequired[bool | None]
    min_relevance: NotRequired[float]


class MessagesSearchFullTextOptions(TypedDict):
    """Optional parameters of `messages.search_full_text`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    limit: NotRequired[int | None]
    offset: NotRequired[int | None]
    include_archived: NotRequired[bool]


class ContextAssembleOptions(TypedDict):
    """Optional parameters of `context.assemble`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    preferred_labels: NotRequired[Sequence[str]]
    excluded_folders: NotRequired[Sequence[str]]
    folder: NotRequired[str | None]
    conversation_id: NotRequired[str | None]
    exclude_current_session: NotRequired[bool]
    filters: NotRequired[Mapping[str, Any] | None]
    namespaces: NotRequired[Sequence[str]]
    min_relevance: NotRequired[float | None]
    context_budget: NotRequired[int]
    order: NotRequired[Literal["relevance", "chronological"]]
    include_archived: NotRequired[bool]
    truncate: NotRequired[bool]
    as_of: NotRequired[str | datetime | None]


class SummariesCreateOptions(TypedDict):
    """Optional parameters of `summaries.create`."""

    level: NotRequired[Literal["daily", "weekly", "monthly"]]
    day: NotRequired[str | None]


class SummariesCreateForConversationOptions(TypedDict):
    """Optional parameters of `summaries.create_for_conversation`."""

    level: NotRequired[Literal["daily", "weekly", "monthly"]]
    day: NotRequired[str | None]


class LabelsSuggestOptions(TypedDict):
    """Optional parameters of `labels.suggest`."""


class LabelsSuggestForConversationOptions(TypedDict):
    """Optional parameters of `labels.suggest_for_conversation`."""


class FactsExtractOptions(TypedDict):
    """Optional parameters of `facts.extract`."""


class FactsListOptions(TypedDict):
    """Optional parameters of `facts.list`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class MessagesRateOptions(TypedDict):
    """Optional parameters of `messages.rate`."""


class PruningPreviewOptions(TypedDict):
    """Optional parameters of `pruning.preview`."""

    threshold_days: NotRequired[float]
    importance_threshold: NotRequired[float]


class PruningSuggestionsOptions(TypedDict):
    """Optional parameters of `pruning.suggestions`."""

    threshold_days: NotRequired[float]
    importance_threshold: NotRequired[float]


class PruningExecuteOptions(TypedDict):
    """Optional parameters of `pruning.execute`."""


class UpkeepGetOptions(TypedDict):
    """Optional parameters of `upkeep.get`."""


class UpkeepUpdateOptions(TypedDict):
    """Optional parameters of `upkeep.update`."""

    active_days: NotRequired[int | None]
    archived_days: NotRequired[int | None]
    pruning: NotRequired[PruningBody | None]


class PruningUndoOptions(TypedDict):
    """Optional parameters of `pruning.undo`."""


class ProposalsListOptions(TypedDict):
    """Optional parameters of `proposals.list`."""

    state: NotRequired[Literal["open", "accepted", "rejected"]]
    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class ProposalsAcceptOptions(TypedDict):
    """Optional parameters of `proposals.accept`."""


class ProposalsRejectOptions(TypedDict):
    """Optional parameters of `proposals.reject`."""


class ProposalsUndoOptions(TypedDict):
    """Optional parameters of `proposals.undo`."""


class ConversationsImportOptions(TypedDict):
    """Optional parameters of `conversations.import`."""

    source: NotRequired[Literal["auto", "chatgpt", "claude", "soma", "messages", "markdown", "text"]]
    name: NotRequired[str]
    dry_run: NotRequired[bool]


class ConversationsExportOptions(TypedDict):
    """Optional parameters of `conversations.export`."""

    user_id: NotRequired[str | None]
    agent_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    label: NotRequired[str | None]
    folder: NotRequired[str | None]
    format: NotRequired[Literal["json", "jsonl", "markdown"]]


class TenantsCreateOptions(TypedDict):
    """Optional parameters of `tenants.create`."""

    name: NotRequired[str]
    tier: NotRequired[Literal["free", "standard", "premium"]]
    quotas: NotRequired[Quotas]
    policies: NotRequired[Policies]


class TenantsListOptions(TypedDict):
    """Optional parameters of `tenants.list`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class TenantsGetOptions(TypedDict):
    """Optional parameters of `tenants.get`."""


class TenantsUpdateOptions(TypedDict):
    """Optional parameters of `tenants.update`."""

    name: NotRequired[str | None]
    tier: NotRequired[Literal["free", "standard", "premium"] | None]
    active: NotRequired[bool | None]
    quotas: NotRequired[Quotas]
    policies: NotRequired[Policies]


class TenantsEraseOptions(TypedDict):
    """Optional parameters of `tenants.erase`."""


class TenantsUsageOptions(TypedDict):
    """Optional parameters of `tenants.usage`."""


class TenantsListAuditOptions(TypedDict):
    """Optional parameters of `tenants.list_audit`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]
    action: NotRequired[str]
    actor: NotRequired[str]
    target: NotRequired[str]
    since: NotRequired[str | datetime | None]
    until: NotRequired[str | datetime | None]


class TenantsExportOptions(TypedDict):
    """Optional parameters of `tenants.export`."""


class KeysCreateOptions(TypedDict):
    """Optional parameters of `keys.create`."""

    name: NotRequired[str]
    scopes: NotRequired[Sequence[Literal["read", "write", "delete", "admin"]]]
    namespaces: NotRequired[Sequence[str]]
    user_id: NotRequired[str | None]
    expires_at: NotRequired[str | datetime | None]
    secret: NotRequired[str | None]


class KeysListOptions(TypedDict):
    """Optional parameters of `keys.list`."""

    limit: NotRequired[int]
    cursor: NotRequired[str | None]


class KeysRotateOptions(TypedDict):
    """Optional parameters of `keys.rotate`."""

    overlap_hours: NotRequired[int]


class KeysRevokeOptions(TypedDict):
    """Optional parameters of `keys.revoke`."""


class EmbeddingsRebuildOptions(TypedDict):
    """Optional parameters of `embeddings.rebuild`."""

    provider: NotRequired[str]
    model: NotRequired[str]
    dimension: NotRequired[int]
    from_stored_vectors: NotRequired[bool]


class JobsGetOptions(TypedDict):
    """Optional parameters of `jobs.get`."""


class HealthPingOptions(TypedDict):
    """Optional parameters of `health.ping`."""


class HealthLiveOptions(TypedDict):
    """Optional parameters of `health.live`."""


class HealthReadyOptions(TypedDict):
    """Optional parameters of `health.ready`."""


class HealthMetricsOptions(TypedDict):
    """Optional parameters of `health.metrics`."""


class HealthGetOptions(TypedDict):
    """Optional parameters of `health.get`."""

"""Request and response schemas for summaries, labels, importance, facts, pruning, import and export."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from api.conversations.schemas import Folder, Label
from api.json import JsonObject
from api.schemas import MAX_BULK, Body, Cursor, Decimal, Id, Limit, OwnerIds, Params, Patch, Text
from conversations.lifecycle import pruning
from conversations.models import DEFAULT_IMPORTANCE
from conversations.transfer.exporting import JSON, JSONL, MARKDOWN
from conversations.transfer.formats import SOURCES
from somamemory import times


def _day(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a valid date, such as 2026-01-31") from None
        if times.is_convertible(day):
            return day
    raise ValueError("must be a date such as 2026-01-31")


Day = Annotated[date, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Level = Literal["daily", "weekly", "monthly"]
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
TierDays = Annotated[int, Field(ge=0, le=36_500)]
Threshold = Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_BULK)]


class SummarizeBody(Body):
    """The conversation and the period to summarise."""

    conversation_id: Id
    level: Level = "daily"
    day: Day | None = None


class SummaryParams(Params):
    level: Level = "daily"
    day: Day | None = None


class ConversationIdBody(Body):
    conversation_id: Id


class PruneBody(Body):
    threshold_days: Days = pruning.DEFAULT_DAYS
    importance_threshold: Threshold = DEFAULT_IMPORTANCE


class PruneParams(Params):
    threshold_days: Annotated[Decimal, Field(ge=0, le=36_500)] = pruning.DEFAULT_DAYS
    importance_threshold: Annotated[Decimal, Field(ge=1, le=10)] = DEFAULT_IMPORTANCE


class ConversationIdsBody(Body):
    conversation_ids: Ids


class ImportParams(Params):
    """Import parameters. `name` is used as the label of a text without a title."""

    source: Literal[SOURCES] = "auto"  # type: ignore[valid-type]
    name: Annotated[Text, Field(max_length=255)] = ""
    dry_run: bool = False


class ExportParams(OwnerIds, Params):
    label: Label | None = None
    folder: Folder | None = None
    format: Literal[JSON, JSONL, MARKDOWN] = JSON  # type: ignore[valid-type]


class CoversOut(BaseModel):
    first_turn: int
    last_turn: int
    messages: int
    left_out: int
    days: list[str]
    from_: Annotated[str, Field(alias="from")]
    to: str


class SummaryOut(BaseModel):
    conversation_id: str
    level: Level
    period: str
    coord: str
    summary: str
    model: str
    tokens_used: int
    generated_at: str
    covers: CoversOut


class SuggestionOut(BaseModel):
    label: str
    confidence: float
    is_existing: bool
    reason: str


class SuggestionsOut(BaseModel):
    conversation_id: str
    suggestions: list[SuggestionOut]
    model: str


class ExtractionOut(BaseModel):
    """Progress of an extraction.

    `left_out` counts facts that were discarded because they cite none of the messages that were read. `cut` counts
    messages that were only partly read, or skipped because the language model always fails on them.
    """

    conversation_id: str
    state: Literal["none", "queued", "running", "waiting", "failed", "done"]
    read_to_turn: int
    last_turn: int
    facts: int
    left_out: int
    cut: int
    error: str | None
    due_at: str | None


class FactOut(BaseModel):
    id: str
    coord: str
    fact: str
    turn: int
    entities: list[str]
    model: str
    timestamp: str


class FactsOut(ExtractionOut):
    items: list[FactOut]
    next_cursor: str | None


class FactsParams(Params):
    limit: Limit = 50
    cursor: Cursor | None = None


class RatedOut(BaseModel):
    score: float
    reasoning: str
    model: str


class PruneSuggestionOut(BaseModel):
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


class PruneSuggestionsOut(BaseModel):
    suggestions: list[PruneSuggestionOut]
    total: int


class ArchivedOut(BaseModel):
    archived: int
    conversation_ids: list[str]


class RestoredOut(BaseModel):
    restored: int
    conversation_ids: list[str]


class ProposalParams(Params):
    state: Literal["open", "accepted", "rejected"] = "open"
    limit: Limit = 50
    cursor: Cursor | None = None


class ProposedFact(BaseModel):
    id: str
    coord: str
    fact: str
    timestamp: str


class ProposalOut(BaseModel):
    id: str
    state: Literal["open", "accepted", "rejected"]
    newer: ProposedFact | None
    older: ProposedFact | None
    reason: str
    confidence: float
    created_at: str
    decided_at: str | None
    decided_by: str | None


class ProposalsOut(BaseModel):
    items: list[ProposalOut]
    next_cursor: str | None


class PruningBody(Body):
    mode: Literal["off", "report", "archive"] = "report"
    threshold_days: Days = pruning.DEFAULT_DAYS
    importance_threshold: Threshold = DEFAULT_IMPORTANCE


class UpkeepPatch(Patch):
    """Omitted fields are left unchanged. Null resets a field to the installation's default."""

    active_days: TierDays | None = None
    archived_days: TierDays | None = None
    pruning: PruningBody | None = None


class UpkeepOut(BaseModel):
    """The lifecycle policy in effect, and the report of its last run."""

    active_days: int
    archived_days: int
    own: list[str]
    pruning: PruningBody
    ran_at: str | None
    report: JsonObject


class ImportErrorOut(BaseModel):
    place: str
    reason: str


class ImportOut(BaseModel):
    conversations: dict[str, int]
    messages: int
    left_out: dict[str, int]
    failed: int
    errors: list[ImportErrorOut]
    dry_run: bool

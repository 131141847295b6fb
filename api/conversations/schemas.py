"""Request and response schemas for conversations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, field_validator

from api.json import JsonObject
from api.schemas import (
    MAX_BULK,
    Body,
    Cursor,
    Instant,
    Limit,
    OwnerIds,
    OwnerIdsOut,
    Params,
    Patch,
    Text,
    Whole,
)
from conversations import content_parts, folders
from conversations.content_parts import MAX_NAME_LENGTH, MAX_PARTS, Content
from conversations.models import MAX_LABEL_LENGTH

MAX_CONTENT_LENGTH = 100_000


def _folder(text: str) -> str:
    if problem := folders.problem(text):
        raise ValueError(problem)
    return text


def _short(content: Content) -> Content:
    if len(content_parts.text_of(content)) > MAX_CONTENT_LENGTH:
        raise ValueError(f"must have at most {MAX_CONTENT_LENGTH} characters")
    return content


def _part(part: JsonObject) -> JsonObject:
    if problem := content_parts.problem(part):
        raise ValueError(problem)
    return part


def _null_as_empty(value: object) -> object:
    return {} if value is None else value


Label = Annotated[Text, Field(max_length=MAX_LABEL_LENGTH)]
Folder = Annotated[Text, Field(max_length=folders.MAX_LENGTH), AfterValidator(_folder)]
Status = Literal["active", "pinned", "archived"]
Role = Literal["user", "assistant", "system", "tool", "developer"]
ShortText = Annotated[Text, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
ContentParts = Annotated[list[Annotated[JsonObject, AfterValidator(_part)]], Field(max_length=MAX_PARTS)]
ImportanceScore = Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)]
Metadata = Annotated[JsonObject, BeforeValidator(_null_as_empty, json_schema_input_type=JsonObject | None)]
PageNumber = Annotated[Whole, Field(ge=1, le=1_000_000)]
PageSize = Annotated[Whole, Field(ge=1, le=200)]


class MessageBody(Body):
    """A message in the format used by model APIs.

    Searches cover only its text. Its other parts and its tool calls are stored and returned.
    """

    role: Role
    name: ShortText | None = None
    tool_calls: Annotated[list[JsonObject], Field(max_length=MAX_PARTS)] | None = None
    tool_call_id: ShortText | None = None
    # Declared after the fields on which its validator depends
    content: Annotated[Text | ContentParts | None, AfterValidator(_short), Field(validate_default=True)] = None
    metadata: Metadata = Field(default_factory=dict)
    timestamp: Instant | None = None

    @field_validator("content")
    @classmethod
    def _has_content(cls, content: Content, info: ValidationInfo) -> Content:
        """Allow blank text in tool results, and in messages that have tool calls or parts other than text."""
        if content_parts.text_of(content).strip() or info.data.get("role") == "tool" or info.data.get("tool_calls"):
            return content
        if isinstance(content, list) and not all(map(content_parts.is_text, content)):
            return content
        raise ValueError("must not be empty or blank, unless the message has tool_calls")

    @property
    def text(self) -> str:
        return content_parts.text_of(self.content)

    @property
    def more(self) -> JsonObject:
        """Return the fields to store besides the text."""
        more = {"tool_calls": self.tool_calls, "tool_call_id": self.tool_call_id, "name": self.name}
        if isinstance(self.content, list):
            more["content_parts"] = self.content
        return {name: value for name, value in more.items() if value}


class ConversationBody(OwnerIds, Body):
    label: Label | None = None
    folder: Folder | None = None
    messages: Annotated[list[MessageBody], Field(max_length=MAX_BULK)] = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    importance_score: ImportanceScore | None = None


class MessagesBody(Body):
    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MAX_BULK)]


class LabelBody(Patch):
    label: Label | None
    folder: Folder | None = None


class FolderBody(Body):
    folder: Folder | None


class StatusBody(Body):
    status: Status


class ConversationPatch(OwnerIds, Patch):
    """Omitted fields are left unchanged. Null resets a field to its default."""

    label: Label | None = None
    folder: Folder | None = None
    status: Status | None = None
    importance_score: ImportanceScore | None = None
    metadata: JsonObject | None = None


class CountParams(OwnerIds, Params):
    label: Label | None = None
    folder: Folder | None = None


class ConversationListParams(CountParams):
    status: Status | None = None
    pinned: bool | None = None
    archived: bool | None = None
    q: Annotated[Text, Field(max_length=MAX_LABEL_LENGTH)] | None = None
    page: PageNumber | None = None
    page_size: PageSize | None = None
    cursor: Cursor | None = None
    limit: Limit | None = None


class ConversationDeleteParams(Params):
    purge: bool = False


class MessageListParams(Params):
    limit: Limit = 50
    cursor: Cursor | None = None


class ConversationOut(OwnerIdsOut):
    id: str
    conversation_id: str
    external_id: str | None
    number: int
    label: str
    labelled_by: str | None
    folder: str
    status: Status
    tier: Literal["active", "archived", "cold"]
    importance_score: float
    message_count: int
    word_count: int
    metadata: JsonObject
    created_at: str
    updated_at: str


class ChangedOut(ConversationOut):
    success: bool


class ListedOut(ConversationOut):
    """A conversation with the fields of a search result, which Sekha's clients expect in a list."""

    message_id: str
    score: float
    content: str
    timestamp: str


class ConversationsOut(BaseModel):
    results: list[ListedOut]
    total: int
    page: int
    page_size: int
    next_cursor: str | None


class DeletedConversationOut(BaseModel):
    """A deleted conversation."""

    id: str
    deleted_at: str
    restorable_until: str
    conversation: ConversationOut | None


class DeletedConversationsOut(BaseModel):
    items: list[DeletedConversationOut]
    next_cursor: str | None


class CountOut(BaseModel):
    count: int
    label: str | None
    folder: str | None


class ConversationDeletedOut(BaseModel):
    success: bool
    id: str


class SaidOut(BaseModel):
    id: str
    role: str
    content: str
    content_parts: list[JsonObject] | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    coord: str
    timestamp: str
    metadata: JsonObject
    importance: float


class MessageOut(SaidOut):
    conversation_id: str
    turn: int


class MessagesOut(BaseModel):
    items: list[MessageOut]
    total: int
    next_cursor: str | None

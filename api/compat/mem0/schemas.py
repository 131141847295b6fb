"""Requests from mem0's clients.

Unknown options, and options that affect only mem0's internals, are ignored and listed in the `X-Compat-Changes`
response header. Options that would change the result are errors (see `accept`).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from api.compat.changes import Changes
from api.compat.mem0.errors import NotSupported
from api.json import JsonObject
from api.schemas import MAX_BULK, OwnerId, Params, QueryText, Text, Whole, not_blank
from memories.owners import APP
from somamemory import times
from somamemory.errors import InvalidInput

EntityKind = Literal["user", "agent", "app", "run"]
MAX_PAGE = 100_000
MAX_PAGE_SIZE = 1_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?")
NOT_HERE = "is not supported by SomaMemory; omit it"


def completed(text: str) -> str:
    """Turn a date, or a time without an offset, into an RFC 3339 time in UTC."""
    if _DATE.fullmatch(text):
        return text + "T00:00:00Z"
    return text + "Z" if _LOCAL_TIME.fullmatch(text) else text


def _day_end(value: object) -> datetime | None:
    """Return the end of a date in UTC: a memory can still be used on the day it expires.

    A date at the end of the calendar, such as 9999-12-31, means that the memory never expires.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("must be a date such as 2026-12-31")
    try:
        end = datetime.combine(date.fromisoformat(value), time(), UTC) + timedelta(days=1)
    except OverflowError:
        return None
    except ValueError:
        end = times.parse(completed(value))
    return end if end.year < 9999 else None


def _moment(value: object) -> datetime:
    """Parse a Unix time in seconds, or an ISO time, which is interpreted as UTC if it has no offset."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            moment = datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            raise times.NoSuchTime from None
    else:
        moment = times.parse(completed(str(value)))
    if not times.is_convertible(moment):
        raise times.NoSuchTime
    return moment


Expiry = Annotated[datetime | None, PlainValidator(_day_end)]
Moment = Annotated[datetime, PlainValidator(_moment)]
Page = Annotated[Whole, Field(ge=1, le=MAX_PAGE)]
PageSize = Annotated[Whole, Field(ge=1, le=MAX_PAGE_SIZE)]
MemoryText = Annotated[Text, AfterValidator(not_blank)]


class Lenient(BaseModel):
    """A request body. Unknown fields are allowed."""

    model_config = ConfigDict(extra="allow", strict=True, arbitrary_types_allowed=True)

    refused: ClassVar[tuple[str, ...]] = ()

    def accept(self, changes: Changes, at: str = "") -> None:
        """Note the fields that have no effect. Raises NotSupported for an option that would change the result."""
        for name, value in (self.model_extra or {}).items():
            if value and name in self.refused:
                raise NotSupported(f"{name} {NOT_HERE}")
            changes.note(at + name, "dropped")


class People(TypedDict):
    user_id: str | None
    agent_id: str | None
    session_id: str | None


class Entities(BaseModel):
    """The user, agent, app and run that own a memory."""

    user_id: OwnerId | None = None
    agent_id: OwnerId | None = None
    app_id: OwnerId | None = None
    run_id: OwnerId | None = None

    @property
    def named(self) -> dict[str, str]:
        owners = {"user_id": self.user_id, "agent_id": self.agent_id, "app_id": self.app_id, "run_id": self.run_id}
        return {name: value for name, value in owners.items() if value is not None}

    @property
    def owners(self) -> dict[str, str]:
        """Return the owners, keyed by mem0 field name. Raises InvalidInput if there are none."""
        self.require_owner()
        return self.named

    def require_owner(self) -> None:
        if not self.named:
            raise InvalidInput("user_id", "at least one of user_id, agent_id, app_id and run_id is required")

    @property
    def source(self) -> JsonObject | None:
        return None if self.app_id is None else {APP: self.app_id}

    @property
    def people(self) -> People:
        """Return the owners that have their own columns in memories and conversations."""
        return {"user_id": self.user_id, "agent_id": self.agent_id, "session_id": self.run_id}


class ChatMessage(Lenient):
    role: Annotated[Text, Field(max_length=100)] = "user"
    content: Text | list[JsonObject] | JsonObject

    @property
    def text(self) -> str:
        """Return the text of the content. Raises NotSupported for images and documents."""
        if isinstance(self.content, str):
            return self.content
        parts = self.content if isinstance(self.content, list) else [self.content]
        texts = [part.get("text") for part in parts if part.get("type") == "text"]
        if len(texts) < len(parts):
            raise NotSupported(f"messages: content other than text {NOT_HERE}")
        return "\n".join(text for text in texts if isinstance(text, str))


class AddBody(Entities, Lenient):
    refused = ("immutable", "structured_data_schema")

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_BULK)] | ChatMessage | MemoryText
    metadata: JsonObject | None = None
    infer: bool = True
    expiration_date: Expiry = None
    timestamp: Moment | None = None

    @property
    def said(self) -> list[tuple[str, str]]:
        """Return the role and the text of each message, except for system messages and empty messages.

        Raises InvalidInput if no messages are left.
        """
        if isinstance(self.messages, str):
            return [("user", self.messages)]
        messages = self.messages if isinstance(self.messages, list) else [self.messages]
        said = [(message.role, message.text) for message in messages if message.role != "system"]
        said = [(role, text) for role, text in said if text.strip()]
        if not said:
            raise InvalidInput("messages", "must contain at least one message with text, other than system messages")
        return said


class OlderAddBody(AddBody):
    output_format: str | None = None


class ListBody(Lenient):
    refused = ("show_expired",)

    filters: JsonObject = Field(default_factory=dict)

    @property
    def all_filters(self) -> JsonObject:
        return self.filters


class SearchBody(ListBody):
    query: QueryText
    top_k: Annotated[int, Field(ge=1, le=1000)] = 10
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    keyword_search: bool = False
    fields: list[str] | None = None


class UpdateBody(Lenient):
    refused = ("timestamp", "immutable")

    text: MemoryText | None = None
    metadata: JsonObject | None = None
    expiration_date: Expiry = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the changes to pass to `memories.lookup.patch`. Raises InvalidInput if there are none."""
        changes: dict[str, Any] = {}
        if self.text is not None:
            changes["payload"] = {"text": self.text}
        if self.metadata is not None:
            changes["metadata"] = self.metadata
        if "expiration_date" in self.model_fields_set:
            changes["expires_at"] = self.expiration_date
        if not changes:
            raise InvalidInput("body", "must contain text, metadata or expiration_date")
        return changes


class BatchItem(UpdateBody):
    memory_id: str


class BatchUpdateBody(Lenient):
    memories: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_BULK)]


class MemoryName(Lenient):
    memory_id: str


class BatchDeleteBody(Lenient):
    memories: Annotated[list[MemoryName], Field(min_length=1, max_length=MAX_BULK)]


class SourceParams(Params):
    """`source` is the client name that mem0's command-line tool sends.

    Older clients send the ids that `/v1/ping/` returned.
    """

    source: str = ""
    org_id: str = ""
    project_id: str = ""
    org_name: str = ""
    project_name: str = ""


class PageParams(SourceParams):
    page: Page = 1
    page_size: PageSize = 100


class MemoryParams(SourceParams):
    delete_linked: bool = False


class OwnedParams(Entities, SourceParams):
    pass


class ServerListParams(Entities, Params):
    top_k: PageSize = 100


class OwnedListBody(Entities, ListBody):
    """A list or search request that also accepts owners outside `filters`."""

    output_format: str | None = None

    @property
    def all_filters(self) -> JsonObject:
        if self.named and self.filters:
            return {"AND": [self.named, self.filters]}
        return dict(self.named) or self.filters


class OwnedSearchBody(OwnedListBody, SearchBody):
    pass


class OlderPageParams(SourceParams):
    page: Page | None = None
    page_size: PageSize | None = None


class OlderListParams(Entities, OlderPageParams):
    output_format: str | None = None
    version: str = ""

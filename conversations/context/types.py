"""The request for a context, and the resulting context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings

from conversations.context.rules import Candidate, Rejected
from conversations.models import Conversation
from memories.models import Ids, Memory


@dataclass(frozen=True)
class ContextRequest:
    """A request for a context.

    budget: the budget in tokens.
    as_of: the time from which recency is measured. None: the start of the current hour.
    filters: JSON filters that all messages and memories must match; see `conversations.search.filters`.
    namespaces: the memories in these namespaces compete with the messages. `facts` contains facts from conversations.
    min_relevance: the minimum relevance of every item that a search finds. None: ignore all of these items unless the
    best one's relevance reaches `relevance.FLOOR`.
    """

    query: str
    budget: int = 4000
    preferred_labels: frozenset[str] = frozenset()
    excluded_folders: tuple[str, ...] = ()
    folder: str | None = None  # only conversations in this folder and its subfolders
    conversation_id: UUID | None = None
    order: str = "relevance"
    include_archived: bool = False
    truncate: bool = False
    as_of: datetime | None = None
    report_excluded: bool = False  # list the best messages that the exclusions removed
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    # leave out the messages of `session_id` and `conversation_id`, which are already in the prompt
    exclude_current_session: bool = False
    filters: object = None
    namespaces: tuple[str, ...] = ()
    min_relevance: float | None = None
    shown: bool = True  # whether the memories in the context count as read

    @property
    def ids(self) -> Ids:
        """The ids that all messages and summaries in the context must have."""
        ids: Ids = {}
        if self.user_id is not None:
            ids["user_id"] = self.user_id
        if self.agent_id is not None:
            ids["agent_id"] = self.agent_id
        if self.session_id is not None and not self.exclude_current_session:
            ids["session_id"] = self.session_id
        return ids

    @property
    def target(self) -> int:
        """The usable part of the budget, in tokens."""
        return int(self.budget * settings.CONTEXT_FILL)


@dataclass(frozen=True)
class ContextItem:
    """A message, a summary, a fact or a memory. The text of `candidate` may be truncated."""

    message: Memory
    conversation: Conversation | None  # None for a memory
    candidate: Candidate


@dataclass(frozen=True)
class Context:
    """An assembled context. `target` is the usable part of the budget, in tokens."""

    items: Sequence[ContextItem]
    rejected: Sequence[tuple[ContextItem, Rejected]]
    used_tokens: int
    budget: int
    target: int
    hash: str
    as_of: datetime
    degraded: Sequence[str]

"""Queries that select conversations for a list, a count or an export."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from conversations import folders
from conversations.models import Conversation
from graph.query_conditions import BeginsWithAny
from memories import filters
from memories.models import IDS


@dataclass(frozen=True)
class ConversationQuery:
    """The conditions that a conversation must meet. None means no condition."""

    label: str | None = None
    folder: str | None = None  # including its subfolders
    status: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    part_of_label: str | None = None  # case-insensitive
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    id: UUID | None = None

    def condition(self) -> Q:
        plain = {
            "id": self.id,
            "label": self.label,
            "status": self.status,
            **{name: getattr(self, name) for name in IDS},
        }
        condition = Q(**{name: value for name, value in plain.items() if value is not None})
        if self.folder is not None:
            condition &= in_folder(self.folder)
        if self.pinned is not None:
            condition &= _has_status(Conversation.Status.PINNED, self.pinned)
        if self.archived is not None:
            condition &= _has_status(Conversation.Status.ARCHIVED, self.archived)
        if self.part_of_label:
            condition &= Q(GreaterThan(StrIndex("folded_label", Value(filters.fold(self.part_of_label))), 0))
        return condition


def in_folder(*any_of: str) -> Q:
    """Return a condition for conversations in these folders or their subfolders. "" selects those without a folder."""
    named = [folder for folder in any_of if folder]
    condition = Q(place=folders.ROOT, folder="") if len(named) < len(any_of) else Q(pk__in=[])
    if len(named) == 1:
        low, high = folders.subtree(named[0])
        condition |= Q(place__gte=low, place__lt=high)
    elif named:
        condition |= Q(BeginsWithAny("place", list(map(folders.place, named))))
    return condition


def _has_status(status: str, expected: bool) -> Q:
    return Q(status=status) if expected else ~Q(status=status)

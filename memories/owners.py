"""List the users, agents, sessions and apps that own memories. An app is the `app_id` field of a memory's source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Min
from django.db.models.fields.json import KeyTextTransform

from memories import selectors
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

APP = "app_id"
FIELDS = ("user_id", "agent_id", APP, "session_id")


@dataclass(frozen=True)
class Owner:
    """A user, agent, session or app, with its number of memories.

    first: when the oldest of these memories was created.
    last: when any of them was last changed.
    """

    field: str
    name: str
    memories: int
    first: datetime
    last: datetime


@may_read_replica
def owners(caller: Caller, namespaces: Sequence[str], field: str, limit: int) -> list[Owner]:
    """Return the first `limit` owners of live memories, by name. This reads every memory that has such an owner.

    field: one of FIELDS.
    """
    name = KeyTextTransform(APP, "source") if field == APP else F(field)
    rows = selectors.live(caller, namespaces).order_by().annotate(owner=name).filter(owner__isnull=False)
    groups = rows.values("owner").annotate(all=Count("seq"), first=Min("created_at"), last=Max("updated_at"))
    return [
        Owner(field, row["owner"], row["all"], row["first"], row["last"]) for row in groups.order_by("owner")[:limit]
    ]

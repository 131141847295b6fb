"""The only readers of conversations and their messages, search apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from conversations import folders, list_cache, lookup
from conversations.lifecycle import thaw_queue, tiers
from conversations.llm import ledger
from conversations.models import MAX_METADATA_BYTES, Conversation
from graph import selectors as graph
from graph.query_conditions import BeginsWithAny
from memories import filters, read_counts
from memories import selectors as memories
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from memories.selectors import Narrowing
from somamemory import cursors
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput
from tenants.caller import Caller
from tenants.models import Tenant

# Pages are counted off from the beginning; whoever goes further uses the cursor.
MAX_PAGED = 100_000
# Of metadata in one answer: as much as a whole page can have. A longer list, from a cursor on, ends earlier.
MAX_LISTED_BYTES = 200 * MAX_METADATA_BYTES


@dataclass(frozen=True)
class Wanted:
    """Which conversations are meant; None and False leave a part open."""

    label: str | None = None
    folder: str | None = None  # with everything below it
    status: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    part_of_label: str | None = None  # whatever its case

    def condition(self) -> Q:
        found = Q()
        if self.label is not None:
            found &= Q(label=self.label)
        if self.folder is not None:
            found &= in_folder(self.folder)
        if self.status is not None:
            found &= Q(status=self.status)
        for wanted, status in (
            (self.pinned, Conversation.Status.PINNED),
            (self.archived, Conversation.Status.ARCHIVED),
        ):
            if wanted is not None:
                found &= Q(status=status) if wanted else ~Q(status=status)
        if self.part_of_label:
            found &= Q(GreaterThan(StrIndex("folded_label", Value(filters.fold(self.part_of_label))), 0))
        return found


@dataclass(frozen=True)
class Page:
    items: Sequence[Conversation]
    total: int
    next_cursor: str | None


@dataclass(frozen=True)
class Messages:
    conversation: Conversation
    items: Sequence[Memory]
    next_cursor: str | None


def get(caller: Caller, id: UUID) -> Conversation:
    """Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    facts = list_cache.conversation(caller.tenant, id, partial(_facts_of, caller.tenant, id))
    if facts is None:
        raise lookup.not_found(id)
    return _from_facts(facts)


def list_conversations(
    caller: Caller, wanted: Wanted, *, limit: int = 50, page: int = 1, cursor: str | None = None
) -> Page:
    """One page, those first that changed last; with a cursor, what follows it."""
    caller.require("read", [CONVERSATIONS])
    if (page - 1) * limit > MAX_PAGED:
        raise InvalidInput("page", f"lies beyond the first {MAX_PAGED} conversations; follow next_cursor instead")
    if cursor:
        _position(cursor, wanted)  # a bad one is not looked up
    question = repr((asdict(wanted), limit, page, cursor))
    answer = list_cache.listed(caller.tenant, question, partial(_listed, caller.tenant, wanted, limit, page, cursor))
    return Page([_from_facts(facts) for facts in answer["items"]], answer["total"], answer["next_cursor"])


@may_read_replica
def count(caller: Caller, wanted: Wanted) -> int:
    caller.require("read", [CONVERSATIONS])
    return Conversation.objects.for_tenant(caller.tenant).filter(wanted.condition()).count()


@may_read_replica
def messages(caller: Caller, id: UUID, *, limit: int = 50, cursor: str | None = None) -> Messages:
    """Messages in the order of their turns; those of a cold conversation out of its file, and then it comes back.

    They have been read: who pages through a conversation uses it as much as who finds it.

    Raises NotFound, ColdUnavailable.
    """
    caller.require("read", [CONVERSATIONS])
    conversation = lookup.find(caller, id)
    below = Narrowing(prefix=conversation.root)
    if conversation.tier != Conversation.Tier.COLD:
        page = memories.list_memories(caller, CONVERSATIONS, below, limit=limit, cursor=cursor)
        if page.items or not conversation.message_count:
            read_counts.count(page.items)
            return Messages(conversation, page.items, page.next_cursor)
    # It is cold, or has just become so.
    if (kept := tiers.read(caller, conversation)) is not None:
        thaw_queue.add(caller, conversation)
        page = memories.page_of(kept, CONVERSATIONS, below, limit=limit, cursor=cursor)
    else:
        page = memories.list_memories(caller, CONVERSATIONS, below, limit=limit, cursor=cursor)
        read_counts.count(page.items)
    return Messages(conversation, page.items, page.next_cursor)


@may_read_replica
def stats(caller: Caller) -> dict[str, Any]:
    """Counts of the caller's tenant (or of the namespaces that its key may use)."""
    found = graph.stats(caller)
    visible = not caller.namespaces or CONVERSATIONS in caller.namespaces
    return {
        **found,
        "conversations": count(caller, Wanted()) if visible else 0,
        "language_model": ledger.told(caller.tenant) if visible else None,
    }


def in_folder(*any_of: str) -> Q:
    """A condition on conversations: in one of these folders, or below it; "" are those without a folder."""
    inside = [folder for folder in any_of if folder]
    found = Q(place=folders.ROOT, folder="") if len(inside) < len(any_of) else Q(pk__in=[])
    if len(inside) == 1:
        low, high = folders.subtree(inside[0])
        found |= Q(place__gte=low, place__lt=high)
    elif inside:
        found |= Q(BeginsWithAny("place", list(map(folders.place, inside))))
    return found


def _facts_of(tenant: Tenant, id: UUID) -> dict[str, Any] | None:
    found = Conversation.objects.for_tenant(tenant).filter(id=id).first()
    return None if found is None else _facts(found)


def _listed(tenant: Tenant, wanted: Wanted, limit: int, page: int, cursor: str | None) -> dict[str, Any]:
    matching: QuerySet[Conversation] = Conversation.objects.for_tenant(tenant).filter(wanted.condition())
    rows = matching
    first = (page - 1) * limit
    if cursor:
        at, number = _position(cursor, wanted)
        # The first condition is for the database, which can enter its index there.
        rows = rows.filter(Q(updated_at__lte=at), Q(updated_at__lt=at) | Q(number__lt=number))
    found = list(rows.order_by("-updated_at", "-number")[first : first + limit + 1])
    shown = _that_fit(found[:limit])
    last = shown[-1] if len(found) > len(shown) else None
    return {
        "items": [_facts(each) for each in shown],
        "total": matching.count(),
        "next_cursor": _cursor(wanted, last) if last else None,
    }


def _that_fit(rows: Sequence[Conversation]) -> Sequence[Conversation]:
    together = accumulate(len(orjson.dumps(row.metadata)) for row in rows)
    return rows[: sum(size <= MAX_LISTED_BYTES for size in together)]


def _cursor(wanted: Wanted, last: Conversation) -> str:
    return cursors.encode(cursors.list_id(wanted), last.updated_at, last.number)


def _position(cursor: str, wanted: Wanted) -> tuple[datetime, int]:
    made_for, at, number = cursors.decode(cursor, str, datetime, int)
    if made_for != cursors.list_id(wanted) or number < 0:
        raise cursors.invalid()
    return at, number


def _facts(conversation: Conversation) -> dict[str, Any]:
    """As JSON can say them."""
    return {each.attname: getattr(conversation, each.attname) for each in Conversation._meta.concrete_fields}


def _from_facts(facts: dict[str, Any]) -> Conversation:
    # While a new version takes over, an older one may have remembered this, which lacks some.
    known = [each for each in Conversation._meta.concrete_fields if each.attname in facts]
    return Conversation(**{each.attname: each.to_python(facts[each.attname]) for each in known})

"""The only readers of conversations and their messages, except search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Q, QuerySet

from conversations import list_cache, lookup
from conversations.lifecycle import thaw_queue, tiers
from conversations.llm import ledger
from conversations.models import MAX_METADATA_BYTES, Conversation
from conversations.query import ConversationQuery
from graph import selectors as graph
from memories import read_counts
from memories import selectors as memories
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from memories.selectors import Narrowing
from somamemory import cursors
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput
from tenants.caller import Caller
from tenants.models import Tenant

# Numbered pages are counted from the beginning, so they end here; cursors go on.
MAX_PAGED = 100_000
# Metadata in one response: as much as a whole page can have. Longer lists, which only a cursor allows, are cut earlier.
MAX_LISTED_BYTES = 200 * MAX_METADATA_BYTES


@dataclass(frozen=True)
class Page:
    items: Sequence[Conversation]
    total: int
    next_cursor: str | None


@dataclass(frozen=True)
class MessagePage:
    conversation: Conversation
    items: Sequence[Memory]
    next_cursor: str | None


def get(caller: Caller, id: UUID) -> Conversation:
    """Return a conversation, possibly from the cache. Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    fields = list_cache.conversation(caller.tenant, id, partial(_fields_of, caller, id))
    if fields is None:
        raise lookup.not_found(id)
    return _from_fields(fields)


def list_conversations(
    caller: Caller, query: ConversationQuery, *, limit: int = 50, page: int = 1, cursor: str | None = None
) -> Page:
    """Return one page, the last changed first; with a cursor, the rows after it."""
    caller.require("read", [CONVERSATIONS])
    if (page - 1) * limit > MAX_PAGED:
        raise InvalidInput("page", f"is beyond the first {MAX_PAGED} conversations; use next_cursor instead")
    if cursor:
        _position(cursor, query)  # an invalid cursor must not reach the cache
    key = repr((asdict(query), limit, page, cursor))
    rows = list_cache.page(caller.tenant, key, partial(_page, caller.tenant, query, limit, page, cursor))
    return Page([_from_fields(fields) for fields in rows["items"]], rows["total"], rows["next_cursor"])


@may_read_replica
def count(caller: Caller, query: ConversationQuery) -> int:
    caller.require("read", [CONVERSATIONS])
    return Conversation.objects.for_tenant(caller.tenant).filter(query.condition()).count()


@may_read_replica
def messages(caller: Caller, id: UUID, *, limit: int = 50, cursor: str | None = None) -> MessagePage:
    """Return messages in the order of their turns. Those of a cold conversation come from its file, which is restored.

    The messages count as read: paging through a conversation uses it as much as finding it.

    Raises NotFound, ColdUnavailable.
    """
    caller.require("read", [CONVERSATIONS])
    conversation = lookup.find(caller, id)
    below = Narrowing(prefix=conversation.root)
    if conversation.tier != Conversation.Tier.COLD:
        page = memories.list_memories(caller, CONVERSATIONS, below, limit=limit, cursor=cursor)
        if page.items or not conversation.message_count:
            read_counts.count(page.items)
            return MessagePage(conversation, page.items, page.next_cursor)
    # It is cold, or has just become cold.
    if (from_file := tiers.read(caller, conversation)) is not None:
        thaw_queue.add(caller, conversation)
        page = memories.page_of(from_file, CONVERSATIONS, below, limit=limit, cursor=cursor)
    else:
        page = memories.list_memories(caller, CONVERSATIONS, below, limit=limit, cursor=cursor)
        read_counts.count(page.items)
    return MessagePage(conversation, page.items, page.next_cursor)


@may_read_replica
def stats(caller: Caller) -> dict[str, Any]:
    """Return counts for the caller's tenant, or for the namespaces that the caller's key may use."""
    visible = not caller.namespaces or CONVERSATIONS in caller.namespaces
    return {
        **graph.stats(caller),
        "conversations": count(caller, ConversationQuery()) if visible else 0,
        "language_model": ledger.report(caller.tenant) if visible else None,
    }


def _fields_of(caller: Caller, id: UUID) -> dict[str, Any] | None:
    conversation = lookup.find_or_none(caller, id)
    return None if conversation is None else _fields(conversation)


def _page(tenant: Tenant, query: ConversationQuery, limit: int, page: int, cursor: str | None) -> dict[str, Any]:
    matching: QuerySet[Conversation] = Conversation.objects.for_tenant(tenant).filter(query.condition())
    rows = matching
    first = (page - 1) * limit
    if cursor:
        at, number = _position(cursor, query)
        # The first condition is for the database, which can enter its index there.
        rows = rows.filter(Q(updated_at__lte=at), Q(updated_at__lt=at) | Q(number__lt=number))
    # One more than the page holds: it says whether there is a next page.
    found = list(rows.order_by("-updated_at", "-number")[first : first + limit + 1])
    shown = _within_size(found[:limit])
    last = shown[-1] if len(found) > len(shown) else None
    return {
        "items": [_fields(conversation) for conversation in shown],
        "total": matching.count(),
        "next_cursor": _cursor(query, last) if last else None,
    }


def _within_size(rows: Sequence[Conversation]) -> Sequence[Conversation]:
    """Return the first rows whose metadata together fit one response."""
    totals = accumulate(len(orjson.dumps(row.metadata)) for row in rows)
    return rows[: sum(total <= MAX_LISTED_BYTES for total in totals)]


def _cursor(query: ConversationQuery, last: Conversation) -> str:
    return cursors.encode(cursors.list_id(astuple(query)), last.updated_at, last.number)


def _position(cursor: str, query: ConversationQuery) -> tuple[datetime, int]:
    list_id, at, number = cursors.decode(cursor, str, datetime, int)
    if list_id != cursors.list_id(astuple(query)) or number < 0:
        raise cursors.invalid()
    return at, number


def _fields(conversation: Conversation) -> dict[str, Any]:
    """Return the columns of a conversation, for the cache."""
    return {field.attname: getattr(conversation, field.attname) for field in Conversation._meta.concrete_fields}


def _from_fields(fields: dict[str, Any]) -> Conversation:
    # During an upgrade, the older version may have cached this conversation without the newest columns.
    known = [field for field in Conversation._meta.concrete_fields if field.attname in fields]
    return Conversation(**{field.attname: field.to_python(fields[field.attname]) for field in known})

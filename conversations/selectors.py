"""Read and list conversations and their messages, without search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Avg, Count, Q, QuerySet

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

# Numbered pages are counted from the beginning, so their range is limited. Cursors have no limit.
MAX_PAGED = 100_000
# Limit on the metadata in one response, chosen so that every numbered page fits. Longer pages, which are possible only
# with a cursor, end earlier.
MAX_LISTED_BYTES = 200 * MAX_METADATA_BYTES
MAX_SUMMARY_FOLDERS = 1000


@dataclass(frozen=True)
class Page:
    items: Sequence[Conversation]
    total: int
    next_cursor: str | None


@dataclass(frozen=True)
class Summary:
    """Statistics about conversations. `folders` is sorted and has at most MAX_SUMMARY_FOLDERS entries."""

    count: int
    average_importance: float  # 0 if there are no conversations
    folders: Sequence[str]


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


def get_by_external_id(caller: Caller, external_id: str) -> Conversation:
    """Return the conversation with the given external id. Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    return lookup.find_by_external_id(caller, external_id)


def list_conversations(
    caller: Caller, query: ConversationQuery, *, limit: int = 50, page: int = 1, cursor: str | None = None
) -> Page:
    """Return a page of conversations, the most recently changed first. With a cursor, return the rows after it."""
    caller.require("read", [CONVERSATIONS])
    if (page - 1) * limit > MAX_PAGED:
        raise InvalidInput(
            "page", f"must be within the first {MAX_PAGED} conversations; use next_cursor to read further"
        )
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
def summary(caller: Caller, query: ConversationQuery) -> Summary:
    caller.require("read", [CONVERSATIONS])
    rows = Conversation.objects.for_tenant(caller.tenant).filter(query.condition())
    totals = rows.aggregate(count=Count("id"), importance=Avg("importance"))
    folders = rows.exclude(folder="").order_by("folder").values_list("folder", flat=True).distinct()
    return Summary(totals["count"], totals["importance"] or 0.0, list(folders[:MAX_SUMMARY_FOLDERS]))


@may_read_replica
def messages(caller: Caller, id: UUID, *, limit: int = 50, cursor: str | None = None) -> MessagePage:
    """Return a conversation's messages, ordered by turn. They count as read, like the hits of a search.

    The messages of a cold conversation are read from its file, after which the conversation is restored.

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
    # The conversation is cold, or has just been moved to cold storage.
    if (from_file := tiers.read(caller, conversation)) is not None:
        thaw_queue.add(caller, conversation)
        page = memories.page_of(from_file, CONVERSATIONS, below, limit=limit, cursor=cursor)
    else:
        page = memories.list_memories(caller, CONVERSATIONS, below, limit=limit, cursor=cursor)
        read_counts.count(page.items)
    return MessagePage(conversation, page.items, page.next_cursor)


@may_read_replica
def stats(caller: Caller) -> dict[str, Any]:
    """Return counts for the caller's tenant, limited to the namespaces that the key may use."""
    visible = not caller.namespaces or CONVERSATIONS in caller.namespaces
    return {
        **graph.stats(caller),
        "conversations": count(caller, ConversationQuery()) if visible else 0,
        "language_model": ledger.report(caller.tenant) if visible and caller.user_id is None else None,
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
        # The first condition is redundant, but lets the database start at this position in the index.
        rows = rows.filter(Q(updated_at__lte=at), Q(updated_at__lt=at) | Q(number__lt=number))
    # Read one more row than the page holds, to know whether there is a next page.
    found = list(rows.order_by("-updated_at", "-number")[first : first + limit + 1])
    shown = _within_size(found[:limit])
    last = shown[-1] if len(found) > len(shown) else None
    return {
        "items": [_fields(conversation) for conversation in shown],
        "total": matching.count(),
        "next_cursor": _cursor(query, last) if last else None,
    }


def _within_size(rows: Sequence[Conversation]) -> Sequence[Conversation]:
    """Return the longest prefix of rows whose combined metadata fits in one response."""
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
    """Return a conversation's columns, for the cache."""
    return {field.attname: getattr(conversation, field.attname) for field in Conversation._meta.concrete_fields}


def _from_fields(fields: dict[str, Any]) -> Conversation:
    # During an upgrade, the older version may have cached this conversation without the newest columns.
    known = [field for field in Conversation._meta.concrete_fields if field.attname in fields]
    return Conversation(**{field.attname: field.to_python(fields[field.attname]) for field in known})

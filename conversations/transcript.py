"""Part of a conversation, for people to read: its messages, with the summaries, facts and links that belong to them.

Nothing here counts as a read, and a cold conversation stays in its file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from django.db.models import Q

from conversations.enrichment import entities, periods
from conversations.lifecycle import tiers
from conversations.lookup import with_derived
from conversations.messages import Message, at_keys, message_key, turn_of
from conversations.models import Conversation
from graph import selectors as graph
from graph.models import Link
from memories import large_rows
from memories import selectors as memories
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

MAX_ATTACHED = 500  # the maximum number of summaries, facts or links that one part contains


@dataclass(frozen=True)
class Turn:
    """A message, the facts that it states, and the links at its address."""

    memory: Memory
    message: Message
    facts: Sequence[Memory] = ()
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class Transcript:
    """Consecutive turns. `next_turn` is None at the end of the conversation.

    summaries: the summaries, keyed by the first day that each of them covers (in UTC, as in `enrichment.periods`).
    entities: the memory of each entity that the facts mention, keyed by the entity's normalised name.
    """

    turns: Sequence[Turn]
    summaries: Mapping[date, Sequence[Memory]] = field(default_factory=dict)
    entities: Mapping[str, Memory] = field(default_factory=dict)
    next_turn: int | None = None


@may_read_replica
def read(caller: Caller, conversation: Conversation, first: int, limit: int) -> Transcript:
    """Return up to `limit` turns, starting with turn `first`, or fewer if they are large.

    Raises ColdUnavailable.
    """
    caller.require("read", [CONVERSATIONS])
    last = min(first + limit - 1, conversation.last_turn)
    rows, read_to = _messages(caller, conversation, first, last)
    next_turn = read_to + 1 if read_to < conversation.last_turn else None
    if not rows:
        return Transcript([], next_turn=next_turn)
    facts, links = _facts(caller, conversation, first, read_to), _links(caller, rows)
    turns = [Turn(row, Message.of(row), facts[_turn(row)], links[row.coordinate_key]) for row in rows]
    named = _entities(caller, (fact for of_turn in facts.values() for fact in of_turn))
    return Transcript(turns, _summaries(caller, conversation, rows), named, next_turn)


def _messages(caller: Caller, conversation: Conversation, first: int, last: int) -> tuple[list[Memory], int]:
    """Return the messages of the turns from `first` to `last`, and the last turn that fits in one response."""
    keys = [message_key(conversation.number, turn) for turn in range(first, last + 1)]
    found = large_rows.in_order(at_keys(caller, keys).order_by(), "coordinate_key", keys)
    rows = [row for row in found if row is not None]
    if rows or conversation.tier != Conversation.Tier.COLD:
        return rows, first + len(found) - 1
    cold = tiers.read(caller, conversation) or []
    return [row for row in cold if first <= _turn(row) <= last], last


def _facts(caller: Caller, conversation: Conversation, first: int, last: int) -> Mapping[int, list[Memory]]:
    low, high = message_key(conversation.number, first), message_key(conversation.number, last) + "g"
    rows = memories.live(with_derived(caller), [FACTS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
    by_turn: dict[int, list[Memory]] = defaultdict(list)
    for row in large_rows.first_fitting(rows.order_by("coordinate_key"), MAX_ATTACHED):
        by_turn[_turn(row)].append(row)
    return by_turn


def _links(caller: Caller, rows: Sequence[Memory]) -> Mapping[str, list[Link]]:
    keys = [row.coordinate_key for row in rows]
    ends = Q(from_key__among=keys) | Q(to_key__among=keys)
    by_key: dict[str, list[Link]] = defaultdict(list)
    for link in graph.links_in(caller, CONVERSATIONS).filter(ends).order_by("from_key", "to_key")[:MAX_ATTACHED]:
        for key in {link.from_key, link.to_key}:
            by_key[key].append(link)
    return by_key


def _summaries(caller: Caller, conversation: Conversation, rows: Sequence[Memory]) -> Mapping[date, list[Memory]]:
    days = {row.created_at.date() for row in rows}
    low, high = conversation.root.subtree
    # a summary has the time of the last message that it covers
    since = periods.midnight(min(days))
    found = memories.live(with_derived(caller), [SUMMARIES]).filter(
        coordinate_key__gte=low, coordinate_key__lt=high, created_at__gte=since
    )
    by_day: dict[date, list[Memory]] = defaultdict(list)
    for row in large_rows.first_fitting(found.order_by("coordinate_key"), MAX_ATTACHED):
        begin = date.fromisoformat(row.metadata["covers"]["days"][0])
        if begin in days:
            by_day[begin].append(row)
    return by_day


def _entities(caller: Caller, facts: Iterable[Memory]) -> Mapping[str, Memory]:
    names = {name for fact in facts for name in fact.payload.get("entities", ())}
    keys = {entities.address(name).key: entities.normal(name) for name in names}
    rows = memories.live(with_derived(caller), [FACTS]).filter(coordinate_key__among=list(keys)[:MAX_ATTACHED])
    return {keys[row.coordinate_key]: row for row in rows} if keys else {}


def _turn(row: Memory) -> int:
    return turn_of(row.coordinate_key)

"""The context for the next prompt: gathers messages worth having, and lets the rules of `context` choose.

Sources: the search for the query (summaries too, when there are any), the last messages of pinned conversations, and
what was said lately under the preferred labels. Archived conversations and excluded folders are left out of each. The
turns beside what these would fill the budget with then compete for it, too. No language model has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from threading import Lock
from uuid import UUID

import numpy as np
from cachetools import LRUCache
from django.conf import settings
from django.db.models import Exists, Q, Subquery
from django.utils import timezone

from conversations.context import rules, tokens
from conversations.context.rules import Candidate, Day, Parts, Rejected, Weights
from conversations.lookup import by_key, with_derived
from conversations.messages import Message, conversation_key, message_key, neighbours
from conversations.models import Conversation
from conversations.search.semantic import COLD, are_cold, places
from conversations.selectors import in_folder
from memories import payloads, read_counts
from memories import selectors as memories
from memories.embeddings.base import Vectors
from memories.index import generations
from memories.models import Memory, VectorEmbedding
from memories.reserved_namespaces import CONVERSATIONS, SUMMARIES
from memories.search import hybrid, ranking
from memories.search.hybrid import Search
from memories.search.ranking import Stats
from memories.selectors import Narrowing
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller
from tenants.models import Tenant

# The search proposes one message for so many tokens of the budget, but never fewer or more than these. More than fit
# make room for what is worse: of the evidence (LoCoMo), budgets of 1,000 and 4,000 tokens hold .773 and .916 of 60
# proposed, .768 and .894 of 200; at 16,000 tokens 60 cannot fill it, and .928 becomes .963 with 200.
_TOKENS_A_PROPOSAL = 60
_PROPOSED = (60, 400)
# Summaries are few among many messages: of the best 60 there are too few to tell of what the messages leave out.
_WITH_SUMMARIES = 200
_PINNED_CONVERSATIONS = 20
_PINNED_TURNS = 10  # the last ones of each
_RECENT = 100
_RECENT_READ = 1_000  # messages that may be among those; to look at all of the label's took 15 to 40 ms of 100,000
_RECENT_DAYS = 7
_WITH_NEIGHBOURS = 50  # of the best chosen
# What the turn beside a good one is worth: on LoCoMo, half as relevant puts .01 more of the evidence into a context.
_NEIGHBOURS_SHARE = 0.5
# A question that one message answers much better than any summary wants that message, and not an overview.
_SUMMARY_WORTH = 0.4
# How many of those that were left out are told.
MAX_LEFT_OUT = 1_000
EXCLUDED_TOLD = 20
# Counting 200 messages takes 20 ms; the good ones come again and again.
_counted: LRUCache[tuple[UUID, int], int] = LRUCache(maxsize=50_000)
_counting = Lock()


@dataclass(frozen=True)
class Wanted:
    """`as_of`: the moment that recency counts from; the beginning of this hour, unless given."""

    query: str
    budget: int = 4000
    preferred_labels: frozenset[str] = frozenset()
    excluded_folders: tuple[str, ...] = ()
    order: str = "relevance"
    include_archived: bool = False
    truncate: bool = False
    as_of: datetime | None = None
    tell_excluded: bool = False  # what would have been there, had it been allowed


@dataclass(frozen=True)
class Item:
    message: Memory
    conversation: Conversation
    candidate: Candidate


@dataclass(frozen=True)
class Assembled:
    """`target`: the part of the budget that may be filled."""

    items: Sequence[Item]
    left_out: Sequence[tuple[Item, Rejected]]
    used_tokens: int
    budget: int
    target: int
    hash: str
    as_of: datetime
    degraded: Sequence[str]


@may_read_replica
def assemble(caller: Caller, wanted: Wanted) -> Assembled:
    """Raises nothing but what a search does."""
    caller.require("read", [CONVERSATIONS])
    as_of = wanted.as_of or timezone.now().replace(minute=0, second=0, microsecond=0)
    gathering = _Gathering(with_derived(caller), wanted, as_of)
    target = int(wanted.budget * settings.CONTEXT_FILL)
    distinct, repeated = rules.without_duplicates(rules.best_first(gathering.recall()), settings.CONTEXT_DUPLICATE)
    best, _ = rules.pack(distinct, target)
    beside = gathering.neighbours(best)
    fresh, repeated_beside = rules.without_duplicates(beside, settings.CONTEXT_DUPLICATE, distinct)
    chosen, left = _packed(gathering, [*distinct, *fresh], target, _cut if wanted.truncate else None)
    ordered = rules.in_order(chosen, wanted.order)
    rejected = [Rejected(each, rules.BUDGET) for each in rules.best_first(left)] + repeated + repeated_beside
    if wanted.tell_excluded:
        rejected += [Rejected(each, rules.EXCLUDED) for each in gathering.excluded()]
    items = [gathering.item(each) for each in ordered]
    degraded = set(gathering.degraded)
    if wanted.include_archived and are_cold(caller.tenant):
        degraded.add(COLD)
    read_counts.count([item.message for item in items])
    return Assembled(
        items=items,
        left_out=[(gathering.item(each.candidate), each) for each in rejected[:MAX_LEFT_OUT]],
        used_tokens=sum(each.tokens for each in ordered),
        budget=wanted.budget,
        target=target,
        hash=rules.fingerprint([wanted.query, wanted.budget, wanted.order], ordered),
        as_of=as_of,
        degraded=sorted(degraded),
    )


def _packed(
    gathering: _Gathering,
    candidates: Sequence[Candidate],
    target: int,
    cut: Callable[[Candidate, int], Candidate] | None,
) -> tuple[list[Candidate], list[Candidate]]:
    """(what fits, what does not). A share of the room is for summaries, of days that the messages do not tell of."""
    days = {each.id: gathering.days(each) for each in candidates}
    best = max((each.score for each in candidates if each.source != "summary"), default=0.0)
    summaries = [each for each in candidates if each.source == "summary" and each.score >= _SUMMARY_WORTH * best]
    if not summaries:
        return rules.pack(candidates, target, cut)
    chosen, left = rules.pack(candidates, target - int(target * settings.CONTEXT_SUMMARIES))
    room = target - sum(each.tokens for each in chosen)
    taken = {each.id for each in chosen}
    told = (day for each in chosen for day in days[each.id])
    chosen += rules.covering([each for each in summaries if each.id not in taken], days, told, room)
    taken = {each.id for each in chosen}
    room = target - sum(each.tokens for each in chosen)
    more, left = rules.pack([each for each in left if each.id not in taken], room, cut)
    return chosen + more, left


class _Gathering:
    """What is known of the messages of one request."""

    def __init__(self, caller: Caller, wanted: Wanted, as_of: datetime) -> None:
        self.caller, self.wanted, self.as_of = caller, wanted, as_of
        any_archived, self.any_summaries = _what_there_is(caller)
        self.allowed = _allowed(wanted, any_archived)
        self.weights = Weights(
            settings.CONTEXT_RELEVANCE, settings.CONTEXT_IMPORTANCE, settings.CONTEXT_RECENCY, settings.CONTEXT_LABEL
        )
        self.degraded: Sequence[str] = []
        self.stats: Stats | None = None
        self.rows: dict[UUID, Memory] = {}
        self.conversations: dict[str, Conversation] = {}

    def recall(self) -> list[Candidate]:
        """What may be worth having, from every source, each message once."""
        found = self._proposed()
        relevance = {each.memory.id: each.score for each in found}
        sources = (
            ("search", [each.memory for each in found]),
            ("pinned", _pinned(self.caller, self.allowed)),
            ("recent", _recent(self.caller, self.wanted, self.as_of, self.allowed)),
        )
        proposed: dict[UUID, tuple[Memory, str, float]] = {}
        for source, rows in sources:
            for row in rows:
                told = "summary" if row.namespace == SUMMARIES else source
                proposed.setdefault(row.id, (row, told, relevance.get(row.id, 0.0)))
        return self._candidates(list(proposed.values()))

    def _proposed(self) -> list[hybrid.Found]:
        """The best messages, no more than the budget may need; of summaries all among the best of many more."""
        fewest, most = _PROPOSED
        wanted = min(max(fewest, self.wanted.budget // _TOKENS_A_PROPOSAL), most)
        top_k = max(wanted, _WITH_SUMMARIES) if self.any_summaries else wanted
        found = self._search(self.allowed, top_k, include_archived=self.wanted.include_archived)
        messages = [each for each in found if each.memory.namespace != SUMMARIES]
        kept = {each.memory.id for each in messages[:wanted]}
        return [each for each in found if each.memory.namespace == SUMMARIES or each.memory.id in kept]

    def neighbours(self, chosen: Sequence[Candidate]) -> list[Candidate]:
        """The turns before and after the best chosen, best first, without those that are known already."""
        near: dict[str, float] = {}
        for each in rules.best_first(chosen)[:_WITH_NEIGHBOURS]:
            if self.rows[each.id].namespace == CONVERSATIONS:
                for key in neighbours(each.address):
                    near.setdefault(key, each.parts.relevance * _NEIGHBOURS_SHARE)
        rows = memories.live(self.caller, [CONVERSATIONS]).filter(coordinate_key__in=list(near))
        fresh = [row for row in rows if row.id not in self.rows]
        return rules.best_first(self._candidates([(row, "neighbour", near[row.coordinate_key]) for row in fresh]))

    def excluded(self) -> list[Candidate]:
        """The best of what is not allowed."""
        if self.allowed is None:
            return []
        found = self._search(~self.allowed, EXCLUDED_TOLD, include_archived=True)
        return self._candidates([(each.memory, "search", each.score) for each in found])

    def days(self, candidate: Candidate) -> frozenset[Day]:
        """The days of its conversation that a message, or a summary, tells of."""
        row = self.rows[candidate.id]
        key = conversation_key(row.coordinate_key)
        if candidate.source != "summary":
            return frozenset([(key, row.created_at.date().isoformat())])
        return frozenset((key, date) for date in row.metadata.get("covers", {}).get("days", ()))

    def item(self, candidate: Candidate) -> Item:
        row = self.rows[candidate.id]
        return Item(row, self.conversations[conversation_key(row.coordinate_key)], candidate)

    def _search(self, condition: Q | None, top_k: int, *, include_archived: bool) -> Sequence[hybrid.Found]:
        narrowing = Narrowing(places=places(self.caller.tenant, condition, with_summaries=True))
        namespaces = (CONVERSATIONS, SUMMARIES)
        search = Search(
            self.wanted.query,
            namespaces,
            narrowing,
            top_k=top_k,
            include_archived=include_archived,
            shown=False,
            stats=self.stats,
        )
        results = hybrid.search(self.caller, search)
        self.stats = results.stats
        self.degraded = sorted({*self.degraded, *results.degraded})
        return results.found

    def _candidates(self, proposed: Sequence[tuple[Memory, str, float]]) -> list[Candidate]:
        rows = [row for row, _, _ in proposed]
        unknown = [row for row in rows if conversation_key(row.coordinate_key) not in self.conversations]
        self.conversations |= by_key(self.caller.tenant, unknown)
        # A conversation that has just been deleted takes its messages with it.
        proposed = [each for each in proposed if conversation_key(each[0].coordinate_key) in self.conversations]
        self.rows |= {row.id: row for row, _, _ in proposed}
        vectors = _vectors(self.caller, [row.id for row, _, _ in proposed])
        texts = [_text(row) for row, _, _ in proposed]
        lengths = _lengths([row for row, _, _ in proposed], texts)
        made = []
        for (row, source, relevance), text, length in zip(proposed, texts, lengths, strict=True):
            parts = self._parts(row, relevance)
            made.append(
                Candidate(
                    id=row.id,
                    address=row.coordinate_key,
                    content=text,
                    tokens=length,
                    said_at=row.created_at,
                    parts=parts,
                    score=rules.score(parts, self.weights),
                    version=row.version,
                    source=source,
                    vector=vectors.get(row.id),
                )
            )
        return made

    def _parts(self, row: Memory, relevance: float) -> Parts:
        conversation = self.conversations[conversation_key(row.coordinate_key)]
        age_s = (self.as_of - row.created_at).total_seconds()
        return Parts(
            relevance=relevance,
            # One that nobody has weighed counts like its conversation.
            importance=ranking.importance(row.importance or conversation.importance),
            recency=ranking.recency(age_s, settings.CONTEXT_HALF_LIFE_DAYS * 86_400),
            label=float(conversation.label in self.wanted.preferred_labels),
        )


def _what_there_is(caller: Caller) -> tuple[bool, bool]:
    """(whether any conversation is archived, whether there is any summary)"""
    archived = Conversation.objects.for_tenant(caller.tenant).filter(status=Conversation.Status.ARCHIVED)
    # Ordered, or PostgreSQL reads the whole table for a namespace that has none: it expects one soon.
    summary = memories.live(caller, [SUMMARIES]).order_by("coordinate_key").values("seq")[:1]
    found = Tenant.objects.filter(pk=caller.tenant.pk).values_list(Exists(archived), Subquery(summary)).first()
    return (found[0], found[1] is not None) if found else (False, False)


def _allowed(wanted: Wanted, any_archived: bool) -> Q | None:
    """The condition on conversations; None if all are allowed, so that nothing needs to be checked."""
    condition = Q()
    if any_archived and not wanted.include_archived:
        condition &= ~Q(status=Conversation.Status.ARCHIVED)
    if wanted.excluded_folders:
        condition &= ~in_folder(*wanted.excluded_folders)
    return condition or None


def _pinned(caller: Caller, allowed: Q | None) -> Sequence[Memory]:
    """The last turns of the conversations that are pinned, those first that changed last."""
    pinned = Conversation.objects.for_tenant(caller.tenant).filter(allowed or Q(), status=Conversation.Status.PINNED)
    ranges = [
        Q(
            coordinate_key__gte=message_key(number, max(1, last - _PINNED_TURNS + 1)),
            coordinate_key__lte=message_key(number, last),
        )
        for number, last in pinned.order_by("-updated_at", "-number").values_list("number", "last_turn")[
            :_PINNED_CONVERSATIONS
        ]
    ]
    if not ranges:
        return []
    return list(memories.live(caller, [CONVERSATIONS]).filter(Q(*ranges, _connector=Q.OR)))


def _recent(caller: Caller, wanted: Wanted, as_of: datetime, allowed: Q | None) -> Sequence[Memory]:
    """What was said in the last days under the preferred labels: looked for in what has changed last."""
    if not wanted.preferred_labels:
        return []
    since = as_of - timedelta(days=_RECENT_DAYS)
    changed = Conversation.objects.for_tenant(caller.tenant).filter(
        allowed or Q(), label__in=sorted(wanted.preferred_labels), updated_at__gt=since
    )
    last = changed.order_by("-updated_at", "-number").values_list("number", "last_turn")[:_RECENT]
    turns = ((number, turn) for number, end in last for turn in range(max(1, end - _RECENT + 1), end + 1))
    keys = [message_key(*turn) for turn in islice(turns, _RECENT_READ)]
    rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__in=keys, created_at__gt=since)
    return list(rows.order_by("-created_at", "-coordinate_key")[:_RECENT])


def _vectors(caller: Caller, ids: Sequence[UUID]) -> dict[UUID, Vectors]:
    """Those of these memories that have one."""
    rows = VectorEmbedding.objects.for_tenant(caller.tenant).filter(
        generation=generations.active(), memory__in=ids, vector__isnull=False
    )
    return {id: np.frombuffer(bytes(raw), dtype="<f4") for id, raw in rows.values_list("memory_id", "vector")}


def _lengths(rows: Sequence[Memory], texts: Sequence[str]) -> list[int]:
    """The tokens of each; what was counted before is known by its version."""
    keys = [(row.id, row.version) for row in rows]
    with _counting:
        known = {key: _counted[key] for key in keys if key in _counted}
    fresh = [(key, text) for key, text in zip(keys, texts, strict=True) if key not in known]
    counts = tokens.count([text for _, text in fresh])
    known |= {key: count for (key, _), count in zip(fresh, counts, strict=True)}
    with _counting:
        _counted.update(known)
    return [known[key] for key in keys]


def _text(row: Memory) -> str:
    return payloads.text_of(row.payload) if row.namespace == SUMMARIES else Message.of(row).text


def _cut(candidate: Candidate, most: int) -> Candidate:
    beginning = tokens.cut(candidate.content, most)
    return replace(candidate, content=beginning, tokens=tokens.count([beginning])[0], truncated=True)

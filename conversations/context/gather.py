"""Gather the candidates for a context: search results, pinned and recent messages, and adjacent turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, Q, QuerySet, Subquery
from django.utils import timezone

from conversations.context import rules
from conversations.context.candidates import OF_CONVERSATIONS, Pool, Proposal
from conversations.context.rules import Candidate, Day, Rejected
from conversations.context.types import ContextItem, ContextRequest
from conversations.messages import message_key, neighbour_keys
from conversations.models import Conversation
from conversations.query import in_folder
from conversations.search.filters import Condition, translate
from conversations.search.scope import places
from memories import large_rows, prepared_reads
from memories import selectors as memories
from memories.filters import parse
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from memories.search import hybrid
from memories.search.hybrid import Results, Search, SearchHit
from memories.search.relevance import FLOOR
from memories.search.scoring import Stats
from memories.selectors import Narrowing
from somamemory.db import replicas
from somamemory.db.prepared import Parameter, Prepared
from tenants.caller import Caller
from tenants.models import Tenant
from tenants.scoping import parameters_of

# The search retrieves one message per `_TOKENS_A_PROPOSAL` tokens of budget, within these bounds. Retrieving more
# messages than fit would let worse messages in. On LoCoMo, the context contains the following fraction of the evidence
# with 60 and with 200 proposals: .773 and .768 for a budget of 1,000 tokens, .916 and .894 for 4,000 tokens, and .928
# and .963 for 16,000 tokens (60 proposals are too few to fill this budget).
_TOKENS_A_PROPOSAL = 60
_PROPOSED = (60, 400)
# There are far fewer summaries than messages, so the best 60 results contain too few summaries to cover the days from
# which no message is selected.
_WITH_SUMMARIES = 200
_PINNED_CONVERSATIONS = 20
_PINNED_TURNS = 10  # the last turns of each pinned conversation
_RECENT = 100
_RECENT_READ = (
    1_000  # limit on recent messages; with 100,000 messages, reading all messages with a label took 15 to 40 ms
)
_RECENT_DAYS = 7
_WITH_NEIGHBOURS = 50  # number of best candidates whose neighbours are added
# A neighbour gets this fraction of the adjacent candidate's relevance. On LoCoMo, a value of 0.5 increases the fraction
# of the evidence in a context by .01.
_NEIGHBOURS_SHARE = 0.5
_SOURCES = {CONVERSATIONS: "search", SUMMARIES: "summary", FACTS: "fact"}
MAX_EXCLUDED = 20


@dataclass(frozen=True)
class Gathered:
    """All candidates for one context. `candidates` contains no duplicates and lists the neighbours last."""

    pool: Pool
    candidates: Sequence[Candidate]
    duplicates: Sequence[Rejected]
    excluded: Sequence[Rejected]
    degraded: Sequence[str]

    @property
    def days(self) -> dict[UUID, frozenset[Day]]:
        return {candidate.id: self.pool.days(candidate) for candidate in self.candidates}

    def item(self, candidate: Candidate) -> ContextItem:
        return self.pool.item(candidate)


@dataclass(frozen=True)
class _Scope:
    """The restrictions that a request imposes.

    allowed: a condition on conversations; None allows all of them and skips the check.
    passing: a condition on the messages in these conversations; None allows all messages.
    """

    allowed: Q | None
    passing: Q | None
    any_summaries: bool

    def messages(self, caller: Caller) -> QuerySet[Memory]:
        rows = memories.live(caller, [CONVERSATIONS])
        return rows if self.passing is None else rows.filter(self.passing)


def gather(caller: Caller, request: ContextRequest, as_of: datetime) -> Gathered:
    """Return all candidates for a context, with duplicates and excluded messages listed separately."""
    scope = _scope(caller, request)
    pool = Pool(caller, request, as_of)
    results = _search(caller, request, scope, _top_k(request, scope))
    others = _search_memories(caller, request)
    found = _relevant(request, [results, *others])
    best_first = rules.best_first(pool.add(_proposals(caller, request, as_of, scope, found)))
    collected = rules.Distinct(settings.CONTEXT_DUPLICATE)
    distinct, duplicates = collected.add(best_first)
    best, _ = rules.pack(distinct, request.target)
    neighbours = rules.best_first(pool.add(_neighbours(caller, request, scope, pool, best)))
    fresh, repeated = collected.add(neighbours)
    excluded, degraded = _excluded(caller, request, scope, results.stats)
    return Gathered(
        pool=pool,
        candidates=[*distinct, *fresh],
        duplicates=[*duplicates, *repeated],
        excluded=[Rejected(candidate, rules.EXCLUDED) for candidate in pool.add(excluded)],
        degraded=[*results.degraded, *(leg for result in others for leg in result.degraded), *degraded],
    )


def gather_memories(caller: Caller, request: ContextRequest, as_of: datetime) -> Gathered:
    """Return the memories in `request.namespaces`, for a caller that cannot read conversations."""
    pool = Pool(caller, request, as_of)
    results = _search_memories(caller, request)
    candidates = rules.best_first(pool.add(_searched(request, _relevant(request, results))))
    distinct, duplicates = rules.Distinct(settings.CONTEXT_DUPLICATE).add(candidates)
    degraded = [leg for result in results for leg in result.degraded]
    return Gathered(pool=pool, candidates=distinct, duplicates=duplicates, excluded=[], degraded=degraded)


def _scope(caller: Caller, request: ContextRequest) -> _Scope:
    any_archived, any_summaries = _what_exists(caller)
    condition = Q()
    if any_archived and not request.include_archived:
        condition &= ~Q(status=Conversation.Status.ARCHIVED)
    if request.excluded_folders:
        condition &= ~in_folder(*request.excluded_folders)
    if request.folder is not None:
        condition &= in_folder(request.folder)
    condition &= _current(request)
    filters = Condition() if request.filters is None else translate(caller.tenant, request.filters)
    condition &= filters.conversation or Q()
    return _Scope(condition or None, filters.message, any_summaries)


def _current(request: ContextRequest) -> Q:
    """Return a condition for the request's conversation.

    With `exclude_current_session`, return a condition for everything outside the request's conversation and session.
    """
    conversation = Q() if request.conversation_id is None else Q(id=request.conversation_id)
    if not request.exclude_current_session:
        return conversation  # the session is already checked with the request's other ids
    other = ~conversation if conversation else Q()
    if request.session_id is not None:
        other &= ~Q(session_id=request.session_id) | Q(session_id__isnull=True)
    return other


def _what_exists(caller: Caller) -> tuple[bool, bool]:
    """In a single query, return whether any conversation is archived and whether any summary exists."""
    caller.require("read", [SUMMARIES])
    prepared = _existing(caller.tenant.only_user is not None)
    found = prepared.rows(replicas.connection(), **parameters_of(caller.tenant), now=timezone.now())
    return any(vars(row)["archived"] for row in found), any(vars(row)["summary"] is not None for row in found)


@cache
def _existing(limited: bool) -> Prepared[Tenant]:
    return Prepared(lambda: _build_existing(limited))


def _build_existing(limited: bool) -> QuerySet[Tenant]:
    archived = Conversation.objects.of_parameter(limited=limited).filter(status=Conversation.Status.ARCHIVED)
    alive = prepared_reads.alive(Parameter("now", Memory, "expires_at"))
    summaries = Memory.objects.of_parameter(limited=limited).filter(alive, namespace=SUMMARIES)
    # With ORDER BY, PostgreSQL uses the index. Without it, the planner expects an early match and scans the whole table
    # when the namespace is empty.
    summary = summaries.order_by("coordinate_key").values("seq")[:1]
    tenant = Tenant.objects.filter(pk=Parameter("tenant", Tenant, "id"))
    return tenant.only("id").annotate(archived=Exists(archived), summary=Subquery(summary))


def _max_messages(request: ContextRequest) -> int:
    """Return the maximum number of messages to take from a search, based on the request's budget."""
    fewest, most = _PROPOSED
    return min(max(fewest, request.budget // _TOKENS_A_PROPOSAL), most)


def _top_k(request: ContextRequest, scope: _Scope) -> int:
    return max(_max_messages(request), _WITH_SUMMARIES) if scope.any_summaries else _max_messages(request)


def _search(caller: Caller, request: ContextRequest, scope: _Scope, top_k: int, stats: Stats | None = None) -> Results:
    """Search messages and summaries, and facts if the request includes them."""
    within = None if scope.allowed is None else scope.allowed & Q(**request.ids)
    facts = (FACTS,) if FACTS in request.namespaces else ()
    search = Search(
        request.query,
        namespaces=(CONVERSATIONS, SUMMARIES, *facts),
        narrowing=Narrowing(
            places=places(caller.tenant, within, with_summaries=True), also=scope.passing, **request.ids
        ),
        top_k=top_k,
        include_archived=request.include_archived,
        shown=False,
        stats=stats,
    )
    return hybrid.search(caller, search)


def _search_memories(caller: Caller, request: ContextRequest) -> list[Results]:
    """Search the request's namespaces, except those that belong to conversations."""
    namespaces = tuple(name for name in request.namespaces if name not in OF_CONVERSATIONS)
    if not namespaces:
        return []
    search = Search(
        request.query,
        namespaces=namespaces,
        narrowing=Narrowing(
            filters=None if request.filters is None else parse(request.filters),
            **request.ids,
        ),
        top_k=_max_messages(request),
        include_archived=request.include_archived,
        shown=False,
    )
    return [hybrid.search(caller, search)]


def _relevant(request: ContextRequest, results: Sequence[Results]) -> list[SearchHit]:
    """Return the sufficiently relevant hits from all searches, best first.

    Without `min_relevance`, return all hits if at least one of them reaches `FLOOR`, and none otherwise.
    """
    hits = sorted((hit for result in results for hit in result.hits), key=lambda hit: -hit.score)
    if request.min_relevance is not None:
        return [hit for hit in hits if hit.relevance >= request.min_relevance]
    return hits if any(hit.relevance >= FLOOR for hit in hits) else []


def _proposals(
    caller: Caller, request: ContextRequest, as_of: datetime, scope: _Scope, hits: Sequence[SearchHit]
) -> list[Proposal]:
    """Return the memories that were found by a search, are pinned or are recent, without duplicates.

    A memory that comes from several of these sources is attributed to the first one.
    """
    proposals = [
        *_searched(request, hits),
        *(Proposal(memory, "pinned") for memory in _pinned(caller, request, scope)),
        *(Proposal(memory, "recent") for memory in _recent(caller, request, as_of, scope)),
    ]
    distinct: dict[UUID, Proposal] = {}
    for proposal in proposals:
        distinct.setdefault(proposal.memory.id, proposal)
    return list(distinct.values())


def _searched(request: ContextRequest, hits: Sequence[SearchHit]) -> list[Proposal]:
    """Return all summaries among the hits, and as many of the best messages as the budget may require."""
    messages = [hit.memory.id for hit in hits if hit.memory.namespace != SUMMARIES][: _max_messages(request)]
    proposed = set(messages)
    return [
        Proposal(hit.memory, _SOURCES.get(hit.memory.namespace, "memory"), hit.score, hit.relevance)
        for hit in hits
        if hit.memory.namespace == SUMMARIES or hit.memory.id in proposed
    ]


def _pinned(caller: Caller, request: ContextRequest, scope: _Scope) -> Sequence[Memory]:
    """Return the last turns of the most recently changed pinned conversations."""
    pinned = Conversation.objects.for_tenant(caller.tenant).filter(
        scope.allowed or Q(), status=Conversation.Status.PINNED, **request.ids
    )
    last_turns = pinned.order_by("-updated_at", "-number").values_list("number", "last_turn")[:_PINNED_CONVERSATIONS]
    ranges = [
        Q(
            coordinate_key__gte=message_key(number, max(1, last - _PINNED_TURNS + 1)),
            coordinate_key__lte=message_key(number, last),
        )
        for number, last in last_turns
    ]
    if not ranges:
        return []
    rows = scope.messages(caller).filter(Q(*ranges, _connector=Q.OR))
    return large_rows.first_fitting(
        rows.order_by("-created_at", "-coordinate_key"), _PINNED_CONVERSATIONS * _PINNED_TURNS
    )


def _recent(caller: Caller, request: ContextRequest, as_of: datetime, scope: _Scope) -> Sequence[Memory]:
    """Return messages from the last few days in the most recently changed conversations with preferred labels."""
    if not request.preferred_labels:
        return []
    since = as_of - timedelta(days=_RECENT_DAYS)
    changed = Conversation.objects.for_tenant(caller.tenant).filter(
        scope.allowed or Q(), label__in=sorted(request.preferred_labels), updated_at__gt=since, **request.ids
    )
    last_turns = changed.order_by("-updated_at", "-number").values_list("number", "last_turn")[:_RECENT]
    turns = ((number, turn) for number, last in last_turns for turn in range(max(1, last - _RECENT + 1), last + 1))
    keys = {message_key(number, turn) for number, turn in islice(turns, _RECENT_READ)}
    rows = scope.messages(caller).filter(coordinate_key__among=keys, created_at__gt=since)
    return large_rows.first_fitting(rows.order_by("-created_at", "-coordinate_key"), _RECENT)


def _neighbours(
    caller: Caller, request: ContextRequest, scope: _Scope, pool: Pool, best: Sequence[Candidate]
) -> list[Proposal]:
    """Return the turns next to the best candidates, if they are relevant enough and not candidates yet."""
    near: dict[str, Candidate] = {}
    for candidate in rules.best_first(best)[:_WITH_NEIGHBOURS]:
        if pool.memories[candidate.id].namespace == CONVERSATIONS:
            for key in neighbour_keys(candidate.address):
                near.setdefault(key, candidate)
    there = large_rows.in_order(scope.messages(caller), "coordinate_key", list(near))
    rows = [row for row in there if row is not None and row.id not in pool.memories]
    neighbours = [_neighbour(row, near[row.coordinate_key]) for row in rows]
    least = request.min_relevance or 0.0
    return [proposal for proposal in neighbours if proposal.relevance is None or proposal.relevance >= least]


def _neighbour(row: Memory, candidate: Candidate) -> Proposal:
    relevance = None if candidate.relevance is None else round(candidate.relevance * _NEIGHBOURS_SHARE, 4)
    return Proposal(row, "neighbour", candidate.parts.relevance * _NEIGHBOURS_SHARE, relevance)


def _excluded(
    caller: Caller, request: ContextRequest, scope: _Scope, stats: Stats | None
) -> tuple[list[Proposal], Sequence[str]]:
    """Return the best messages that the request's exclusions removed, and the degraded search legs."""
    if scope.allowed is None or not request.report_excluded:
        return [], []
    everything = replace(request, include_archived=True)
    results = _search(caller, everything, replace(scope, allowed=~scope.allowed), MAX_EXCLUDED, stats)
    return [Proposal(hit.memory, "search", hit.score, hit.relevance) for hit in results.hits], results.degraded

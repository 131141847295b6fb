"""Searches over messages: by meaning and by word (`query`), and by exact words (`full_text`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db.models import Q, QuerySet, Sum

from conversations.lookup import by_key
from conversations.messages import Message, conversation_key, message_key
from conversations.models import Conversation
from conversations.search import full_text as fulltext
from conversations.search.filters import Condition, in_conversations, translate
from memories import coordinates, read_counts
from memories import selectors as memories
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from memories.search import hybrid, lexical, ranking
from memories.search.hybrid import KEYWORD, Found, Search
from memories.search.ranking import Stats
from memories.selectors import Narrowing, Places
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput
from tenants.caller import Caller
from tenants.models import Tenant

COLD = "cold"
# So many conversations are told to the database by the ranges of their messages, one condition each.
_MAX_RANGES = 200
# With so few messages in them, all their vectors are compared, and the index is not asked.
_EXACT = 5_000
# So many messages that hold the words are looked at closely: whether it is their own, and where they stand.
_MAX_READ = 1_000
# So many characters of them together, which take half a second; and so many messages are fetched at a time.
_MAX_CHARACTERS = 1_000_000
_AT_ONCE = 100


@dataclass(frozen=True)
class Hit:
    message: Memory
    conversation: Conversation
    score: float
    similarity: float | None = None  # None: the index has nothing of it yet, or was not asked


@dataclass(frozen=True)
class Hits:
    """`total`: how many were ranked, or hold the words. `degraded` names a leg that is down, or did not see all, and
    says `cold` where archived messages were asked for and some are in files."""

    found: Sequence[Hit]
    total: int
    degraded: Sequence[str]


@may_read_replica
def query(
    caller: Caller,
    words: str,
    raw_filters: object = None,
    *,
    limit: int = 10,
    offset: int = 0,
    include_archived: bool | None = None,
) -> Hits:
    """Return the messages that answer a question best, by meaning and by word.

    `raw_filters`: see `conversations.search.filters`.

    include_archived: with those of archived conversations; None: where the filters speak of the status or of single
    conversations. Raises InvalidInput.
    """
    caller.require("read", [CONVERSATIONS])
    condition = Condition() if raw_filters is None else translate(caller.tenant, raw_filters)
    archived = condition.speaks_of_archived if include_archived is None else include_archived
    wanted = Search(
        words,
        namespaces=(CONVERSATIONS,),
        narrowing=Narrowing(places=places(caller.tenant, condition.conversation), also=condition.message),
        top_k=limit,
        offset=offset,
        explain=True,
        include_archived=archived,
    )
    results = hybrid.search(caller, wanted)
    of = by_key(caller.tenant, [found.memory for found in results.found])
    degraded = set(results.degraded)
    if not results.every_match:
        degraded.add(KEYWORD)
    if archived and are_cold(caller.tenant):
        degraded.add(COLD)
    return Hits(list(_hits(results.found, of)), results.total, sorted(degraded))


@may_read_replica
def full_text(caller: Caller, words: str, *, limit: int = 10, offset: int = 0, include_archived: bool = False) -> Hits:
    """The messages that hold these words themselves; phrases in quotation marks as they stand, `-words` not at all."""
    caller.require("read", [CONVERSATIONS])
    wanted = fulltext.parse(words)
    if not wanted.terms:
        raise InvalidInput("query", "needs a word to look for")
    stats = lexical.statistics(caller.tenant, [CONVERSATIONS], wanted.terms)
    # The rarest word of a phrase finds every message that can hold it.
    must = [term for phrase in wanted.phrases for term in phrase if term in stats.frequency]
    leading = stats if not must else stats.only(min(must, key=lambda term: stats.frequency[term]))
    rows = memories.live(caller, [CONVERSATIONS])
    if not include_archived:
        rows = rows.filter(archived_at=None)
    matches, complete = lexical.matches(rows, [CONVERSATIONS], leading, caller.tenant, lexical.MAX_RANKED)
    ranked, all_read = _read(rows, [match.seq for match in matches], wanted, stats)
    ranked.sort(key=lambda each: (-each[0], each[1].coordinate_key))
    page = ranked[offset : offset + limit]
    of = by_key(caller.tenant, [row for _, row in page])
    read_counts.count([row for _, row in page])
    found = [
        Hit(row, of[key], round(score, 6)) for score, row in page if (key := conversation_key(row.coordinate_key)) in of
    ]
    degraded = [] if complete and all_read and not wanted.is_cut else [KEYWORD]
    if include_archived and are_cold(caller.tenant):
        degraded = [COLD, *degraded]
    return Hits(found, len(ranked), degraded)


def are_cold(tenant: Tenant) -> bool:
    """Whether there are messages that no search sees."""
    return Conversation.objects.for_tenant(tenant).filter(tier=Conversation.Tier.COLD).exists()


def _read(
    rows: QuerySet[Memory], seqs: Sequence[int], wanted: fulltext.Query, stats: Stats
) -> tuple[list[tuple[float, Memory]], bool]:
    """The messages among `seqs` that hold what is wanted, with their scores; whether all of them were read."""
    weights = ranking.term_weights(wanted.terms, stats)
    found: list[tuple[float, Memory]] = []
    left = _MAX_CHARACTERS
    for start in range(0, min(len(seqs), _MAX_READ), _AT_ONCE):
        batch = seqs[start : min(start + _AT_ONCE, _MAX_READ)]
        there = {row.seq: row for row in rows.filter(seq__in=batch)}
        for row in (there[seq] for seq in batch if seq in there):
            # What lies behind is not indexed either.
            content = Message.of(row).indexed_text
            left -= len(content)
            if left < 0:
                return found, False
            score = fulltext.score(wanted, content, weights, stats.average_length)
            if score is not None:
                found.append((score, row))
    return found, len(seqs) <= _MAX_READ


def places(tenant: Tenant, condition: Q | None, *, with_summaries: bool = False) -> Places | None:
    """Where the messages lie whose conversations fulfil a condition; None: everywhere."""
    if condition is None:
        return None
    conversations = Conversation.objects.for_tenant(tenant)
    inside = in_conversations(tenant, condition)
    few = list(conversations.filter(condition).values_list("key", "number", "last_turn")[: _MAX_RANGES + 1])
    if len(few) <= _MAX_RANGES and sum(turns for _, _, turns in few) <= _EXACT:
        if not with_summaries:
            return Places(inside, few=_of_turns((number, last) for _, number, last in few))
        ranges = [Q(coordinate_key__gte=low, coordinate_key__lt=high) for low, high in map(_subtree, few)]
        return Places(inside, few=Q(*ranges, _connector=Q.OR) if ranges else Q(pk__in=[]))
    turns = conversations.aggregate(there=Sum("last_turn", filter=condition), all=Sum("last_turn"))
    there, all_turns = turns["there"] or 0, turns["all"] or 0
    if there <= _EXACT and not with_summaries:
        return Places(inside, few=_of_turns(conversations.filter(condition).values_list("number", "last_turn")))
    return Places(inside, share=min(1.0, there / max(all_turns, 1)))


def _of_turns(conversations: Iterable[tuple[int, int]]) -> Q:
    """Of (number, last turn), all messages, by their addresses: as ranges, 200 take half as long again."""
    keys = (message_key(number, turn) for number, last in conversations for turn in range(1, last + 1))
    return Q(coordinate_key__in=list(islice(keys, 2 * _EXACT)))


def _subtree(row: tuple[str, int, int]) -> tuple[str, str]:
    return coordinates.from_key(row[0]).subtree


def _hits(found: Sequence[Found], of: Mapping[str, Conversation]) -> list[Hit]:
    """A conversation that has just been deleted takes its messages with it."""
    hits = []
    for each in found:
        conversation = of.get(conversation_key(each.memory.coordinate_key))
        if conversation is not None:
            hits.append(Hit(each.memory, conversation, each.score, (each.scores or {}).get("semantic")))
    return hits

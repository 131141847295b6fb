"""Full-text search over messages with `query_syntax`: every hit contains the exact words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import QuerySet

from conversations.messages import texts_by_seq
from conversations.search import query_syntax
from conversations.search.query_syntax import WordQuery
from conversations.search.results import COLD, MessageResults, has_cold_conversations, with_conversations
from memories import large_rows, read_counts
from memories import selectors as memories
from memories.models import NO_IDS, Ids, Memory
from memories.reserved_namespaces import CONVERSATIONS
from memories.search import lexical
from memories.search.hybrid import KEYWORD
from memories.search.lexical import Match
from memories.search.scoring import Stats
from memories.search.selection import Selection
from memories.search.statistics import statistics
from memories.selectors import Narrowing
from somamemory import deadline
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

# Limits on the number of messages that are ranked by their indexed terms, and that are read. They must be read because
# the index records neither whether a word belongs to the message itself nor its position.
_MAX_RANKED = 2_000
_MAX_READ = 1_000
# Limit on the total number of characters read, which takes half a second. Limits on the messages per fetch.
_MAX_CHARACTERS = 1_000_000
_BATCH = 500
_BATCH_BYTES = 4_000_000


@may_read_replica
def search_full_text(
    caller: Caller,
    text: str,
    *,
    limit: int = 10,
    offset: int = 0,
    include_archived: bool = False,
    ids: Ids = NO_IDS,
) -> MessageResults:
    """Return the messages that contain the given words. Raises InvalidInput.

    text: a query in the syntax of `query_syntax`.
    """
    caller.require("read", [CONVERSATIONS])
    query = query_syntax.parse(text)
    stats = statistics(caller.tenant, [CONVERSATIONS], query.terms)
    rows = Narrowing(**ids).apply(memories.live(caller, [CONVERSATIONS]))
    if not include_archived:
        rows = rows.filter(archived_at=None)
    matches = lexical.matches(
        Selection.of(rows),
        [CONVERSATIONS],
        stats,
        caller.tenant,
        _MAX_RANKED,
        _MAX_RANKED,
        clauses=query.clauses(stats),
    )
    ranked, all_read = _read(rows, matches.ranked, query, stats)
    ranked.sort(key=lambda hit: (-hit[0], hit[1]))
    page = ranked[offset : offset + limit]
    messages = large_rows.in_order(rows, "coordinate_key", [key for _, key in page])
    scored = zip(page, messages, strict=False)  # the list of messages may end early
    hits = with_conversations(
        caller.tenant, ((message, round(score, 6)) for (score, _), message in scored if message is not None)
    )
    read_counts.count(filter(None, messages))
    next_offset = offset + len(messages) if len(messages) < len(page) else None
    incomplete = [] if matches.complete and all_read and not query.is_cut else [KEYWORD]
    cold = [COLD] if include_archived and has_cold_conversations(caller.tenant) else []
    return MessageResults(hits, len(ranked), [*cold, *incomplete], next_offset)


def _read(
    rows: QuerySet[Memory], matches: Sequence[Match], query: WordQuery, stats: Stats
) -> tuple[list[tuple[float, str]], bool]:
    """Return the score and the key of each message among `matches` that matches, and whether all of them were read."""
    weights = query.term_weights(stats)
    scored: list[tuple[float, str]] = []
    characters_left = _MAX_CHARACTERS
    for batch in _batches(matches[:_MAX_READ]):
        deadline.check()
        texts = texts_by_seq(rows.filter(seq__in=batch))
        for key, text in (texts[seq] for seq in batch if seq in texts):
            characters_left -= len(text)
            if characters_left < 0:
                return scored, False
            score = query.score(text, weights, stats.average_length)
            if score is not None:
                scored.append((score, key))
    return scored, len(matches) <= _MAX_READ


def _batches(matches: Sequence[Match]) -> Iterator[list[int]]:
    """Yield the messages in batches that are not too large to be read at once."""
    batch: list[int] = []
    size = 0
    for match in matches:
        size += match.size
        if batch and (size > _BATCH_BYTES or len(batch) == _BATCH):
            yield batch
            batch, size = [], match.size
        batch.append(match.seq)
    if batch:
        yield batch

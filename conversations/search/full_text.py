"""Full-text search over messages, in the syntax of `query_syntax`. Each hit's own text contains the required words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import QuerySet

from conversations.messages import texts_by_seq
from conversations.search import query_syntax
from conversations.search.expressions import Text
from conversations.search.query_syntax import WordQuery
from conversations.search.results import COLD, MessageResults, has_cold_conversations, with_conversations
from memories import large_rows, read_counts
from memories import selectors as memories
from memories.models import NO_IDS, Ids, Memory
from memories.reserved_namespaces import CONVERSATIONS
from memories.search import lexical, term_marks
from memories.search.hybrid import KEYWORD
from memories.search.lexical import Match
from memories.search.scoring import Stats
from memories.search.selection import Selection
from memories.search.statistics import statistics
from memories.selectors import Narrowing
from somamemory import deadline
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

# The maximum number of messages to take from the index, and how many of the best ones to compare with the query. The
# comparison is needed because the index also finds words of the previous message, and cannot find phrases.
_MAX_RANKED = 2_000
_MAX_COMPARED = 1_000
# If the query contains a prefix, the text of the messages is read. Limits on the total number of characters (reading
# this many takes half a second), and on the number and the size of the messages in each batch.
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
    """Return the messages that match a query, best first. Raises InvalidInput if the query is not valid.

    text: the query, in the syntax of `query_syntax`.
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
        details=True,
    )
    ranked, all_compared = _ranked(rows, matches.ranked, query, stats)
    page = ranked[offset : offset + limit]
    messages = large_rows.in_order(rows, "coordinate_key", [key for _, key in page])
    scored = zip(page, messages, strict=False)  # `messages` ends early if the messages are large
    hits = with_conversations(
        caller.tenant, ((message, round(score, 6)) for (score, _), message in scored if message is not None)
    )
    read_counts.count(filter(None, messages))
    next_offset = offset + len(messages) if len(messages) < len(page) else None
    incomplete = [] if matches.complete and all_compared and not query.is_cut else [KEYWORD]
    cold = [COLD] if include_archived and has_cold_conversations(caller.tenant) else []
    return MessageResults(hits, len(ranked), [*cold, *incomplete], next_offset)


def _ranked(
    rows: QuerySet[Memory], matches: Sequence[Match], query: WordQuery, stats: Stats
) -> tuple[list[tuple[float, str]], bool]:
    """Return (score, key) for each message that matches, best first, and whether all `matches` were compared."""
    found = matches[:_MAX_COMPARED]
    texts = {} if query.needs_content else _indexed(found)
    to_read = [match for match in found if match.key not in texts]
    read, all_read = _read(rows, to_read)
    deadline.check()
    matching = {key: text for key, text in (texts | read).items() if query.condition.matches(text)}
    scores = query.scores(list(matching.values()), stats)
    ranked = sorted(zip(scores, matching, strict=True), key=lambda hit: (-hit[0], hit[1]))
    return ranked, all_read and len(matches) <= _MAX_COMPARED


def _indexed(matches: Sequence[Match]) -> dict[str, Text]:
    """Return the texts of messages, reconstructed from the index, by key.

    Leaves out messages whose index entries do not separate their own terms from those of the previous message, because
    they were stored before the index contained marks (see `memories.search.term_marks`).
    """
    own = ((match.key, term_marks.own_terms(match.terms, match.has_context)) for match in matches)
    return {key: Text(terms) for key, terms in own if terms is not None}


def _read(rows: QuerySet[Memory], matches: Sequence[Match]) -> tuple[dict[str, Text], bool]:
    """Return the texts of messages, by key, and whether all of them were read."""
    texts: dict[str, Text] = {}
    characters_left = _MAX_CHARACTERS
    for batch in _batches(matches):
        deadline.check()
        contents = texts_by_seq(rows.filter(seq__among=batch))
        for key, content in (contents[seq] for seq in batch if seq in contents):
            characters_left -= len(content)
            if characters_left < 0:
                return texts, False
            texts[key] = Text.of(content)
    return texts, True


def _batches(matches: Sequence[Match]) -> Iterator[list[int]]:
    """Yield the row numbers of the messages, in batches that are small enough to be read at once."""
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

"""The lexical leg: full-text search in the database proposes memories, and our own BM25 ranks them.

Both databases index the same terms (`Memory.terms`), together with a scope term for the tenant and namespace. They are
used only to find the memories that contain a term. Their own rankings differ from each other and include the words of
other tenants, although a tenant's scores must not reveal what another tenant has stored.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import TTLCache
from django.db import connection
from django.db.models import BooleanField, F, Func, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from memories.models import Memory
from memories.search import scoring
from memories.search.scoring import Stats
from somamemory.db import replicas
from tenants.models import Tenant

# A term that occurs more often than this is "frequent". Counting further would not change the ranking.
MAX_FREQUENCY = 10_000
# The maximum number of memories ranked for one query. Only the rarest terms select them; other terms add to the scores.
MAX_CANDIDATES = 2_000
# The maximum in keyword mode, where the terms alone determine the ranking.
MAX_RANKED = 20_000
MAX_COUNTED = 200_000
_SAMPLE = 1_000
_OF_USER = 2_000
# The sizes of small namespaces are counted for every query. Those of large namespaces can be up to a minute old.
_SMALL = 100
_sizes: TTLCache[tuple[UUID, tuple[str, ...]], tuple[int, float]] = TTLCache(maxsize=10_000, ttl=60)
# Counting common terms is the largest cost of the statistics (at 100,000 messages, 34 ms of a query's 117 ms at p95).
# Common terms recur, and their counts hardly change within a minute.
_COMMON = 1_000
_common: TTLCache[tuple[UUID, tuple[str, ...], str], int] = TTLCache(maxsize=50_000, ttl=60)
_lock = threading.Lock()


@dataclass(frozen=True)
class Match:
    """A memory that matches the query.

    `seq` is the memory's number in the database, which is ten times as fast to read as its UUID.
    """

    seq: int
    bm25: float


def statistics(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> Stats:
    """Return the number of memories, their average length, and the frequency of each term, counting deleted ones."""
    if tenant.only_user is not None:
        return _of_user(tenant, namespaces, terms)
    places = tuple(sorted(namespaces))
    documents, average_length = _size(tenant, places)
    with _lock:
        counts = {term: _common.get((tenant.id, places, term)) for term in terms}
    missing = [term for term, count in counts.items() if count is None]
    counted = dict(zip(missing, _frequencies(tenant, places, missing), strict=True))
    with _lock:
        _common.update({(tenant.id, places, term): count for term, count in counted.items() if count >= _COMMON})
    return Stats(documents, average_length, {term: count or counted[term] for term, count in counts.items()})


def _of_user(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> Stats:
    """Return statistics of the user's own memories, so that a score reveals no words of other users.

    Of many memories, the latest count; any term may then occur in one of the others.
    """
    rows = Memory.objects.for_tenant(tenant).filter(namespace__in=namespaces).order_by("-seq")
    documents = [text.split() for text in rows.values_list("terms", flat=True)[:_OF_USER]]
    counts = Counter(term for words in documents for term in set(terms).intersection(words))
    at_least = 1 if len(documents) == _OF_USER else 0
    length = sum(map(len, documents)) / len(documents) if documents else 0.0
    return Stats(len(documents), length, {term: max(counts[term], at_least) for term in terms})


def matches(
    memories: QuerySet[Memory], namespaces: Sequence[str], stats: Stats, tenant: Tenant, most: int = MAX_CANDIDATES
) -> tuple[list[Match], bool]:
    """Return the `memories` that contain terms of the query (the keys of `stats.frequency`), best first.

    At most `most` memories are ranked. The second value is whether these are all the matches.
    """
    drivers = _drivers(stats, most)
    if not drivers:
        return [], True
    weights = scoring.term_weights(list(stats.frequency), stats)
    rows = (
        memories.filter(Matches(_match(tenant, namespaces, drivers)))
        .order_by("-seq")
        .values_list("seq", "terms")[: most + 1]
    )
    matching = [Match(seq, scoring.bm25(terms, weights, stats.average_length)) for seq, terms in rows]
    complete = len(matching) <= most and len(drivers) == sum(1 for frequency in stats.frequency.values() if frequency)
    matching = matching[:most]
    matching.sort(key=lambda match: (-match.bm25, match.seq))
    return matching, complete


class Matches(Func):
    """The condition that a memory matches a full-text expression from `_match`."""

    output_field = BooleanField()

    def __init__(self, expression: str) -> None:
        super().__init__(F("seq"))
        self.expression = expression

    def as_sqlite(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: Any, **extra: Any
    ) -> tuple[str, list[Any]]:
        seq, parameters = compiler.compile(self.source_expressions[0])
        sql = f"{seq} IN (SELECT rowid FROM sfm_memory_terms WHERE sfm_memory_terms MATCH %s)"  # noqa: S608
        return sql, [*parameters, self.expression]

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> tuple[str, list[Any]]:
        seq, parameters = compiler.compile(self.source_expressions[0])
        table = seq.rpartition(".")[0]
        return f"{table}.terms_vector @@ %s::tsquery", [*parameters, self.expression]


def _drivers(stats: Stats, most: int) -> list[str]:
    """Return the rarest terms that together occur in at most `most` memories; at least one, if any term occurs."""
    chosen: list[str] = []
    together = 0
    for term, frequency in sorted(stats.frequency.items(), key=lambda item: (item[1], item[0])):
        if not frequency:
            continue
        together += frequency
        if chosen and together > most:
            break
        chosen.append(term)
    return chosen


def _match(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> str:
    """Return a full-text expression: (one of the scopes) AND (one of the terms).

    No quoting is needed: a term contains only letters and digits (`search.analyzer`), and a namespace contains no
    quotes or backslashes.
    """
    if connection.vendor == "sqlite":
        scopes = [f"§scope{tenant.id.hex}x{namespace.encode().hex()}" for namespace in namespaces]
        return " AND ".join("(" + " OR ".join(f'"{word}"' for word in words) + ")" for words in (scopes, terms))
    scopes = [f"§scope{tenant.id.hex}x{namespace}" for namespace in namespaces]
    return " & ".join("(" + " | ".join(f"'{word}'" for word in words) + ")" for words in (scopes, terms))


def _frequencies(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> list[int]:
    """Return the number of memories that contain each term, counted up to MAX_FREQUENCY, in a single statement."""
    if not terms:
        return []
    if connection.vendor == "sqlite":
        one = "SELECT count(*) FROM (SELECT 1 FROM sfm_memory_terms WHERE sfm_memory_terms MATCH %s LIMIT %s)"
    else:
        one = "SELECT count(*) FROM (SELECT 1 FROM sfm_memories WHERE terms_vector @@ %s::tsquery LIMIT %s) AS t"
    parameters: list[str | int] = []
    for term in terms:
        parameters += [_match(tenant, namespaces, [term]), MAX_FREQUENCY]
    with replicas.connection().cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"({one})" for _ in terms), parameters)
        return list(cursor.fetchone() or [])


def _size(tenant: Tenant, namespaces: tuple[str, ...]) -> tuple[int, float]:
    """Return (number of memories, average number of terms) for these namespaces."""
    with _lock:
        known = _sizes.get((tenant.id, namespaces))
    if known:
        return known
    memories = Memory.objects.for_tenant(tenant).filter(namespace__in=namespaces)
    documents = memories.order_by()[:MAX_COUNTED].count()
    sample = memories.order_by("-created_at", "-seq").values_list("terms", flat=True)[:_SAMPLE]
    lengths = [len(terms.split()) for terms in sample]
    size = (documents, sum(lengths) / len(lengths) if lengths else 0.0)
    if documents > _SMALL:
        with _lock:
            _sizes[tenant.id, namespaces] = size
    return size


def forget_cached() -> None:
    with _lock:
        _sizes.clear()
        _common.clear()

"""Statistics on the searched namespaces: the number of memories, their average length, and the frequency of terms.

SQLite keeps these numbers with its full-text index. PostgreSQL has to count: it does so in small namespaces and for
rare terms. For frequent terms in large namespaces, it estimates the frequency from a random sample of the memories, so
that the cost does not depend on the size of the namespace. The relative frequencies of common terms are cached for ten
minutes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from cachetools import TTLCache

from memories.models import Memory
from memories.search import term_index
from memories.search.scoring import Stats
from memories.search.term_index import COUNTED, Size
from somamemory.db import replicas
from tenants.models import Tenant

# Up to this number, memories are counted for every query. For larger namespaces, the number is cached for up to a
# minute.
_SMALL = 100
# If at least this many memories contain a term, the share of memories that contain it is cached: counting them takes a
# millisecond or more, such terms occur in many queries, and the share hardly changes.
COMMON = 1_000
SHARES_S = 600
# Terms that occur in fewer memories of the sample than this are counted instead of estimated.
_RELIABLE = 20
_OF_USER = 2_000  # the maximum number of a user's memories that are counted

Places = tuple[UUID, tuple[str, ...]]
_sizes: TTLCache[Places, Size] = TTLCache(maxsize=10_000, ttl=60)
_shares: TTLCache[tuple[Places, str], float] = TTLCache(maxsize=50_000, ttl=SHARES_S)
_sampled: TTLCache[Places, bool] = TTLCache(maxsize=10_000, ttl=SHARES_S)
_lock = threading.Lock()


def statistics(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> Stats:
    """Return the number of memories (including deleted ones), their average length, and the frequency of each term."""
    if tenant.only_user is not None:
        return _of_user(tenant, namespaces, terms)
    places = (tenant.id, tuple(sorted(namespaces)))
    connection = replicas.connection()
    if connection.vendor == "sqlite":
        shares = _known_shares(places, terms)
        missing = [term for term in terms if term not in shares]
        size, counted = term_index.sqlite_counts(connection, tenant, places[1], missing)
    else:
        size = _size(tenant, places)
        shares = _known_shares(places, terms)
        missing = [term for term in terms if term not in shares]
        counted = term_index.postgresql_counts(connection, tenant, places[1], missing) if missing else {}
    _keep_shares(places, size, counted)
    estimated = {term: round(share * size.documents) for term, share in shares.items()}
    frequency = {term: counted[term] if term in counted else estimated[term] for term in terms}
    return Stats(size.documents, size.average_length, frequency)


def _of_user(tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]) -> Stats:
    """Return statistics on the user's own memories only, so that a score does not reveal other users' words.

    If there are many memories, only the latest are counted, and each term is assumed to occur in at least one memory.
    """
    rows = Memory.objects.for_tenant(tenant).filter(namespace__in=namespaces).order_by("-seq")
    documents = [text.split() for text in rows.values_list("terms", flat=True)[:_OF_USER]]
    wanted = frozenset(terms)
    counts = Counter(term for words in documents for term in wanted.intersection(words))
    at_least = 1 if len(documents) == _OF_USER else 0
    length = sum(map(len, documents)) / len(documents) if documents else 0.0
    return Stats(len(documents), length, {term: max(counts[term], at_least) for term in terms})


def _known_shares(places: Places, terms: Sequence[str]) -> dict[str, float]:
    with _lock:
        return {term: share for term in terms if (share := _shares.get((places, term))) is not None}


def _keep_shares(places: Places, size: Size, counted: Mapping[str, int]) -> None:
    common = {(places, term): count / max(size.documents, 1) for term, count in counted.items() if count >= COMMON}
    if common:
        with _lock:
            _shares.update(common)


def _size(tenant: Tenant, places: Places) -> Size:
    """Return the size of the namespaces on PostgreSQL. For large namespaces, also take a new sample if one is due."""
    with _lock:
        size = _sizes.get(places)
    if size is None:
        size = term_index.postgresql_size(replicas.connection(), tenant, places[1])
        if size.documents > _SMALL:
            with _lock:
                _sizes[places] = size
    if size.documents > COUNTED and places not in _sampled:
        _keep_sample(places, term_index.postgresql_sample(replicas.connection(), tenant, places[1]))
    return size


def _keep_sample(places: Places, sample: Sequence[str]) -> None:
    """Cache the shares of terms that occur in the sample often enough for a reliable estimate."""
    occurring = Counter(term for terms in sample for term in set(terms.split()))
    shares = {(places, term): count / len(sample) for term, count in occurring.items() if count >= _RELIABLE}
    with _lock:
        _shares.update(shares)
        _sampled[places] = True


def forget_cached() -> None:
    with _lock:
        _sizes.clear()
        _shares.clear()
        _sampled.clear()

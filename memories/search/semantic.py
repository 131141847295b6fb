"""The semantic leg: the vector index finds memories that are similar to the query.

If only a few memories pass the filters, all of them are compared with the query, which gives exact results. A local
index compares them; if the index is remote, this module does so, with vectors from the database. With filters on the
payload or metadata, finding these few memories may require a scan, so such a search examines the nearest memories
first. If enough of them pass, the result is exact as well. On SQLite, if the full-text index can apply the filters
(`filters.fields`), the few memories are found without a scan.

Archived memories are not in the index, so their vectors are always read from the database. Neither leg finds them
unless the search includes archived memories.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import close_old_connections
from django.db.models import F, Q, QuerySet

from memories import embeddings, index, large_rows, payloads
from memories.embeddings.base import Vectors
from memories.index import generations
from memories.index.base import MAX_LIMIT, ComparesPoints, Hit, Ids, Where, usable
from memories.index.local.index import LocalIndex
from memories.models import EmbeddingGeneration, Memory
from memories.search import analyzer, scoring, term_index, vectors
from memories.search.candidates import Candidates, Confirmation
from memories.search.query import HYBRID, SEMANTIC, Search
from memories.search.scoring import Stats
from memories.search.selection import StoredId
from memories.selectors import Narrowing
from somamemory import deadline
from somamemory.errors import ConfigurationError, IndexUnavailable, Unavailable
from somamemory.response_size import fitting
from somamemory.telemetry import metrics, tracing
from tenants.caller import Caller

log = logging.getLogger("soma.search")

# If at most this many memories pass the filters, all of their vectors are compared with the query.
EXACT = 2_000
# If hits have to pass filters, the number of hits to request is estimated and then multiplied by this factor.
_SPARE = 1.5
# If a search has a filter on the payload or metadata, and there are at least this many memories, it examines the
# nearest memories (_SAMPLE pools of candidates) before it looks for all memories that pass the filter. Examining a
# memory by its id takes as long as scanning _SCANNED memories.
SAMPLED_FROM = 20_000
_SAMPLE = 4
_SCANNED = 8
# The memories that the full-text index finds for a filter are counted only up to the total divided by this number,
# because counting 100,000 takes 7 ms.
_COMMON = 10
# If the full-text index finds at most this many memories for each hit that would have to be requested, a local index
# compares all of them: finding, comparing and confirming takes 6 to 14 µs for a hit, and 0.5 µs for one of these
# memories, or 1.7 µs if its id has to be read (see `known_ids`).
_COMPARED_PER_HIT = 15
_MAX_AMONG = 100_000
# If more memories than this await indexing, a search with `consistency=strong` is rejected, because it would be slow.
MAX_PENDING = 1_000
# In a hybrid search, a scan of at least this many vectors in a local index runs during the keyword leg, not after it.
SCANNED_ASIDE_FROM = 200_000
ANSWER_S = 15.0

_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="soma-semantic")


@dataclass(frozen=True)
class Few:
    """All memories that pass the filters: their ids if the index can compare them, otherwise their vectors."""

    ids: Sequence[StoredId] = ()
    vectors: Sequence[tuple[UUID, bytes]] | None = None


@dataclass
class SemanticLeg:
    """A query to the vector index.

    `start` sends it if the index or the model is remote or slow; otherwise, `candidates` does.
    """

    caller: Caller
    search: Search
    confirmation: Confirmation
    query: str
    generation: EmbeddingGeneration
    pending: list[Memory] = field(default_factory=list)  # the memories that are not in the index yet
    few: Few | None = None  # all memories that pass the filters, if there are only a few
    among: Ids | None = None  # if not None, the index compares only these memories
    # If the nearest memories are examined first: the number of memories to scan to find all that pass the filters.
    sampled_of: int = 0
    limit: int = 0
    vector: Vectors | None = None  # the query's vector, set by `candidates`
    _answer: Future[tuple[Vectors | None, list[Hit]]] | None = field(default=None, repr=False)

    @property
    def reads_vectors(self) -> bool:
        """Return whether the few memories are compared here, with vectors from the database, not by the index."""
        try:
            return self.search.include_archived or not isinstance(index.of(self.generation), ComparesPoints)
        except ConfigurationError:  # will be raised again when the leg runs
            return True

    @property
    def scans_files(self) -> bool:
        """Return whether the index consists of files, which any thread can scan."""
        try:
            return isinstance(index.of(self.generation), LocalIndex)
        except ConfigurationError:  # will be raised again when the leg runs
            return False

    @property
    def memories(self) -> QuerySet[Memory]:
        return self.confirmation.selection.memories

    def candidates(self, ids: Collection[StoredId]) -> Candidates:
        """Return the confirmed memories that are similar to the query or in `ids`, each with its similarity.

        Raises Unavailable if the index or the model does not respond.
        """
        self.vector, hits = self._result()
        if self.vector is None:  # no word from the query is in the model's vocabulary
            return self.confirmation.of(ids)
        confirmed = self._confirm_enough(hits, self._from_database(self.vector), ids, self.vector)
        self.add_similarities(confirmed)
        return confirmed

    def add_similarities(self, candidates: Candidates) -> None:
        """Set the similarity of each candidate that has a vector."""
        stored = [(candidate, candidate.vector) for candidate in candidates.values() if candidate.vector]
        if self.vector is not None:
            similarities = vectors.cosines([vector for _, vector in stored], self.vector)
            for (candidate, _), similarity in zip(stored, similarities, strict=True):
                candidate.similarity = similarity

    def start(self, *, is_slow: bool) -> None:
        """If the index or the model is remote or slow, run the query on another thread while the keyword leg runs.

        The thread gets this thread's context, so it cannot read other tenants' rows. Other queries take at most a
        few milliseconds, so another thread would cost more than it saves.

        is_slow: whether a local index must scan many vectors.
        """
        if is_slow or self._is_remote():
            self._answer = _threads.submit(copy_context().run, tracing.carried(self._embed_and_ask_on_thread))

    def _embed_and_ask_on_thread(self) -> tuple[Vectors | None, list[Hit]]:
        """Call `_embed_and_ask`, and close this thread's database connection if it is no longer usable.

        pgvector uses this connection, and opens a new one the next time it needs one.
        """
        close_old_connections()  # Django does this before and after each request, but only for the request's thread
        try:
            return self._embed_and_ask()
        finally:
            close_old_connections()

    def _is_remote(self) -> bool:
        try:
            embeds_remotely = self.search.vector is None and not embeddings.of(self.generation).in_process
            return index.of(self.generation).remote or embeds_remotely
        except (Unavailable, ConfigurationError):  # will be raised again when the leg runs
            return False

    def _result(self) -> tuple[Vectors | None, list[Hit]]:
        if self._answer is None:
            return self._embed_and_ask()
        try:
            return self._answer.result(deadline.left_s(ANSWER_S))
        except FutureTimeout:
            raise IndexUnavailable("the vector index did not respond in time; retry later") from None

    def _from_database(self, vector: Vectors) -> dict[UUID, float]:
        """Return the similarities of the memories that are compared here: `few`, `pending` and archived memories."""
        similarities: dict[UUID, float] = {}
        if self.few is not None and self.few.vectors is not None:
            similarities = vectors.nearest(self.few.vectors, vector, self.search.pool)
        similarities |= self._pending_similarities(vector)
        if self.search.include_archived and self.few is None:
            archived = self._vectors(self.memories.filter(archived_at__isnull=False))
            similarities |= vectors.nearest(archived.iterator(chunk_size=EXACT), vector, self.search.pool)
        return similarities

    def _confirm_enough(
        self, hits: list[Hit], from_database: dict[UUID, float], ids: Collection[StoredId], vector: Vectors
    ) -> Candidates:
        """Confirm the hits, and request more from the index while too few of them pass the filters."""
        limit, pool = self.limit, self.search.pool
        similarities = self._stored(hits)
        confirmed = self.confirmation.of(ids, similarities | self._stored(from_database.items()))
        passed = sum(map(confirmed.__contains__, similarities))
        while passed < min(len(hits), pool) and len(hits) >= limit and self.few is None:
            wanted = math.ceil(pool * limit / max(passed, 1) * _SPARE)
            if self.sampled_of and wanted * _SCANNED > self.sampled_of:
                self.few, self.sampled_of = _few(self), 0
                if self.few is not None:
                    return self._confirmed(self._nearest_of_few(self.few, vector)) | confirmed
            if limit == MAX_LIMIT:  # too few hits pass even with the maximum, so compare every vector
                every = self._vectors(self.memories).iterator(chunk_size=EXACT)
                return self._confirmed(vectors.nearest(every, vector, pool).items()) | confirmed
            limit = min(max(limit * 4, wanted), MAX_LIMIT)
            metrics.refills.inc()
            examined = {hit.digits for hit in hits}
            hits = self._ask_index(vector, limit)
            more = self._confirmed(hit for hit in hits if hit.digits not in examined)
            passed += len(more)
            confirmed |= more
        return confirmed

    def _confirmed(self, similarities: Iterable[tuple[UUID | str, float]]) -> Candidates:
        return self.confirmation.of((), self._stored(similarities))

    def _stored(self, similarities: Iterable[tuple[UUID | str, float]]) -> dict[StoredId, float]:
        stored = self.confirmation.selection.stored
        return {stored(id): similarity for id, similarity in similarities}

    def _nearest_of_few(self, few: Few, vector: Vectors) -> list[tuple[UUID | str, float]]:
        compared = vectors.nearest(few.vectors or (), vector, self.search.pool)
        return [*compared.items(), *self._nearest_of(few, vector)]

    def _embed_and_ask(self) -> tuple[Vectors | None, list[Hit]]:
        """Embed the query, and query the index with its vector."""
        with metrics.leg_seconds.labels(SEMANTIC).time(), tracing.span("search: meaning"):
            vector = self.search.vector
            if vector is None:
                vector = embeddings.of(self.generation).embed([self.query])[0]
            is_usable = usable(vector)
            hits = self._first_hits(vector) if is_usable else []
        metrics.candidates.labels(SEMANTIC).observe(len(hits))
        return (vector, hits) if is_usable else (None, [])

    def _first_hits(self, vector: Vectors) -> list[Hit]:
        return self._ask_index(vector, self.limit) if self.few is None else self._nearest_of(self.few, vector)

    def _nearest_of(self, few: Few, vector: Vectors) -> list[Hit]:
        """Return the nearest of the few memories, compared by the index. Empty if the index cannot compare them."""
        return self._compared(few.ids, vector, self.search.pool)

    def _compared(self, ids: Ids, vector: Vectors, limit: int) -> list[Hit]:
        engine = index.of(self.generation)
        if not len(ids) or not isinstance(engine, ComparesPoints):
            return []
        with _usable_index():
            return engine.nearest_of(self.caller.tenant.id, ids, vector, limit)

    def _ask_index(self, vector: Vectors, limit: int) -> list[Hit]:
        if self.among is not None:
            return self._compared(self.among, vector, limit)
        with _usable_index():
            return index.of(self.generation).search(
                self.caller.tenant.id,
                vector,
                Where(self.search.namespaces, self.search.narrowing.memory_type),
                limit,
                fresh=self.search.strong,
                hasty=self.search.mode == HYBRID,
            )

    def _vectors(self, memories: QuerySet[Memory]) -> QuerySet[Memory, tuple[UUID, Any]]:
        settled = Q(embeddings__indexed_version__isnull=False)
        if self.search.include_archived:  # archived memories are not in the index, but the database has their vectors
            settled |= Q(archived_at__isnull=False, embeddings__vector__isnull=False)
        return memories.filter(settled, embeddings__generation=self.generation).values_list("id", "embeddings__vector")

    def _with_embeddings(self) -> QuerySet[Memory]:
        rows = self.memories.filter(embeddings__generation=self.generation)
        return rows.annotate(own=F("embeddings__own"), vector=F("embeddings__vector"))

    def _pending_similarities(self, vector: Vectors) -> dict[UUID, float]:
        """Return the similarity of each memory that awaits indexing, embedding its text now if necessary."""
        if not self.pending:
            return {}
        if len(self.pending) > MAX_PENDING or fitting(row.size for row in self.pending) < len(self.pending):
            raise IndexUnavailable(
                "too many memories, or memories that are too large, are waiting to be indexed; retry later"
            )
        rows: list[Any] = large_rows.filled(self.pending, self._with_embeddings())
        similarities = vectors.similarities([(row.id, row.vector) for row in rows if row.own], vector)
        to_embed = [row for row in rows if not row.own]
        if to_embed:
            texts = [analyzer.embedding_text(payloads.text_of(row.payload), row.context) for row in to_embed]
            embedded = embeddings.of(self.generation).embed(texts)
            similarities |= {row.id: vectors.cosine(made, vector) for row, made in zip(to_embed, embedded, strict=True)}
        return similarities


@contextmanager
def _usable_index() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:  # for example, the index and the embedder have different dimensions
        log.error("the vector index cannot be used", extra={"reason": str(error)})
        raise IndexUnavailable("the vector index cannot be used; see the server log for the reason") from error


def start(caller: Caller, search: Search, stats: Stats, confirmation: Confirmation) -> SemanticLeg:
    """Prepare the semantic leg, and start its query if the index or the model is remote."""
    query = scoring.dense_query(search.query, stats)
    generation = generations.active()
    leg = SemanticLeg(caller, search, replace(confirmation, generation=generation), query, generation)
    # Pending memories are read before the index is queried, so that a memory that is indexed in the meantime appears in
    # both results instead of in neither.
    if search.strong:
        leg.pending = _pending(leg)
    leg.limit = _first_limit(search)
    if _is_listed(search) or search.include_archived or search.narrowing.filters is None:
        if not search.narrowing.index_can_apply_all:
            leg.few = _few(leg)
    elif confirmation.selection.fields:
        _use_fields(leg, stats.documents)
    elif stats.documents >= SAMPLED_FROM:
        leg.sampled_of, leg.limit = stats.documents, _first_limit(search, pools=_SAMPLE)
    else:
        leg.few = _few(leg)
    is_large = stats.documents >= SCANNED_ASIDE_FROM
    leg.start(is_slow=is_large and search.mode == HYBRID and leg.scans_files)
    return leg


def _use_fields(leg: SemanticLeg, documents: int) -> None:
    """Choose how to search with filters that the full-text index can apply.

    The full-text index finds the memories that may pass. All of them are compared if that is cheaper than requesting
    enough hits for enough of them to pass.
    """
    selection, pool = leg.confirmation.selection, leg.search.pool
    source = selection.connection, leg.caller.tenant, leg.search.namespaces, selection.fields
    most = max(EXACT + 1, documents // _COMMON)
    found = term_index.count(*source, most)
    wanted = math.ceil(pool * max(documents / max(found, 1), 1) * _SPARE)
    if not leg.reads_vectors and found < most and found <= min(_COMPARED_PER_HIT * wanted, _MAX_AMONG):
        leg.among = term_index.ids(*source, most)
        leg.sampled_of, leg.limit = found, min(math.ceil(pool * _SPARE), MAX_LIMIT)
    elif leg.reads_vectors and found <= max(EXACT, wanted):  # comparing a memory costs as much as examining a hit
        leg.few = _few(leg, most=max(EXACT, found))
    else:
        leg.sampled_of, leg.limit = found, min(max(wanted, leg.limit), MAX_LIMIT)


def _pending(leg: SemanticLeg) -> list[Memory]:
    """Return the memories that are not in the index yet, but no more than MAX_PENDING + 1 of them."""
    behind = Q(embeddings__indexed_version=None) | ~Q(embeddings__indexed_version=F("version"))
    rows = leg._with_embeddings().filter(behind, embeddings__due_at__isnull=False)
    return list(large_rows.outline(rows)[: MAX_PENDING + 1])


def _few(leg: SemanticLeg, most: int | None = None) -> Few | None:
    """Return all memories that pass the filters, or None if there are more than `most` (by default, EXACT)."""
    most = EXACT if most is None else most
    narrowing = leg.search.narrowing
    listed = narrowing.places.few if narrowing.places else None
    if listed is not None:
        memories = leg.memories.filter(listed)
        return Few(vectors=list(leg._vectors(memories))) if leg.reads_vectors else Few(_ids(memories))
    if narrowing == Narrowing(memory_type=narrowing.memory_type, places=narrowing.places):
        return None  # there are too many memories, or the index can apply all conditions
    if leg.reads_vectors:
        rows = list(leg._vectors(leg.memories)[: most + 1])
        return Few(vectors=rows) if len(rows) <= most else None
    selection, tenant, namespaces = leg.confirmation.selection, leg.caller.tenant, leg.search.namespaces
    source: tuple[str, Sequence[Any]] = ("sfm_memories", ())
    if selection.fields:
        source = term_index.matching(selection.connection, tenant, namespaces, selection.fields)
    found = selection.rows("sfm_memories.id", *source, f"LIMIT {most + 1}")
    return Few([id for (id,) in found]) if len(found) <= most else None


def _ids(memories: QuerySet[Memory]) -> list[UUID]:
    return list(memories.order_by().values_list("id", flat=True))


def _is_listed(search: Search) -> bool:
    places = search.narrowing.places
    return places is not None and places.few is not None


def _first_limit(search: Search, pools: int = 1) -> int:
    """Return how many hits to request so that enough of them are likely to be in the selected places.

    pools: how many pools of candidates these hits should fill.
    """
    places, pool = search.narrowing.places, min(search.pool * pools, MAX_LIMIT)
    if places is None or places.share * MAX_LIMIT <= pool or places.share >= 1:
        return pool
    return min(math.ceil(pool / places.share * _SPARE), MAX_LIMIT)

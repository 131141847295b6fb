"""The one search: two legs over the same memories, fused, confirmed by the database, explained.

1. *Lexical leg*: full text (`lexical`). *Semantic leg*: the query's vector against the index, which only proposes ids.
   They run side by side.
2. Every candidate of either leg gets both its scores: the vector of a memory that only words have found is in the
   database, its words too.
3. The database confirms every candidate, with all filters; if some fall out, the semantic leg is asked for more.
4. Fuse, sort, cut, and only then read the payloads of the page.

With an `expansion`, what lies near the best of them joins in between, is confirmed and scored like any other, and all
are fused once more.

When the filters leave few memories, the index is not asked at all: their vectors in the database answer exactly. So do
those of archived memories, which the index does not hold; unless they are asked for, no leg sees them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories import embeddings, index, payloads, read_counts, selectors
from memories.embeddings.base import Vectors
from memories.index import generations
from memories.index.base import MAX_LIMIT, Hit, Where, unit_vector, usable
from memories.models import Memory
from memories.search import analyzer, lexical, ranking
from memories.search.expansion import MAX_SEEDS, Expansion, Seed
from memories.search.ranking import Scores, Stats, Weights
from memories.selectors import Narrowing
from somamemory.db import replicas
from somamemory.errors import ConfigurationError, IndexUnavailable, InvalidInput, Unavailable
from somamemory.telemetry import metrics, tracing
from tenants.caller import Caller

log = logging.getLogger("soma.search")

# Candidates of each leg: 60 and 200 give the same recall@10 on LoCoMo, and 200 cost 4 ms more than 100. The scores do
# not depend on it, so pages within one step are cut from one order.
POOLS = (100, 400, 2_000, 11_000)
# With so few memories left by the filters, all their vectors are compared.
EXACT = 2_000
# The first question to the index allows for so much more to fall out than the share of `Places` says.
_SPARE = 1.5
# More memories than this waiting for the index: `consistency=strong` is refused rather than slow.
MAX_PENDING = 1_000
SEMANTIC_DEADLINE_S = 15.0
RECENCY_HALF_LIFE_S = 7 * 24 * 3600.0
HYBRID, SEMANTIC, KEYWORD = "hybrid", "semantic", "keyword"
GRAPH = "graph"

_legs = ThreadPoolExecutor(max_workers=16, thread_name_prefix="soma-semantic")


@dataclass(frozen=True)
class Search:
    query: str
    namespaces: tuple[str, ...] = ("default",)
    narrowing: Narrowing = field(default_factory=Narrowing)
    mode: str = HYBRID
    top_k: int = 5
    offset: int = 0
    min_score: float = 0.0
    strong: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)  # overrides of ranking.Weights
    explain: bool = False
    expansion: Expansion | None = None
    include_archived: bool = False
    shown: bool = True  # False: these are candidates, and have not been read by anybody yet
    stats: Stats | None = None  # of the search before, when it was for the same words in the same namespaces


@dataclass(frozen=True)
class Found:
    memory: Memory
    score: float
    scores: dict[str, float | None] | None


@dataclass(frozen=True)
class Results:
    found: Sequence[Found]
    degraded: list[str]
    took_ms: float
    total: int = 0  # how many were ranked, or hold a word of the query, whichever is more
    every_match: bool = True  # False: so many hold the words that not all were looked at
    stats: Stats | None = None


@dataclass
class _Candidate:
    """What ranking needs to know of one confirmed memory."""

    id: UUID
    coordinate_key: str
    terms: str
    importance: float
    created_at: datetime
    similarity: float | None = None  # None: the index has nothing of it yet
    graph: float = 0.0  # what an expansion has given it


_CANDIDATE = ("id", "coordinate_key", "terms", "importance", "created_at")


def search(caller: Caller, wanted: Search) -> Results:
    """The best memories for a query. Raises IndexUnavailable or EmbedderUnavailable in semantic mode only."""
    with replicas.from_primary() if wanted.strong else nullcontext():
        results = _search(caller, wanted)
    metrics.searches.labels(wanted.mode).inc()
    for leg in results.degraded:
        metrics.degraded.labels(leg).inc()
    return results


@replicas.may_read_replica
def _search(caller: Caller, wanted: Search) -> Results:
    started = time.perf_counter()
    asleep = Q() if wanted.include_archived else Q(archived_at=None)
    memories = wanted.narrowing.apply(selectors.live(caller, wanted.namespaces).filter(asleep))
    weights = _weights(wanted)
    every_term = analyzer.distinct_terms(wanted.query)
    terms = every_term[: analyzer.MAX_QUERY_TERMS]
    stats = wanted.stats or lexical.statistics(caller.tenant, wanted.namespaces, terms)
    pool = next((size for size in POOLS if wanted.offset + wanted.top_k <= size // 2), POOLS[-1])
    semantic = _SemanticLeg(caller, wanted, memories, stats, pool) if wanted.mode != KEYWORD else None
    matches: list[lexical.Match] = []
    degraded: list[str] = []
    matched, all_ranked = 0, True
    if wanted.mode != SEMANTIC:
        most = lexical.MAX_CANDIDATES if semantic else lexical.MAX_RANKED
        with metrics.leg_seconds.labels(KEYWORD).time(), tracing.span("search: words"):
            matches, all_ranked = lexical.matches(memories, wanted.namespaces, stats, caller.tenant, most)
        metrics.candidates.labels(KEYWORD).observe(len(matches))
        if len(every_term) > len(terms) or not (semantic or all_ranked):
            degraded.append(KEYWORD)
        matched = len(matches) if wanted.narrowing.ball is None and not wanted.min_score else 0
        if wanted.narrowing.ball is None:  # else what lies outside the ball falls out when it is confirmed
            matches = matches[:pool]
    found_by_words = {match.seq for match in matches}
    candidates: dict[UUID, _Candidate] = {}
    if semantic:
        try:
            candidates = semantic.candidates(found_by_words)
        except Unavailable:
            if wanted.mode == SEMANTIC:
                raise
            degraded.append(SEMANTIC)
            weights = replace(weights, semantic=0.0, keyword=weights.keyword or 1.0)
    if not semantic or SEMANTIC in degraded:
        candidates = _confirmed(memories, (), found_by_words, wanted.narrowing)
        semantic = None
    ranked = _ranked(candidates.values(), terms, stats, weights)
    if wanted.expansion:
        if not _expand(caller, wanted.expansion, wanted.narrowing, memories, ranked, candidates, semantic):
            degraded.append(GRAPH)
        weights = replace(weights, graph=wanted.expansion.weight)
        ranked = _ranked(candidates.values(), terms, stats, weights)
    good = [each for each in ranked if each[0] >= wanted.min_score]
    found = _page(memories, good, wanted)
    read_counts.count(each.memory for each in found if wanted.shown)
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return Results(found, degraded, took_ms, max(len(good), matched), all_ranked, stats)


class _SemanticLeg:
    """Begins to ask the index when it is made, so that the lexical leg runs meanwhile."""

    def __init__(self, caller: Caller, wanted: Search, memories: QuerySet[Memory], stats: Stats, pool: int) -> None:
        self.caller, self.wanted, self.memories, self.pool = caller, wanted, memories, pool
        self.generation = generations.active()
        self.query = ranking.dense_query(wanted.query, stats)
        self.where = Where(wanted.namespaces, wanted.narrowing.memory_type)
        # Read before the index is asked: what is settled in between is in both, and not in neither.
        self.pending = self._pending_rows() if wanted.strong else []
        self.few = None if wanted.narrowing.index_can_apply_all else self._few_vectors()
        self.limit = self._first_limit()
        self.asked: Future[tuple[Vectors | None, list[Hit]]] = _legs.submit(
            tracing.carried(self._embed_and_ask), self.limit if self.few is None else 0
        )
        self.vector: Vectors | None = None  # of the query, once `candidates` has it

    def candidates(self, also: set[int]) -> dict[UUID, _Candidate]:
        """Confirmed memories near the query, and those with a number in `also`, each with its similarity.

        Raises Unavailable.
        """
        try:
            vector, hits = self.asked.result(SEMANTIC_DEADLINE_S)
        except FutureTimeout:
            raise IndexUnavailable("the vector index did not answer in time") from None
        self.vector = vector
        if vector is None:  # no word of the query means anything to the model
            return _confirmed(self.memories, (), also, self.wanted.narrowing)
        similarities: dict[UUID, float] = {}
        if self.few is not None:
            similarities = self._nearest_of(self.few, vector)
        pending = self._pending_similarities(vector)
        if self.wanted.include_archived and self.few is None:
            pending |= self._nearest_of(self._archived_vectors(), vector)
        limit = self.limit
        while True:
            similarities |= {hit.id: hit.similarity for hit in hits}
            similarities |= pending
            confirmed = _confirmed(self.memories, similarities, also, self.wanted.narrowing)
            lost = len(hits) - sum(hit.id in confirmed for hit in hits)
            if not lost or len(hits) < limit or len(hits) - lost >= self.pool:
                break
            if limit == MAX_LIMIT:  # the filters leave too few of what the index proposes: look at every vector
                similarities |= self._nearest_of(self._all_vectors(), vector)
                confirmed = _confirmed(self.memories, similarities, also, self.wanted.narrowing)
                break
            limit = min(limit * 4, MAX_LIMIT)
            metrics.refills.inc()
            hits = self._ask(vector, limit)
        self.add_similarities(confirmed, similarities)
        return confirmed

    def _embed_and_ask(self, limit: int) -> tuple[Vectors | None, list[Hit]]:
        """Runs beside the lexical leg: no database here."""
        with metrics.leg_seconds.labels(SEMANTIC).time(), tracing.span("search: meaning"):
            vector, hits = self._embedded_and_asked(limit)
        metrics.candidates.labels(SEMANTIC).observe(len(hits))
        return vector, hits

    def _embedded_and_asked(self, limit: int) -> tuple[Vectors | None, list[Hit]]:
        vector = embeddings.of(self.generation).embed([self.query])[0]
        if not usable(vector):
            return None, []
        return vector, self._ask(vector, limit) if limit else []

    def _ask(self, vector: Vectors, limit: int) -> list[Hit]:
        try:
            return index.of(self.generation).search(
                self.caller.tenant.id,
                vector,
                self.where,
                limit,
                fresh=self.wanted.strong,
                hasty=self.wanted.mode == HYBRID,
            )
        except ConfigurationError as error:  # such as a folder that another process has open
            log.error("the vector index cannot be used", extra={"reason": str(error)})
            raise IndexUnavailable("the vector index cannot be used; the server's log says why") from error

    def _few_vectors(self) -> list[tuple[UUID, bytes]] | None:
        """The vectors of all memories that pass the filters, if those are few; else None."""
        narrowing = self.wanted.narrowing
        if narrowing.places is not None and narrowing.places.few is not None:
            return list(self._vectors(self.memories.filter(narrowing.places.few)))
        if narrowing == Narrowing(memory_type=narrowing.memory_type, places=narrowing.places):
            return None  # known to be many
        rows = list(self._vectors(self.memories)[: EXACT + 1])
        return rows if len(rows) <= EXACT else None

    def _first_limit(self) -> int:
        """How many hits to ask for, so that a pool of them lies in the right places."""
        places = self.wanted.narrowing.places
        if places is None or places.share * MAX_LIMIT <= self.pool:
            return self.pool
        return min(math.ceil(self.pool / places.share * _SPARE), MAX_LIMIT) if places.share < 1 else self.pool

    def _all_vectors(self) -> Iterable[tuple[UUID, bytes]]:
        return self._vectors(self.memories).iterator(chunk_size=EXACT)

    def _archived_vectors(self) -> Iterable[tuple[UUID, bytes]]:
        return self._vectors(self.memories.filter(archived_at__isnull=False)).iterator(chunk_size=EXACT)

    def _vectors(self, memories: QuerySet[Memory]) -> QuerySet[Memory, tuple[UUID, Any]]:
        settled = Q(embeddings__indexed_version__isnull=False)
        if self.wanted.include_archived:  # what the index does not hold has its vector all the same
            settled |= Q(archived_at__isnull=False, embeddings__vector__isnull=False)
        return memories.filter(settled, embeddings__generation=self.generation).values_list("id", "embeddings__vector")

    def _nearest_of(self, rows: Iterable[tuple[UUID, bytes]], vector: Vectors) -> dict[UUID, float]:
        """The `pool` nearest of these, exactly."""
        best: dict[UUID, float] = {}
        batch: list[tuple[UUID, bytes]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == EXACT:
                best = _top(best | _similarities(batch, vector), self.pool)
                batch = []
        return _top(best | _similarities(batch, vector), self.pool)

    def _pending_rows(self) -> list[Memory]:
        """The memories that the index has not caught up with: one more than MAX_PENDING at most."""
        behind = Q(embeddings__indexed_version=None) | ~Q(embeddings__indexed_version=F("version"))
        rows = self.memories.filter(behind, embeddings__generation=self.generation, embeddings__due_at__isnull=False)
        return list(rows.annotate(own=F("embeddings__own"), vector=F("embeddings__vector"))[: MAX_PENDING + 1])

    def _pending_similarities(self, vector: Vectors) -> dict[UUID, float]:
        """The similarity of each of them, embedded here and now."""
        rows: list[Any] = list(self.pending)
        if len(rows) > MAX_PENDING:
            raise IndexUnavailable(f"more than {MAX_PENDING} memories are not yet indexed; ask again a little later")
        own = [(row.id, row.vector) for row in rows if row.own]
        made = [row for row in rows if not row.own]
        found = _similarities(own, vector)
        if made:
            texts = [analyzer.embedding_text(payloads.text_of(row.payload), row.context) for row in made]
            rows_made = embeddings.of(self.generation).embed(texts)
            found |= {row.id: _cosine(made_vector, vector) for row, made_vector in zip(made, rows_made, strict=True)}
        return found

    def add_similarities(self, confirmed: dict[UUID, _Candidate], known: Mapping[UUID, float] | None = None) -> None:
        """Give each candidate its similarity; those that others have found have their vector in the database."""
        known = known or {}
        missing = [id for id in confirmed if id not in known]
        if missing and self.vector is not None:
            rows = self._vectors(Memory.objects.for_tenant(self.caller.tenant).filter(id__in=missing))
            known = {**known, **_similarities(list(rows), self.vector)}
        for id, candidate in confirmed.items():
            candidate.similarity = known.get(id)


def _expand(
    caller: Caller,
    expansion: Expansion,
    narrowing: Narrowing,
    memories: QuerySet[Memory],
    ranked: Sequence[tuple[float, _Candidate, Scores]],
    candidates: dict[UUID, _Candidate],
    semantic: _SemanticLeg | None,
) -> bool:
    """Let what lies near the best hits join the candidates; whether that was all of it."""
    best = {candidate.id: score for score, candidate, _ in ranked[:MAX_SEEDS]}
    addresses = memories.filter(id__in=list(best)).values_list("id", "namespace", "coordinate_key")
    reached = expansion.reach(caller, [Seed((place, key), best[id]) for id, place, key in addresses])
    by_namespace: dict[str, list[str]] = {}
    for namespace, key in reached.scores:
        by_namespace.setdefault(namespace, []).append(key)
    near = Q(pk__in=[])
    for namespace, keys in by_namespace.items():
        near |= Q(namespace=namespace, coordinate_key__in=keys)
    joined: dict[UUID, _Candidate] = {}
    for namespace, *row in memories.filter(near).values_list("namespace", *_CANDIDATE):
        candidate = candidates.get(row[0]) or _Candidate(*row)
        candidate.graph = reached.scores[namespace, candidate.coordinate_key]
        if candidate.id not in candidates and narrowing.in_ball(candidate.coordinate_key):
            joined[candidate.id] = candidate
    if semantic:
        semantic.add_similarities(joined)
    candidates.update(joined)
    return reached.complete


def _confirmed(
    memories: QuerySet[Memory], ids: Iterable[UUID], seqs: Iterable[int], narrowing: Narrowing
) -> dict[UUID, _Candidate]:
    """Those of `ids` and `seqs` that the database knows as the caller's own, alive, and passing every filter."""
    among = memories.filter(Q(id__in=list(ids)) | Q(seq__in=list(seqs)))
    rows = among.values_list(*_CANDIDATE)
    return {row[0]: _Candidate(*row) for row in rows if narrowing.in_ball(row[1])}


def _similarities(rows: Sequence[tuple[UUID, bytes]], vector: Vectors) -> dict[UUID, float]:
    """Cosine of each stored vector with `vector`."""
    filled = [(id, raw) for id, raw in rows if raw]
    if not filled:
        return {}
    matrix = np.frombuffer(b"".join(bytes(raw) for _, raw in filled), dtype="<f4").reshape(len(filled), -1)
    norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
    cosines = (
        matrix.astype(np.float64) @ unit_vector(vector, len(vector)).astype(np.float64) / np.maximum(norms, 1e-300)
    )
    return {id: float(min(1.0, max(-1.0, cosine))) for (id, _), cosine in zip(filled, cosines, strict=True)}


def _cosine(one: Vectors, other: Vectors) -> float:
    if not usable(one):
        return 0.0
    return float(unit_vector(one, len(one)) @ unit_vector(other, len(other)))


def _top(similarities: Mapping[UUID, float], count: int) -> dict[UUID, float]:
    return dict(sorted(similarities.items(), key=lambda item: (-item[1], item[0]))[:count])


def _weights(wanted: Search) -> Weights:
    given = dict(wanted.weights)
    for part, mode in (("keyword", SEMANTIC), ("semantic", KEYWORD)):
        if wanted.mode == mode and given.get(part):
            raise InvalidInput(f"weights.{part}", f"counts for nothing in the mode {mode}")
    if wanted.mode == SEMANTIC:
        given = {"semantic": 1.0, **given, "keyword": 0.0}
    elif wanted.mode == KEYWORD:
        given = {"keyword": 1.0, **given, "semantic": 0.0}
    try:
        return Weights(**given)
    except ValueError:
        raise InvalidInput("weights", f"at least one that counts in the mode {wanted.mode} must be above 0") from None


def _ranked(
    candidates: Iterable[_Candidate], terms: Sequence[str], stats: Stats, weights: Weights
) -> list[tuple[float, _Candidate, Scores]]:
    """Best first; equal scores in the order of their coordinates."""
    now = timezone.now()
    term_weights = ranking.term_weights(terms, stats)
    ranked = []
    for candidate in candidates:
        scores = Scores(
            semantic=ranking.semantic(candidate.similarity or 0.0),
            keyword=ranking.keyword(ranking.bm25(candidate.terms, term_weights, stats.average_length), term_weights),
            recency=ranking.recency((now - candidate.created_at).total_seconds(), RECENCY_HALF_LIFE_S),
            importance=ranking.importance(candidate.importance),
            graph=candidate.graph,
        )
        score = _fused(candidate, scores, weights)
        if score > 0:
            ranked.append((score, candidate, scores))
    ranked.sort(key=lambda item: (-item[0], item[1].coordinate_key, item[1].id))
    return ranked


def _fused(candidate: _Candidate, scores: Scores, weights: Weights) -> float:
    """A memory that is not indexed yet is judged by what is known of it."""
    if candidate.similarity is None and weights.semantic:
        if weights.keyword:
            weights = replace(weights, semantic=0.0)
        elif not scores.graph:
            return 0.0
    return ranking.fuse(scores, weights)


def _page(
    memories: QuerySet[Memory], ranked: Sequence[tuple[float, _Candidate, Scores]], wanted: Search
) -> list[Found]:
    """The memories of the page; one that has vanished since it was confirmed gives its place to the next."""
    found: list[Found] = []
    at = wanted.offset
    while len(found) < wanted.top_k and at < len(ranked):
        part = ranked[at : at + wanted.top_k - len(found)]
        at += len(part)
        rows = {row.id: row for row in memories.filter(id__in=[candidate.id for _, candidate, _ in part])}
        found += [
            Found(rows[candidate.id], round(score, 6), _explained(candidate, scores, wanted))
            for score, candidate, scores in part
            if candidate.id in rows
        ]
    return found


def _explained(candidate: _Candidate, scores: Scores, wanted: Search) -> dict[str, float | None] | None:
    if not wanted.explain:
        return None
    explained = {
        "semantic": None if candidate.similarity is None else round(scores.semantic, 6),
        "keyword": round(scores.keyword, 6),
        "recency": round(scores.recency, 6),
        "importance": round(scores.importance, 6),
    }
    return {**explained, GRAPH: round(scores.graph, 6)} if wanted.expansion else explained

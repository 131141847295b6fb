"""Search memories as they were at an earlier time.

Memories that have not changed since that time are searched as usual. The earlier versions of changed memories are not
indexed: they are read from the history, embedded, and ranked with the same formulas. Scores use the current term
statistics.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from memories import embeddings, payloads, point_in_time
from memories.index import generations
from memories.index.base import usable
from memories.models import Memory
from memories.namespaces import below
from memories.point_in_time import Arms
from memories.search import analyzer, hybrid, relevance, scoring, term_marks, vectors
from memories.search.candidates import Candidate
from memories.search.page import explained
from memories.search.query import KEYWORD, SEMANTIC, Results, Search, SearchHit
from memories.search.ranking import Ranked, Ranking
from memories.search.relevance import Signals
from memories.search.scoring import Stats, Weights
from memories.search.selection import as_uuid
from somamemory.db import replicas
from somamemory.errors import RowBudgetExceeded, Unavailable
from tenants.caller import Caller

MAX_CHANGED = 20_000  # the maximum number of changed memories, whose earlier versions are ranked one by one
MAX_EMBEDDED = 1_000  # the maximum number of earlier versions to embed: those whose terms match best
_COLUMNS = ("id", "namespace", "coordinate_key", "importance", "created_at", "terms")


def search(caller: Caller, query: Search) -> Results:
    """Return the best memories for a query, as they were at `query.as_of` or, without it, as they are now.

    Raises HistoryGone if `as_of` is before the tenant's history begins, RowBudgetExceeded if too many memories have
    changed since then, and IndexUnavailable or EmbedderUnavailable in semantic mode.
    """
    if query.as_of is None:
        return hybrid.search(caller, query)
    point_in_time.check(caller.tenant, query.as_of)
    with replicas.from_primary() if query.strong else nullcontext():
        return _search(caller, replace(query, valid_at=query.valid_at or query.as_of), query.as_of)


@replicas.may_read_replica
def _search(caller: Caller, query: Search, moment: datetime) -> Results:
    started = time.perf_counter()
    if query.namespace_prefix is not None:
        query = replace(query, namespaces=below(caller, query.namespace_prefix), namespace_prefix=None)
    unchanged = Q(updated_at__lte=moment) & (query.narrowing.also or Q())
    narrowing = replace(query.narrowing, also=unchanged)
    # Neighbour evidence is not used, because the memories next to a hit may have changed since that time. The hits are
    # only ranked (`top_k=0`), because those on the page are read together with the earlier versions.
    everything = replace(
        query,
        narrowing=narrowing,
        offset=query.offset + query.top_k,
        top_k=0,
        min_relevance=0.0,
        neighbours=False,
    )
    present = hybrid.search(caller, everything)
    earlier, signals, degraded, ranking = _changed(caller, query, moment, present)
    known = {_id(hit) for hit in earlier}  # a memory is in both if it changed between the two searches
    found = [*earlier, *(hit for hit in present.ranked if _id(hit) not in known)]
    rounded = (Ranked(round(hit.score, 6), hit.candidate) for hit in found)
    merged = sorted(rounded, key=lambda hit: (-hit.score, hit.candidate.coordinate_key, _id(hit)))
    signals = signals.combined(present.signals)
    best = merged[0].score if merged else 0.0
    merged = [hit for hit in merged if signals.relevance(hit.score, best) >= query.min_relevance]
    part = merged[query.offset : query.offset + query.top_k]
    read = (
        point_in_time.in_order(caller, _arms(caller, query, moment), "id", [_id(hit) for hit in part]) if part else []
    )
    page = [
        SearchHit(memory, hit.score, explained(hit, ranking, query), signals.relevance(hit.score, best))
        for hit, memory in zip(part, read, strict=False)  # the other hits do not fit in the response
        if memory is not None  # otherwise, it has been purged in the meantime
    ]
    next_offset = query.offset + len(read) if len(read) < len(part) else None
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return Results(page, degraded, took_ms, len(merged), present.every_match, present.stats, signals, next_offset)


def _changed(
    caller: Caller, query: Search, moment: datetime, present: Results
) -> tuple[list[Ranked], Signals, list[str], Ranking]:
    """Rank the versions that were current at that time but no longer are.

    Returns them with their signals, the degraded legs, and the ranking.
    """
    stats = present.stats or Stats(0, 0.0, {})
    query = hybrid.as_searched(query, stats.corrections)
    term_weights = scoring.term_weights(list(stats.frequency), stats)
    current, earlier = _arms(caller, query, moment)
    # Of the current rows, rank only those that have expired since, because `hybrid` ranks the others.
    arms = current.filter(expires_at__lte=timezone.now()), earlier
    candidates = _candidates(arms, query, term_weights, stats)
    degraded = list(present.degraded)
    if query.mode != KEYWORD and SEMANTIC not in degraded:
        degraded += _add_similarities(caller, query, arms, candidates, stats)
    wording = query.wording(list(term_weights))
    ranking = Ranking.of(_weights(query, degraded), term_weights, timezone.now(), wording)
    ranked = ranking.rank(candidates)
    signals = relevance.signals(query.query, (hit.candidate for hit in ranked), stats)
    return [hit for hit in ranked if hit.score >= query.min_score], signals, degraded, ranking


def _id(hit: Ranked) -> UUID:
    return as_uuid(hit.candidate.id)


def _arms(caller: Caller, query: Search, moment: datetime) -> Arms:
    """Return queries for the memories that the search can return, as they were at that time."""
    awake = Q() if query.include_archived else Q(archived_at=None)
    arms = point_in_time.at(caller, query.namespaces, moment, query.narrowing.of(caller))
    return point_in_time.filtered(arms, awake & query.validity)


def _candidates(arms: Arms, query: Search, term_weights: dict[str, float], stats: Stats) -> list[Candidate]:
    current, earlier = (rows.order_by().values_list(*_COLUMNS) for rows in arms)
    rows: Sequence[Any] = list(current.union(earlier, all=True)[: MAX_CHANGED + 1])
    if len(rows) > MAX_CHANGED:
        raise RowBudgetExceeded(
            f"more than {MAX_CHANGED:,} memories have changed since as_of; use narrower filters or a prefix"
        )
    matched = scoring.evidence([row[5] for row in rows], term_weights, stats.average_length)
    scores = scoring.weighted(matched, term_weights).tolist()
    return [
        Candidate(
            id, namespace, key, importance, created_at.isoformat(), bm25, None, mark=term_marks.read(terms), matched=own
        )
        for (id, namespace, key, importance, created_at, terms), bm25, own in zip(rows, scores, matched, strict=True)
        if query.narrowing.in_ball(key)
    ]


def _add_similarities(
    caller: Caller, query: Search, arms: Arms, candidates: list[Candidate], stats: Stats
) -> list[str]:
    """Embed the candidates whose terms match best, and set their similarities. Return the legs that are degraded."""
    best = sorted(candidates, key=lambda candidate: -candidate.bm25)[:MAX_EMBEDDED]
    memories = point_in_time.in_order(caller, arms, "id", [as_uuid(candidate.id) for candidate in best])
    texts = [(candidate, _text(memory)) for candidate, memory in zip(best, memories, strict=False) if memory]
    texts = [(candidate, text) for candidate, text in texts if text.strip()]
    dense = scoring.dense_query(query.query, stats)
    try:
        vector, *made = embeddings.of(generations.active()).embed([dense, *(text for _, text in texts)])
    except Unavailable:
        if query.mode == SEMANTIC:
            raise
        return [SEMANTIC]
    for (candidate, _), numbers in zip(texts, made, strict=True):
        candidate.similarity = vectors.cosine(numbers, vector) if usable(vector) else None
    return [SEMANTIC] if len(memories) < len(candidates) else []


def _text(memory: Memory) -> str:
    return analyzer.embedding_text(payloads.text_of(memory.payload), memory.context)


def _weights(query: Search, degraded: Sequence[str]) -> Weights:
    weights = query.effective_weights()
    if SEMANTIC in degraded and query.mode != SEMANTIC:
        return replace(weights, semantic=0.0, keyword=weights.keyword or 1.0)
    return weights

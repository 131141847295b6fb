"""The one search: a query becomes two legs, confirmed candidates, a ranking and a page.

1. *Query*: `query.Search`; the terms of the query and their statistics (`lexical.statistics`).
2. *Legs*, side by side: `semantic` asks the vector index, which only proposes ids; `lexical` asks full text.
3. *Confirm*: the database confirms every candidate, with all filters (`candidates`). Every candidate of either leg gets
   both its scores: the vector and the words of a memory that only the other leg proposed are in the database.
4. *Expand*, where asked for: memories near the best hits join, are confirmed and scored like any other.
5. *Rank*: fuse the scores and sort (`ranking`, by the formulas of `scoring`).
6. *Page*: cut, and only then read the payloads (`page`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from django.db.models import Q, QuerySet

from memories import read_counts, selectors
from memories.models import Memory
from memories.search import analyzer, lexical, semantic
from memories.search.candidates import Candidates, at_addresses, confirm
from memories.search.expansion import MAX_SEEDS, Expansion, Seed
from memories.search.page import page_of
from memories.search.query import GRAPH, HYBRID, KEYWORD, SEMANTIC, Results, Search, SearchHit
from memories.search.ranking import Ranked, rank
from memories.search.scoring import Stats, Weights
from memories.search.semantic import SemanticLeg
from somamemory.db import replicas
from somamemory.errors import Unavailable
from somamemory.telemetry import metrics, tracing
from tenants.caller import Caller

__all__ = ["GRAPH", "HYBRID", "KEYWORD", "SEMANTIC", "Results", "Search", "SearchHit", "search"]


@dataclass
class _Words:
    """The result of the lexical leg."""

    seqs: set[int] = field(default_factory=set)
    matched: int = 0  # how many memories contain a word of the query, as far as that is known
    complete: bool = True  # False: more memories contain the words than were looked at
    degraded: bool = False


def search(caller: Caller, query: Search) -> Results:
    """Return the best memories for a query. Raises IndexUnavailable or EmbedderUnavailable in semantic mode only."""
    with replicas.from_primary() if query.strong else nullcontext():
        results = _search(caller, query)
    metrics.searches.labels(query.mode).inc()
    for leg in results.degraded:
        metrics.degraded.labels(leg).inc()
    return results


@replicas.may_read_replica
def _search(caller: Caller, query: Search) -> Results:
    started = time.perf_counter()
    weights = query.effective_weights()
    awake = Q() if query.include_archived else Q(archived_at=None)
    memories = query.narrowing.apply(selectors.live(caller, query.namespaces).filter(awake))
    terms, all_terms = analyzer.query_terms(query.query)
    stats = query.stats or lexical.statistics(caller.tenant, query.namespaces, terms)

    leg = semantic.start(caller, query, memories, stats) if query.mode != KEYWORD else None
    words = _lexical_leg(caller, query, memories, stats, all_terms=all_terms)
    degraded = [KEYWORD] if words.degraded else []
    candidates, leg, weights = _confirm(query, memories, leg, words, weights)
    if query.mode != KEYWORD and leg is None:
        degraded.append(SEMANTIC)
    ranked = rank(candidates.values(), terms, stats, weights)
    if query.expansion:
        if not _expand(caller, query, query.expansion, memories, ranked, candidates, leg):
            degraded.append(GRAPH)
        weights = replace(weights, graph=query.expansion.weight)
        ranked = rank(candidates.values(), terms, stats, weights)

    good = [hit for hit in ranked if hit.score >= query.min_score]
    page = page_of(memories, good, query)
    read_counts.count(hit.memory for hit in page if query.shown)
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return Results(page, degraded, took_ms, max(len(good), words.matched), words.complete, stats)


def _lexical_leg(caller: Caller, query: Search, memories: QuerySet[Memory], stats: Stats, *, all_terms: bool) -> _Words:
    """Run the lexical leg. all_terms: `stats` holds every term of the query."""
    if query.mode == SEMANTIC:
        return _Words()
    alone = query.mode == KEYWORD
    most = lexical.MAX_RANKED if alone else lexical.MAX_CANDIDATES
    with metrics.leg_seconds.labels(KEYWORD).time(), tracing.span("search: words"):
        matches, complete = lexical.matches(memories, query.namespaces, stats, caller.tenant, most)
    metrics.candidates.labels(KEYWORD).observe(len(matches))
    in_ball_only = query.narrowing.ball is not None  # what lies outside falls out when it is confirmed
    matched = 0 if in_ball_only or query.min_score else len(matches)
    if not in_ball_only:
        matches = matches[: query.pool]
    return _Words({match.seq for match in matches}, matched, complete, not all_terms or (alone and not complete))


def _confirm(
    query: Search, memories: QuerySet[Memory], leg: SemanticLeg | None, words: _Words, weights: Weights
) -> tuple[Candidates, SemanticLeg | None, Weights]:
    """Confirm the candidates of both legs; if the semantic leg fails, use the lexical leg alone."""
    if leg is not None:
        try:
            return leg.candidates(words.seqs), leg, weights
        except Unavailable:
            if query.mode == SEMANTIC:
                raise
            weights = replace(weights, semantic=0.0, keyword=weights.keyword or 1.0)
    return confirm(memories, (), words.seqs, query.narrowing), None, weights


def _expand(
    caller: Caller,
    query: Search,
    expansion: Expansion,
    memories: QuerySet[Memory],
    ranked: Sequence[Ranked],
    candidates: Candidates,
    leg: SemanticLeg | None,
) -> bool:
    """Add memories related to the best hits to the candidates; return whether all of them were added."""
    best = {hit.candidate.id: hit.score for hit in ranked[:MAX_SEEDS]}
    addresses = memories.filter(id__in=list(best)).values_list("id", "namespace", "coordinate_key")
    reached = expansion.reach(caller, [Seed((namespace, key), best[id]) for id, namespace, key in addresses])
    joined: Candidates = {}
    for address, candidate in at_addresses(memories, reached.scores, query.narrowing):
        if candidate.id not in candidates:
            joined[candidate.id] = candidate
        candidates.get(candidate.id, candidate).graph = reached.scores[address]
    if leg is not None:
        leg.add_similarities(joined)
    candidates.update(joined)
    return reached.complete

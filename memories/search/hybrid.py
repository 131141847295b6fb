"""The search pipeline: from a query through two legs and confirmed candidates to a ranking and a page.

1. *Query*: prepare `query.Search`, the terms of the query and their statistics (`lexical.statistics`).
2. *Legs*: run two searches in parallel. `semantic` queries the vector index, which proposes ids; `lexical` queries the
   full-text index.
3. *Confirm*: check every candidate in the database, with all filters (`candidates`). A candidate gets both scores even
   if only one leg proposed it, because its vector and its terms are in the database.
4. *Expand* (on request): add memories related to the best hits, and confirm and score them like any other candidate.
5. *Rank*: combine the scores and sort (`ranking`, with the formulas in `scoring`).
6. *Page*: select one page, and only then read the payloads (`page`).
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
    matched: int = 0  # number of memories that contain a term of the query, as far as it is known
    complete: bool = True  # False if more memories contain the terms than were read
    degraded: bool = False


def search(caller: Caller, query: Search) -> Results:
    """Return the best memories for a query.

    Raises IndexUnavailable or EmbedderUnavailable, but only in semantic mode.
    """
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
    query = replace(query, narrowing=query.narrowing.of(caller))
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
    page, next_offset = page_of(memories, good, query)
    read_counts.count(hit.memory for hit in page if query.shown)
    took_ms = round((time.perf_counter() - started) * 1000, 2)
    return Results(page, degraded, took_ms, max(len(good), words.matched), words.complete, stats, next_offset)


def _lexical_leg(caller: Caller, query: Search, memories: QuerySet[Memory], stats: Stats, *, all_terms: bool) -> _Words:
    """Run the lexical leg. `all_terms`: whether `stats` includes every term of the query."""
    if query.mode == SEMANTIC:
        return _Words()
    alone = query.mode == KEYWORD
    most = lexical.MAX_RANKED if alone else lexical.MAX_CANDIDATES
    with metrics.leg_seconds.labels(KEYWORD).time(), tracing.span("search: words"):
        matches, complete = lexical.matches(memories, query.namespaces, stats, caller.tenant, most)
    metrics.candidates.labels(KEYWORD).observe(len(matches))
    # memories outside the ball are removed when candidates are confirmed
    in_ball_only = query.narrowing.ball is not None
    matched = 0 if in_ball_only or query.min_score else len(matches)
    if not in_ball_only:
        matches = matches[: query.pool]
    return _Words({match.seq for match in matches}, matched, complete, not all_terms or (alone and not complete))


def _confirm(
    query: Search, memories: QuerySet[Memory], leg: SemanticLeg | None, words: _Words, weights: Weights
) -> tuple[Candidates, SemanticLeg | None, Weights]:
    """Confirm the candidates of both legs. If the semantic leg fails, use only the lexical leg."""
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
    """Add memories related to the best hits to the candidates, and return whether all of them were added."""
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

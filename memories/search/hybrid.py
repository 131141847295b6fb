"""The search pipeline, from a query to a page of results.

1. *Query*: prepare `query.Search`, the terms of the query and their statistics (`statistics`).
2. *Legs*: run two searches, in parallel if the first one is remote or slow. `semantic` queries the vector index,
   which returns ids; `lexical` queries the full-text index.
3. *Confirm*: check every candidate in the database, with all filters (`candidates`). A candidate gets both scores even
   if only one leg found it, because its vector and its terms are in the database.
4. *Neighbours*: add the memories adjacent to the best hits, which are evidence for each other (`neighbours`).
5. *Expand* (on request): add memories related to the best hits, and confirm and score them like any other candidate.
6. *Rank*: combine the scores and sort (`ranking`, with the formulas in `scoring`), and estimate the relevance of the
   hits (`relevance`).
7. *Page*: select one page, and only then read the payloads (`page`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from django.utils import timezone

from memories import read_counts
from memories.namespaces import below
from memories.search import (
    analyzer,
    dates,
    lexical,
    neighbours,
    phrases,
    relevance,
    scoring,
    semantic,
    slow_searches,
    spelling,
)
from memories.search.candidates import Candidates, Confirmation, ids_at
from memories.search.expansion import MAX_SEEDS, Expansion, Seed
from memories.search.page import page_of
from memories.search.query import GRAPH, HYBRID, KEYWORD, SEMANTIC, Results, Search, SearchHit
from memories.search.ranking import Ranked, Ranking
from memories.search.relevance import Signals
from memories.search.scoring import Stats, Weights
from memories.search.selection import Selection, StoredId
from memories.search.semantic import SemanticLeg
from memories.search.slow_searches import Stopwatch
from memories.search.statistics import statistics
from memories.search.wording import outside_questions
from somamemory.db import replicas
from somamemory.errors import Unavailable
from somamemory.telemetry import metrics, tracing
from tenants.caller import Caller

__all__ = ["GRAPH", "HYBRID", "KEYWORD", "SEMANTIC", "Results", "Search", "SearchHit", "search"]


@dataclass
class _Words:
    """The result of the keyword leg."""

    ids: Sequence[StoredId] = ()
    matched: int = 0  # the number of memories that were ranked by their terms
    complete: bool = True  # False if memories that were not ranked might have ranked high
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


def as_searched(query: Search, corrections: Mapping[str, str]) -> Search:
    """Return the query without phrases that only address the assistant, and with its spelling corrected.

    Keyword mode is literal.
    """
    if query.mode == KEYWORD:
        return query
    return replace(query, query=spelling.corrected(phrases.stripped(query.query), corrections))


@replicas.may_read_replica
def _search(caller: Caller, query: Search) -> Results:
    watch = Stopwatch()
    names = query.namespaces if query.namespace_prefix is None else below(caller, query.namespace_prefix)
    query = replace(query, namespaces=names, narrowing=query.narrowing.of(caller))
    selection = Selection.for_search(caller, query)
    query = as_searched(query, {})
    words, all_words = analyzer.query_terms(query.query)
    stats = query.stats or _with_corrections(caller, query, _statistics(caller, query, words))
    query = as_searched(query, stats.corrections) if stats.corrections else query
    terms = list(stats.frequency)
    term_weights = scoring.term_weights(terms, stats)
    confirmation = Confirmation(selection, query.narrowing, term_weights, stats.average_length)
    watch.step("statistics")

    leg = semantic.start(caller, query, stats, confirmation) if query.mode != KEYWORD else None
    matches = _lexical_leg(caller, query, selection, stats, all_terms=all_words)
    watch.step("words")
    degraded = [KEYWORD] if matches.degraded else []
    candidates, leg, weights = _confirm(query, confirmation, leg, matches, query.effective_weights())
    watch.step("candidates")
    if query.mode != KEYWORD and leg is None:
        degraded.append(SEMANTIC)
    ranking = Ranking.of(weights, term_weights, timezone.now(), query.wording(terms))
    uses_neighbours = query.mode == HYBRID and query.neighbours and weights.keyword
    ranked = ranking.rank(candidates.values(), neighbours.BEST if leg and uses_neighbours else None)
    watch.step("ranking")
    if leg and uses_neighbours:
        neighbours.add(query, leg, ranked, candidates)
        ranked = ranking.rank(candidates.values())
        watch.step("neighbours")
    if query.expansion:
        confirmation = leg.confirmation if leg else confirmation
        if not _expand(caller, query.expansion, confirmation, ranked, candidates, leg):
            degraded.append(GRAPH)
        ranking = replace(ranking, weights=replace(weights, graph=query.expansion.weight))
        ranked = ranking.rank(candidates.values())
        watch.step("expansion")

    best = (hit.candidate for hit in ranked)
    signals = relevance.signals(query.query, best, stats)
    good = _good(ranked, query, signals)
    page, next_offset = page_of(selection, ranking, good, query, signals)
    read_counts.count(hit.memory for hit in page if query.shown)
    watch.step("page")
    matched = max(len(good), matches.matched)
    sizes = {"words": len(terms), "matched": matched, "candidates": len(candidates)}
    slow_searches.record(caller, query, watch, **sizes, degraded=degraded)
    return Results(page, degraded, watch.took_ms, matched, matches.complete, stats, signals, next_offset, good)


def _statistics(caller: Caller, query: Search, words: Sequence[str]) -> Stats:
    """Return the statistics on the words of the query and, in hybrid mode, on the dates in it.

    A date that no memory has is left out. For other dates, the numbers in them and words such as "yesterday" are left
    out instead. A day counts at least as much as the day after it, even if more memories have it, unless the query
    states both days.
    """
    today = (query.as_of or timezone.now()).date()
    in_query = dates.of_query(query.query, today) if query.mode == HYBRID else []
    named = [term for date in in_query for term in date.terms]
    stats = statistics(caller.tenant, query.namespaces, list(dict.fromkeys([*words, *named])))
    frequency = dict(stats.frequency)
    days = {date.day for date in in_query}
    wanted, stated = set(words), set[str]()
    for date in in_query:
        if frequency[date.period]:
            wanted.update(term for term in date.terms if frequency[term])
            stated.update(term for term in analyzer.terms(date.text) if date.relative or term[0].isdigit())
        if date.day and date.next_day not in days:
            frequency[date.next_day] = max(frequency[date.next_day], frequency[date.day])
    # The year in "the budget for 2026" remains a word if texts contain it, because it may not be the date of a memory.
    stated -= {word for word in words if frequency[word] and dates.SIGN + word in frequency}
    minor = outside_questions(query.query) if query.mode != KEYWORD else frozenset()
    if minor:
        minor -= relevance.names(query.query)
    return replace(
        stats, frequency={term: frequency[term] for term in frequency if term in wanted - stated}, minor=minor
    )


def _with_corrections(caller: Caller, query: Search, stats: Stats) -> Stats:
    """If the query contains misspelled words, return the statistics for the corrected query. Keyword mode is literal.

    stats: the statistics for the query as it is.
    """

    def count(terms: Sequence[str]) -> Mapping[str, int]:
        return statistics(caller.tenant, query.namespaces, terms).frequency

    if query.mode == KEYWORD:
        return stats
    found = spelling.corrections(query.query, stats.frequency, count, len(query.namespaces))
    if not found:
        return stats
    text = spelling.corrected(query.query, found)
    corrected = _statistics(caller, replace(query, query=text), analyzer.query_terms(text)[0])
    names = relevance.names(query.query)
    of_names = (correct for wrong, correct in found.items() if not names.isdisjoint(analyzer.terms(wrong)))
    return replace(corrected, corrections=found, uncertain=frozenset(analyzer.terms(" ".join(of_names))))


def _good(ranked: list[Ranked], query: Search, signals: Signals) -> list[Ranked]:
    """Return the hits that reach the query's minimum score and relevance."""
    if not query.min_score and not query.min_relevance:
        return ranked
    best = ranked[0].score if ranked else 0.0
    return [
        hit
        for hit in ranked
        if hit.score >= query.min_score and signals.relevance(hit.score, best) >= query.min_relevance
    ]


def _lexical_leg(caller: Caller, query: Search, selection: Selection, stats: Stats, *, all_terms: bool) -> _Words:
    """Run the keyword leg.

    all_terms: whether `stats` includes every term of the query. If not, the leg is degraded.
    """
    if query.mode == SEMANTIC:
        return _Words()
    alone = query.mode == KEYWORD
    few, most = lexical.FEW, lexical.MAX_CANDIDATES
    if alone:
        few = most = lexical.MAX_RANKED
    with metrics.leg_seconds.labels(KEYWORD).time(), tracing.span("search: words"):
        # With a ball, keep all matches, because matches outside the ball are removed only during confirmation.
        in_ball_only = query.narrowing.ball is not None
        best = None if in_ball_only else query.pool
        matches = lexical.matches(selection, query.namespaces, stats, caller.tenant, few, most, best=best)
    metrics.candidates.labels(KEYWORD).observe(matches.count)
    matched = 0 if in_ball_only or query.min_score or query.min_relevance else matches.count
    degraded = not all_terms or (alone and not matches.complete)
    return _Words([match.id for match in matches.ranked], matched, not matches.cut, degraded)


def _confirm(
    query: Search, confirmation: Confirmation, leg: SemanticLeg | None, words: _Words, weights: Weights
) -> tuple[Candidates, SemanticLeg | None, Weights]:
    """Confirm the candidates of both legs or, if the semantic leg fails, of the keyword leg alone.

    Returns the candidates, the semantic leg (None if it failed), and the weights to rank with.
    """
    if leg is not None:
        try:
            return leg.candidates(words.ids), leg, weights
        except Unavailable:
            if query.mode == SEMANTIC:
                raise
            weights = replace(weights, semantic=0.0, keyword=weights.keyword or 1.0)
    return confirmation.of(words.ids), None, weights


def _expand(
    caller: Caller,
    expansion: Expansion,
    confirmation: Confirmation,
    ranked: Sequence[Ranked],
    candidates: Candidates,
    leg: SemanticLeg | None,
) -> bool:
    """Add memories related to the best hits to the candidates, and return whether all of them were added."""
    reached = expansion.reach(caller, [Seed(hit.candidate.address, hit.score) for hit in ranked[:MAX_SEEDS]])
    related = set(map(confirmation.selection.stored, ids_at(confirmation.selection.memories, reached.scores)))
    joined = confirmation.of(related - candidates.keys())
    if leg is not None:
        leg.add_similarities(joined)
    candidates.update(joined)
    for id in related & candidates.keys():
        candidates[id].graph = reached.scores[candidates[id].address]
    return reached.complete

"""Score the candidates of both legs, and sort them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.utils import timezone

from memories.search import scoring
from memories.search.candidates import Candidate
from memories.search.scoring import Scores, Stats, Weights

RECENCY_HALF_LIFE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Ranked:
    score: float
    candidate: Candidate
    scores: Scores


def rank(candidates: Iterable[Candidate], terms: Sequence[str], stats: Stats, weights: Weights) -> list[Ranked]:
    """Return the candidates with their scores, best first. Equal scores are sorted by coordinate."""
    now = timezone.now()
    term_weights = scoring.term_weights(terms, stats)
    ranked = []
    for candidate in candidates:
        scores = Scores(
            semantic=scoring.semantic(candidate.similarity or 0.0),
            keyword=scoring.keyword(scoring.bm25(candidate.terms, term_weights, stats.average_length), term_weights),
            recency=scoring.recency((now - candidate.created_at).total_seconds(), RECENCY_HALF_LIFE_S),
            importance=scoring.importance(candidate.importance),
            graph=candidate.graph,
        )
        score = _fuse(candidate, scores, weights)
        if score > 0:
            ranked.append(Ranked(score, candidate, scores))
    ranked.sort(key=lambda hit: (-hit.score, hit.candidate.coordinate_key, hit.candidate.id))
    return ranked


def _fuse(candidate: Candidate, scores: Scores, weights: Weights) -> float:
    """Combine the scores. If a memory has not been indexed yet, only its other scores are used."""
    if candidate.similarity is None and weights.semantic:
        if weights.keyword:
            weights = replace(weights, semantic=0.0)
        elif not scores.graph:
            return 0.0
    return scoring.fuse(scores, weights)

"""Score the candidates of both legs, and sort them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memories.search import scoring
from memories.search.candidates import Candidate
from memories.search.scoring import Scores, Weights
from memories.search.wording import Wording

# The components of a score that only hybrid searches use.
IN_HYBRID = ("neighbours", "speaker", "question")
RECENCY_HALF_LIFE_S = 7 * 24 * 3600.0


class Ranked(NamedTuple):
    score: float
    candidate: Candidate


@dataclass(frozen=True)
class Ranking:
    """Ranks the candidates of one query.

    bound: the upper bound of the query's BM25 scores.
    wording: the wording of the query, or None to rank without it.
    """

    weights: Weights
    bound: float
    now: datetime
    wording: Wording | None = None

    @classmethod
    def of(
        cls, weights: Weights, term_weights: Mapping[str, float], now: datetime, wording: Wording | None = None
    ) -> Ranking:
        return cls(weights, math.fsum(term_weights.values()), now, wording)

    def rank(self, candidates: Iterable[Candidate]) -> list[Ranked]:
        """Return the candidates with their scores, best first. Equal scores are sorted by coordinate."""
        indexed: list[Candidate] = []
        others: list[Candidate] = []
        for candidate in candidates:
            (others if candidate.similarity is None else indexed).append(candidate)
        ranked = [*self._scored(indexed, self.weights), *self._scored(*self._without_similarity(others))]
        ranked.sort(key=lambda hit: (-hit.score, hit.candidate.coordinate_key, hit.candidate.id))
        return ranked

    def scores(self, candidate: Candidate) -> dict[str, float]:
        """Return the components of one candidate's score, by name."""
        parts = self._parts([candidate], with_recency=True)
        names = ("semantic", "keyword", "recency", "importance", "graph", *(IN_HYBRID if self.wording else ()))
        return {name: float(np.ravel(getattr(parts, name))[0]) for name in names}

    def _without_similarity(self, candidates: list[Candidate]) -> tuple[list[Candidate], Weights]:
        """Return the ranking for memories that have not been indexed yet, which uses only their other scores."""
        if not self.weights.semantic:
            return candidates, self.weights
        if self.weights.keyword:
            return candidates, replace(self.weights, semantic=0.0)
        return [candidate for candidate in candidates if candidate.graph], self.weights

    def _scored(self, candidates: Sequence[Candidate], weights: Weights) -> Iterable[Ranked]:
        if not candidates:
            return []
        parts = self._parts(candidates, with_recency=weights.recency > 0)
        fused = np.ravel(scoring.fuse(parts, weights)).tolist()
        return (Ranked(score, candidate) for score, candidate in zip(fused, candidates, strict=True) if score > 0)

    def _parts(self, candidates: Sequence[Candidate], *, with_recency: bool) -> Scores:
        wording, bound = self.wording, self.bound or math.inf
        parts = np.array([self._bounded(candidate, bound) for candidate in candidates])
        semantic, keyword, importance, graph, neighbours = _clipped(parts).T
        return Scores(
            semantic=semantic,
            keyword=keyword,
            recency=_clipped(np.array([self._recency(candidate) for candidate in candidates])) if with_recency else 0.0,
            importance=importance,
            graph=graph,
            neighbours=neighbours,
            speaker=np.array([wording.speaker(candidate.mark) for candidate in candidates]) if wording else 0.0,
            question=np.array([candidate.mark.questions for candidate in candidates]) if wording else 0.0,
        )

    @staticmethod
    def _bounded(candidate: Candidate, bound: float) -> tuple[float, ...]:
        """Return the components that are simple ratios, not yet clipped to [0, 1]."""
        similarity, importance = candidate.similarity or 0.0, candidate.importance / scoring.MAX_IMPORTANCE
        return similarity, candidate.bm25 / bound, importance, candidate.graph, candidate.neighbours / bound

    def _recency(self, candidate: Candidate) -> float:
        return scoring.recency((self.now - candidate.created_at).total_seconds(), RECENCY_HALF_LIFE_S)


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(np.maximum(values, 0.0), 1.0)

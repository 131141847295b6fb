"""Score the candidates of both legs, and sort them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memories.search import scoring, term_marks
from memories.search.candidates import Candidate
from memories.search.scoring import Floats, Scores, Weights
from memories.search.term_marks import Mark
from memories.search.wording import Wording

# The score components that only hybrid searches use.
IN_HYBRID = ("neighbours", "speaker", "question")
RECENCY_HALF_LIFE_S = 7 * 24 * 3600.0
_EVERY_COMPONENT = Weights(1.0, 1.0, 1.0, 1.0, 1.0)
_NOTHING: Floats = 0.0


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

    def rank(self, candidates: Iterable[Candidate], best: int | None = None) -> list[Ranked]:
        """Return the candidates with scores greater than 0, best first. Equal scores are sorted by coordinate.

        best: the maximum number of candidates to return.
        """
        every = list(candidates)
        others = [candidate for candidate in every if candidate.similarity is None]
        indexed = [candidate for candidate in every if candidate.similarity is not None] if others else every
        others, weights = self._without_similarity(others)
        scores = np.concatenate((self._scores(indexed, self.weights), self._scores(others, weights)))
        return _sorted(scores, [*indexed, *others], best)

    def scores(self, candidate: Candidate) -> dict[str, float]:
        """Return the components of one candidate's score, by name."""
        parts = self._parts([candidate], _EVERY_COMPONENT)
        names = ("semantic", "keyword", "recency", "importance", "graph", *(IN_HYBRID if self.wording else ()))
        return {name: float(np.ravel(getattr(parts, name))[0]) for name in names}

    def _without_similarity(self, candidates: list[Candidate]) -> tuple[list[Candidate], Weights]:
        """Return the candidates that have no similarity but can still be ranked, and the weights for ranking them.

        Memories that have not been indexed yet are ranked only by their other scores.
        """
        if not self.weights.semantic:
            return candidates, self.weights
        if self.weights.keyword:
            return candidates, replace(self.weights, semantic=0.0)
        return [candidate for candidate in candidates if candidate.graph], self.weights

    def _scores(self, candidates: Sequence[Candidate], weights: Weights) -> NDArray[np.float64]:
        if not candidates:
            return np.zeros(0)
        return np.zeros(len(candidates)) + scoring.fuse(self._parts(candidates, weights), weights)

    def _parts(self, candidates: Sequence[Candidate], weights: Weights) -> Scores:
        """Return the components of the candidates' scores. Components whose weight is 0 are not computed."""
        bound = self.bound or math.inf
        semantic = keyword = neighbours = recency = importance = graph = _NOTHING
        if weights.semantic:
            semantic = _clipped([candidate.similarity or 0.0 for candidate in candidates])
        if weights.keyword:
            keyword = _clipped([candidate.bm25 for candidate in candidates], bound)
            neighbours = _clipped([candidate.neighbours for candidate in candidates], bound)
        if weights.recency:
            recency = _clipped([self._recency(candidate) for candidate in candidates])
        if weights.importance:
            importance = _clipped([candidate.importance for candidate in candidates], scoring.MAX_IMPORTANCE)
        if weights.graph:
            graph = _clipped([candidate.graph for candidate in candidates])
        speaker, question = self._wording([candidate.mark for candidate in candidates])
        return Scores(semantic, keyword, recency, importance, graph, neighbours, speaker, question)

    def _wording(self, marks: Sequence[Mark]) -> tuple[Floats, Floats]:
        """Return each memory's contribution from its speakers, and the fraction of sentences that are questions."""
        wording = self.wording
        if wording is None or marks.count(term_marks.NONE) == len(marks):
            return _NOTHING, _NOTHING
        return np.array([wording.speaker(mark) for mark in marks]), np.array([mark.questions for mark in marks])

    def _recency(self, candidate: Candidate) -> float:
        return scoring.recency((self.now - candidate.created_at).total_seconds(), RECENCY_HALF_LIFE_S)


def _sorted(scores: NDArray[np.float64], candidates: Sequence[Candidate], best: int | None) -> list[Ranked]:
    order = np.argsort(-scores)[: np.count_nonzero(scores > 0)]
    in_order = scores[order]
    if (in_order[1:] == in_order[:-1]).any():
        ranked = [Ranked(score, candidates[at]) for score, at in zip(in_order.tolist(), order.tolist(), strict=True)]
        return sorted(ranked, key=lambda hit: (-hit.score, hit.candidate.coordinate_key, hit.candidate.id))[:best]
    best_first = zip(in_order[:best].tolist(), order[:best].tolist(), strict=True)
    return [Ranked(score, candidates[at]) for score, at in best_first]


def _clipped(values: Sequence[float], bound: float = 1.0) -> NDArray[np.float64]:
    """Return the values as fractions of the bound, in [0, 1]."""
    fractions: NDArray[np.float64] = np.minimum(np.maximum(np.array(values) / bound, 0.0), 1.0)
    return fractions

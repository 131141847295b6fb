"""Metrics for the evaluation (pure)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet


def recall(found: Sequence[str], evidence: AbstractSet[str]) -> float:
    """Return the fraction of the evidence that was found."""
    return len(set(found) & evidence) / len(evidence)


def ndcg(found: Sequence[str], evidence: AbstractSet[str], k: int = 10) -> float:
    """Return the normalised discounted cumulative gain of the first `k` hits, with the same gain for each relevant hit.

    See Järvelin and Kekäläinen, TOIS 2002.
    """
    gain = math.fsum(1 / math.log2(rank + 2) for rank, id in enumerate(found[:k]) if id in evidence)
    return gain / math.fsum(1 / math.log2(rank + 2) for rank in range(min(len(evidence), k)))


def within(found: Sequence[str], tokens: Sequence[int], budget: int) -> list[str]:
    """Return the best hits, in order, that together fit the budget. Hits that do not fit are skipped."""
    kept, used = [], 0
    for id, size in zip(found, tokens, strict=True):
        if used + size <= budget:
            kept.append(id)
            used += size
    return kept


def precision(answered: float, silent: float) -> float:
    """Return the fraction of answered questions that are answerable, if half of all questions are answerable.

    answered: the fraction of answerable questions that get an answer.
    silent: the fraction of unanswerable questions that get no answer.
    """
    return answered / (answered + 1 - silent) if answered + 1 - silent > 0 else 0.0


def mean(values: Iterable[float]) -> float:
    """Return the mean, or NaN if there are no values."""
    values = list(values)
    return statistics.fmean(values) if values else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which the fraction `share` of the values lies, or NaN if there are no values."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else math.nan

"""Scores of a memory for a query: pure functions, every score in [0, 1], higher is better.

No score depends on the other candidates, so a page, a filter or a limit never moves a memory past another.
The numbers quoted are recall@10 on LoCoMo questions (Maharana et al., ACL 2024), with and without the previous turn
as context, bundled embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memories.search.analyzer import content_terms

# Anserini's defaults, made for short passages; on turns of a dialogue .01 better than Lucene's 1.2 and .75 without
# context, equal with it.
K1 = 0.9
B = 0.4

FREQUENT_SHARE = 0.25
FREQUENT_FLOOR = 10

MAX_IMPORTANCE = 10.0


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics that BM25 needs, of the tenant's memories in the namespaces searched only.

    `average_length` is in terms per memory; `frequency` is the number of the `documents` memories that contain a term,
    for the terms of the query. Counts may be estimates.
    """

    documents: int
    average_length: float
    frequency: Mapping[str, int]

    def only(self, term: str) -> Stats:
        return replace(self, frequency={term: self.frequency[term]})


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each part in the fused score; only their proportion matters.

    The defaults lie in the middle of a plateau: semantic shares of .2 to .3 differ by less than .005, and .4 costs
    .01 with context.
    """

    semantic: float = 0.25
    keyword: float = 0.75
    recency: float = 0.0
    importance: float = 0.0
    graph: float = 0.0

    def __post_init__(self) -> None:
        values = (self.semantic, self.keyword, self.recency, self.importance, self.graph)
        if not all(weight >= 0 for weight in values) or not 0 < sum(values) < math.inf:
            raise ValueError("weights are finite numbers from 0, and one of them at least is above 0")


@dataclass(frozen=True, slots=True)
class Scores:
    """The parts of one memory's score, each in [0, 1]."""

    semantic: float = 0.0
    keyword: float = 0.0
    recency: float = 0.0
    importance: float = 0.0
    graph: float = 0.0  # from the best hits: see search.expansion


DEFAULT_WEIGHTS = Weights()


def idf(documents: int, frequency: int) -> float:
    """Inverse document frequency, above 0: ln(1 + (N - n + .5) / (n + .5)) (Robertson and Zaragoza 2009; Lucene)."""
    occurring = min(max(frequency, 0), documents)  # estimates may disagree
    return math.log1p((documents - occurring + 0.5) / (occurring + 0.5))


def term_weights(query: Sequence[str], stats: Stats) -> dict[str, float]:
    """Return the maximum that each term of the query can add to BM25: idf · (k1 + 1). Computed once per search."""
    return {term: idf(stats.documents, stats.frequency.get(term, 0)) * (K1 + 1) for term in query}


def bm25(terms: str, weights: Mapping[str, float], average_length: float) -> float:
    """BM25 of one memory, from its `terms` column and the `term_weights` of the query; in [0, sum of the weights).

    Σ weight · tf / (tf + k1 · (1 - b + b · length / average length)) (Robertson et al., Okapi at TREC-3, 1994).
    """
    words = terms.split()
    dampening = K1 * (1 - B + B * len(words) / max(average_length, 1.0))
    score = 0.0
    for term, weight in weights.items():
        # Counting a few terms in C is faster than a Counter over all; the substring test rules most of them out.
        if term in terms and (occurrences := words.count(term)):
            score += weight * occurrences / (occurrences + dampening)
    return score


def keyword(score: float, weights: Mapping[str, float]) -> float:
    """BM25 as a share of its upper bound for this query, in [0, 1].

    A query with few matching terms scores low everywhere, which leaves the order to the semantic part. Min-max or
    the best score of the pool instead of the bound change recall by less than .01, and depend on the pool.
    """
    bound = math.fsum(weights.values())
    return min(max(score / bound, 0.0), 1.0) if bound > 0 else 0.0


def semantic(similarity: float) -> float:
    """A cosine in [-1, 1] as a score in [0, 1]; a negative cosine counts as unrelated, 0."""
    return min(max(similarity, 0.0), 1.0)


def recency(age_s: float, half_life_s: float) -> float:
    """1 for now, ½ after a half-life, ¼ after two … ; a memory from the future scores 1."""
    if not half_life_s > 0:
        raise ValueError("a half-life is above 0")
    return math.exp2(-max(age_s, 0.0) / half_life_s)


def importance(value: float) -> float:
    """Importance, 0 to 10, as a score in [0, 1]."""
    return min(max(value / MAX_IMPORTANCE, 0.0), 1.0)


def fuse(scores: Scores, weights: Weights = DEFAULT_WEIGHTS) -> float:
    """The weighted mean of the parts, in [0, 1]. A part that could not be computed is left out by a weight of 0.

    A weighted sum beats reciprocal rank fusion where both scores are known (Bruch, Gai and Ingber, ACM TOIS 2023).
    """
    weighted = (
        weights.semantic * scores.semantic
        + weights.keyword * scores.keyword
        + weights.recency * scores.recency
        + weights.importance * scores.importance
        + weights.graph * scores.graph
    )
    together = weights.semantic + weights.keyword + weights.recency + weights.importance + weights.graph
    return min(weighted / together, 1.0)


def dense_query(query: str, stats: Stats) -> str:
    """The query to embed: without the words that occur in more than a quarter of the namespace's memories.

    A vector has no idf. A name that half of the memories carry, such as a speaker's, tells none of them apart, yet
    pulls the whole query towards it: leaving such words out takes semantic recall from .38 to .60 without context and
    from .45 to .64 with it, hybrid recall from .64 to .66 and from .74 to .76. Any share from .15 to .5 does; up to
    `FREQUENT_FLOOR` memories no word is frequent. Stop words stay, as they make the sentence; a query that would lose
    all its content is embedded as it is.
    """
    limit = max(stats.documents * FREQUENT_SHARE, FREQUENT_FLOOR)
    kept: list[str] = []
    has_content = False
    for word in query.split():
        word_terms = content_terms(word)
        rare = any(stats.frequency.get(term, 0) <= limit for term in word_terms)
        has_content = has_content or rare
        if rare or not word_terms:
            kept.append(word)
    return " ".join(kept) if has_content else query

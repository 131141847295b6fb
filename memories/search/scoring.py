"""Compute a memory's scores for a query. All functions are pure. Scores are in [0, 1]; higher is better.

A score never depends on the other candidates, so paging, filters and limits never change the order of two memories.
Unless stated otherwise, the figures quoted in this module are recall@10 on LoCoMo questions (Maharana et al., ACL 2024)
with the bundled embeddings, with or without the previous turn as context.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memories.search import dates, occurrences, term_marks
from memories.search.analyzer import content_terms
from memories.search.occurrences import Occurrences
from memories.search.wording import REQUESTS, questions

# k1 and b are Anserini's defaults, which were chosen for short passages. On dialogue turns without context, recall
# is 1 percentage point higher than with Lucene's 1.2 and 0.75; with context, it is equal.
K1 = 0.9
B = 0.4  # for memories of up to SHORT terms on average; see `length_normalisation`
SHORT, LONG = 25.0, 200.0

# The factors for a term that occurs only in the context: in general, and if the context asks a question.
CONTEXT, ANSWER = 0.4, 0.7

# The amount subtracted from the score of a memory that consists of questions, which rarely answer another question.
QUESTION = 0.08

# The factor for words outside the questions of a query that also contains statements. If the statements have nothing to
# do with the question, recall is much higher than with a factor of 1; if they have, it is hardly lower.
MINOR = 0.5

FREQUENT_SHARE = 0.25
FREQUENT_FLOOR = 10

MAX_IMPORTANCE = 10.0

Floats = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics that BM25 needs. They cover only the tenant's memories in the searched namespaces.

    documents: the number of memories.
    average_length: the average number of terms per memory.
    frequency: the number of memories that contain each term of the query.
    corrections: the corrected spelling of words in the query; see the module `spelling`.
    minor: the terms of the query that count less (`MINOR`), because they are not part of a question.
    uncertain: the terms of names whose spelling was corrected. They may be other people's names.

    All of these numbers can be estimates.
    """

    documents: int
    average_length: float
    frequency: Mapping[str, int]
    corrections: Mapping[str, str] = field(default_factory=dict)
    minor: frozenset[str] = frozenset()
    uncertain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each component of the combined score. Only their ratios matter.

    The defaults are in the middle of a plateau: semantic weights between 0.2 and 0.3 change recall by less than 0.5
    percentage points. With context, a semantic weight of 0.4 lowers recall by 1 percentage point.
    """

    semantic: float = 0.25
    keyword: float = 0.75
    recency: float = 0.0
    importance: float = 0.0
    graph: float = 0.0

    def __post_init__(self) -> None:
        values = (self.semantic, self.keyword, self.recency, self.importance, self.graph)
        if not all(weight >= 0 for weight in values) or not 0 < sum(values) < math.inf:
            raise ValueError("weights must be finite and not negative, and at least one must be greater than 0")


@dataclass(frozen=True, slots=True)
class Scores:
    """The components of a memory's score, each in [0, 1], or arrays with the components for several memories."""

    semantic: Floats = 0.0
    keyword: Floats = 0.0
    recency: Floats = 0.0
    importance: Floats = 0.0
    graph: Floats = 0.0  # derived from related hits; see search.expansion
    neighbours: Floats = 0.0  # added to `keyword`; see search.neighbours
    speaker: Floats = 0.0  # added to the weighted mean; see search.wording
    question: Floats = 0.0  # the proportion of sentences that are questions


DEFAULT_WEIGHTS = Weights()


def idf(documents: int, frequency: int) -> float:
    """Return the inverse document frequency, ln(1 + (N - n + .5) / (n + .5)), which is greater than 0.

    The formula is the same as in Lucene; see Robertson and Zaragoza 2009.
    """
    occurring = min(max(frequency, 0), documents)  # clipped, because estimates can be inconsistent
    return math.log1p((documents - occurring + 0.5) / (occurring + 0.5))


def term_weights(query: Sequence[str], stats: Stats) -> dict[str, float]:
    """Return the maximum contribution of each query term to BM25, idf · (k1 + 1), or half of it for a minor term."""
    return {
        term: idf(stats.documents, stats.frequency.get(term, 0)) * (K1 + 1) * (MINOR if term in stats.minor else 1)
        for term in query
    }


def length_share(average_length: float) -> float:
    """Return 0 for up to SHORT terms per memory on average, 1 for LONG or more, rising logarithmically in between."""
    return min(math.log(max(average_length, SHORT) / SHORT) / math.log(LONG / SHORT), 1.0)


def length_normalisation(average_length: float) -> float:
    """Return BM25's b for memories with this average number of terms.

    Among short memories, length hardly matters. A long memory contains many words by chance, so its length must be
    fully normalised: on long assistant replies (BEAM), recall@10 rises from 41 to 50% if b is 1 instead of 0.4.
    """
    return B + (1 - B) * length_share(average_length)


def bm25(terms: str, weights: Mapping[str, float], average_length: float) -> float:
    """Return the BM25 score of one memory; see `bm25_all`."""
    return bm25_all([terms], weights, average_length)[0]


def bm25_all(memories: Sequence[str], weights: Mapping[str, float], average_length: float) -> list[float]:
    """Return the BM25 score of each memory, from its `terms` column and the `term_weights` of the query.

    A score is in [0, sum of the weights).
    """
    matched = saturations(memories, list(weights), average_length)
    scores: list[float] = weighted(matched, weights).tolist()
    return scores


def weighted(matched: NDArray[np.float64], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the weighted sum of the saturations in each row."""
    # A matrix product is not used, because it would round equal rows differently depending on their position.
    scores: NDArray[np.float64] = (matched * np.fromiter(weights.values(), float, len(weights))).sum(axis=1)
    return scores


def saturations(memories: Sequence[str], query: Sequence[str], average_length: float) -> NDArray[np.float64]:
    """Return a matrix of how well each memory (row) matches each query term (column), in [0, 1).

    The formula is tf / (tf + k1 · (1 - b + b · length / average length)), see Robertson et al., Okapi at TREC-3, 1994.
    For a term that occurs only in the context, the value is multiplied by `CONTEXT` or `ANSWER`.
    """
    return _saturations(occurrences.count(memories, query), memories, query, average_length)


def evidence(memories: Sequence[str], weights: Mapping[str, float], average_length: float) -> NDArray[np.float64]:
    """Return the same as `saturations`, but averaged with the best passage of each long memory.

    Words that occur close together are more likely to answer a query than the same words scattered over a long text.
    Contexts have no passages.
    """
    query = list(weights)
    found = occurrences.count(memories, query, in_passages=True)
    if not found.long.any():
        return _saturations(found, memories, query, average_length)
    passages = found.passages / (found.passages + K1)
    order = np.lexsort((weighted(passages, weights), found.owners))
    best = order[np.flatnonzero(np.diff(found.owners[order], append=-1))]  # the last passage of each memory
    of_best = np.zeros(found.own.shape)
    of_best[found.owners[best]] = passages[best]
    return _saturations(found, memories, query, average_length, of_best)


def _saturations(
    found: Occurrences,
    memories: Sequence[str],
    query: Sequence[str],
    average_length: float,
    of_best: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the saturations of memories, averaged with those of the best passages if they are given."""
    b = length_normalisation(average_length)
    shortest, per_term = K1 * (1 - b), K1 * b / max(average_length, 1.0)
    own, context = found.own, found.context
    rows = np.flatnonzero(own.any(axis=1) | context.any(axis=1))
    dampening = (shortest + per_term * found.words[rows]).reshape(-1, 1)
    matched = np.zeros(own.shape)
    matched[rows] = own[rows] / (own[rows] + dampening)
    if of_best is not None:
        matched[found.long] = (matched[found.long] + of_best[found.long]) / 2
    if context.any():
        shares = np.array([_context_share(memories[row]) for row in rows.tolist()]).reshape(-1, 1)
        shares = np.where([dates.is_date(term) for term in query], 1.0, shares)  # dates are stored with the context
        in_context = context[rows] / (context[rows] + dampening)
        matched[rows] = np.maximum(matched[rows], shares * in_context)
    return matched


def _context_share(terms: str) -> float:
    return ANSWER if term_marks.read(terms).follows_question else CONTEXT


def keyword(score: float, weights: Mapping[str, float]) -> float:
    """Return a BM25 score as a fraction of its upper bound for this query, in [0, 1].

    If few query terms match, all scores are low, and the semantic component determines the ranking. Using min-max
    normalisation or the best candidate's score instead of the upper bound would change recall by less than 1 percentage
    point, and would make scores depend on the other candidates.
    """
    bound = math.fsum(weights.values())
    return min(max(score / bound, 0.0), 1.0) if bound > 0 else 0.0


def semantic(similarity: float) -> float:
    """Convert a cosine in [-1, 1] to a score in [0, 1]. A negative cosine (the texts are unrelated) gives 0."""
    return min(max(similarity, 0.0), 1.0)


def recency(age_s: float, half_life_s: float) -> float:
    """Return a score for a memory's age: 1 if it is 0 or less, 1/2 after one half-life, 1/4 after two, and so on."""
    if not half_life_s > 0:
        raise ValueError("the half-life must be greater than 0")
    return math.exp2(-max(age_s, 0.0) / half_life_s)


def importance(value: float) -> float:
    """Convert an importance from 0 to 10 to a score in [0, 1]."""
    return min(max(value / MAX_IMPORTANCE, 0.0), 1.0)


def fuse(scores: Scores, weights: Weights = DEFAULT_WEIGHTS) -> Floats:
    """Return the weighted mean of the components, plus the contribution of the wording, in [0, 1].

    The weight of a component that could not be computed must be 0.

    When both scores are known, a weighted sum is better than reciprocal rank fusion (Bruch, Gai and Ingber, ACM TOIS
    2023).
    """
    weighted = (
        weights.semantic * scores.semantic
        + weights.keyword * (scores.keyword + scores.neighbours)
        + weights.recency * scores.recency
        + weights.importance * scores.importance
        + weights.graph * scores.graph
    )
    together = weights.semantic + weights.keyword + weights.recency + weights.importance + weights.graph
    mean = weighted / together
    return np.minimum(
        np.maximum(mean - QUESTION * scores.question, mean / 2) + scores.speaker, 1.0
    )  # at least half of the mean, so that no hit drops to 0


def dense_query(query: str, stats: Stats) -> str:
    """Return the query to embed, without words that are too frequent in the searched memories.

    BM25 gives less weight to frequent words, but a vector does not. A name that occurs in half of the memories, such as
    a speaker's, does not distinguish them but dominates the query's vector. Leaving out such words raises recall:

    - semantic recall from 38 to 60% without context, and from 45 to 64% with context
    - hybrid recall from 64 to 66% without context, and from 74 to 76% with context

    A name is too frequent if more than a quarter of the memories contain it. Any threshold from 15 to 50% has this
    effect. For other words, the limit rises with the average length of the memories (`length_share`), because a long
    memory contains many words by chance. If memories have `LONG` terms or more, there is no limit. A word that occurs
    in at most `FREQUENT_FLOOR` memories is never too frequent. Stop words are kept because they hold the sentence
    together. A query that would lose all of its content words is embedded unchanged.

    If the query also contains statements, its questions are repeated, so they have more weight in the vector.
    """
    if stats.minor:
        query = f"{questions(query)} {query}"
    name_limit = max(stats.documents * FREQUENT_SHARE, FREQUENT_FLOOR)
    share = FREQUENT_SHARE + (1 - FREQUENT_SHARE) * length_share(stats.average_length)
    limit = max(stats.documents * share, FREQUENT_FLOOR)
    kept: list[str] = []
    has_content = False
    for word in query.split():
        word_terms = content_terms(word)
        most = name_limit if _may_be_name(word, word_terms) else limit
        # clipped, because a frequency can be an estimate
        rare = any(min(stats.frequency.get(term, 0), stats.documents) <= most for term in word_terms)
        has_content = has_content or rare
        if rare or not word_terms:
            kept.append(word)
    return " ".join(kept) if has_content else query


def _may_be_name(word: str, word_terms: Sequence[str]) -> bool:
    """Return whether a word begins with a capital letter, even at the beginning of a sentence."""
    first = next(filter(str.isalnum, word), "")
    return first.isupper() and not word.isupper() and REQUESTS.isdisjoint(word_terms)

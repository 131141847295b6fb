"""The relevance of hits: the probability that a memory answers the query, and each hit's share of it.

The probability depends on the best candidate, but neither on how the parts of a score are weighted nor on the length of
the query. Its constants were fitted by logistic regression on questions about three kinds of conversations, half of
which the conversation cannot answer: `python -m benchmarks.relevance --fit FOLDER`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memories.search import analyzer, scoring

# Intercept, and the weights of the match, the missing names and the length of the memories; the second without a
# similarity. The first and last number of the first are adjusted, so that FLOOR costs less recall on each kind of
# conversation: see docs/decisions/search.md.
WITH_SIMILARITY = (-3.09, 7.2, -6.47, -1.1)
WITHOUT = (-1.67, 7.47, -5.37, 0.0)
# The number of best hits that are considered, so that a probability hardly depends on the size of a page.
BEST = 40
# A context has at least this relevance unless the request sets another floor: see docs/decisions/search.md.
FLOOR = 0.3

_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_CALENDAR = frozenset(
    analyzer.terms(
        "january february march april may june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday "
        "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"
    )
)
# Words that ask for an answer or refer to the conversation, but that the answer itself rarely contains.
_REQUESTS = frozenset(
    analyzer.terms(
        "kind type sort many much ever can could please list tell give show name remind summarize summarise summary "
        "describe explain mention say said told discuss discussed talk bring brought conversation chat message session "
        "throughout across order different aspect item"
    )
)


class Evidence(Protocol):
    """A candidate's similarity to the query. `matched` has a positive number for each query term that it contains."""

    @property
    def similarity(self) -> float | None: ...

    @property
    def matched(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals that show how well the candidates match the query.

    similarity, coverage: those of the candidate for which their sum is highest. The similarity is its cosine, or None
    if no candidate has one. The coverage is the fraction of the query's words that it contains, weighted by inverse
    document frequency and by how well the candidate matches each word (`scoring.saturations`).
    missing: the fraction of the names in the query that no candidate contains.
    length: 0 if the searched memories are short and 1 if they are long. Long ones contain more words of any query by
    chance; see `scoring.length_share`.
    """

    similarity: float | None = None
    coverage: float = 0.0
    missing: float = 0.0
    length: float = 0.0

    @property
    def probability(self) -> float:
        """Return the probability that the candidates answer the query, in [0, 1]."""
        intercept, match, missing, length = WITHOUT if self.similarity is None else WITH_SIMILARITY
        logit = intercept + match * ((self.similarity or 0.0) + self.coverage)
        logit += missing * self.missing + length * self.length
        return 1 / (1 + math.exp(-logit))

    def combined(self, other: Signals) -> Signals:
        """Return the signals of both sets of candidates together."""
        missing = min(self.missing, other.missing)
        return max(replace(self, missing=missing), replace(other, missing=missing), key=lambda one: one.probability)

    def relevance(self, score: float, best_score: float) -> float:
        """Return the relevance of a hit: its share of the probability, in proportion to its score.

        The best hit gets all of it.
        """
        return round(self.probability * min(score / best_score, 1.0), 4) if best_score > 0 else 0.0


def signals(
    query: str, term_weights: Mapping[str, float], candidates: Iterable[Evidence], average_length: float
) -> Signals:
    """Return the signals of the candidates, best first, for a query with these terms.

    average_length: the average number of terms in the searched memories.
    """
    length = scoring.length_share(average_length)
    names, dates = _names_and_dates(query)
    weights = np.array(list(term_weights.values()))
    left_out = names | dates | _REQUESTS
    content = np.array([term not in left_out for term in term_weights]) * weights
    if not content.any():  # a query that consists only of names or of a request
        content = weights
    named = np.array([term in names for term in term_weights]) * weights
    known = [candidate for candidate in islice(candidates, BEST) if len(candidate.matched) == len(weights)]
    if not known:
        return Signals(None, 0.0, float(named.any()), length)
    matched = np.concatenate([candidate.matched for candidate in known]).reshape(len(known), -1)
    coverage = matched @ content / max(content.sum(), 1e-9)
    cosines = [candidate.similarity for candidate in known]
    similarities = np.maximum([cosine or 0.0 for cosine in cosines], 0.0)
    best = int((coverage + similarities).argmax())
    similarity = float(similarities[best]) if any(cosine is not None for cosine in cosines) else None
    missing = 1.0 - float((matched > 0).any(axis=0) @ named / named.sum()) if named.any() else 0.0
    return Signals(similarity, float(coverage[best]), missing, length)


def names(query: str) -> set[str]:
    """Return the terms of a query that appear to be names, because they begin with a capital letter."""
    return _names_and_dates(query)[0]


def _names_and_dates(query: str) -> tuple[set[str], set[str]]:
    """Return the terms of a query that are names, and those that are parts of dates."""
    names: set[str] = set()
    dates: set[str] = set()
    for sentence in _SENTENCE.split(query):
        for position, word in enumerate(_WORD.findall(sentence)):
            for term in analyzer.content_terms(word):
                if term.isdigit() or (term in _CALENDAR and word[0].isupper()):
                    dates.add(term)
                elif position and word[0].isupper() and not word.isupper():  # "CV" is not a name
                    names.add(term)
    return names, dates

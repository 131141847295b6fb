"""Estimate the relevance of hits: the probability that the hits answer the query, scaled by the score of each hit.

The probability depends on the best candidates. It does not depend on the weights of a score's components, and hardly
depends on the query's length. The constants in its formula were fitted by logistic regression on questions about three
kinds of conversations. Half of the questions cannot be answered from the conversation. To fit the constants again:
`python -m benchmarks.relevance FOLDER --fit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memories.search import analyzer, dates, scoring
from memories.search.scoring import Stats
from memories.search.term_marks import Mark
from memories.search.wording import REQUESTS, Wording, sentences

# The intercept, and the weights of `Signals.match`, `missing`, `length` and `absent`. The second tuple applies if no
# candidate has a similarity.
WITH_SIMILARITY = (-2.36, 6.4, -7.45, -1.79, -2.2)
WITHOUT = (-1.28, 7.83, -8.54, -0.97, -3.09)
# The number of absent words at which `Signals.absent` is one half.
HALF_ABSENT = 2
# The number of best hits that are considered. It is fixed, so that the probability hardly depends on the page size.
BEST = 40
# A context contains only hits with at least this relevance, unless the request sets another minimum: see
# docs/decisions/search.md.
FLOOR = 0.3

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_CALENDAR = frozenset(
    analyzer.terms(
        "january february march april may june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday "
        "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"
    )
)


class Evidence(Protocol):
    """How well a candidate matches the query.

    matched: a number per query term, positive if the candidate contains the term.
    """

    @property
    def similarity(self) -> float | None: ...

    @property
    def matched(self) -> NDArray[np.float64]: ...

    @property
    def mark(self) -> Mark: ...


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals that show how well the candidates match the query.

    similarity: the cosine similarity of the candidate that matches best, or None if no candidate has a similarity.
    coverage: the fraction of the query's words that this candidate contains, weighted by how well it matches each word
      (`scoring.evidence`).
    other_speaker: if the query is in the first person, and the user wrote another candidate but not this one, the
      amount that ranking adds to memories written by the user (`search.wording`); otherwise 0.
    missing: the fraction of the names in the query that no candidate contains.
    length: 0 if the searched memories are short, and 1 if they are long (`scoring.length_share`). Long memories contain
      more words of any query by chance.
    absent: a number that rises from 0 towards 1 with the number of the query's words that no candidate contains.
    """

    similarity: float | None = None
    coverage: float = 0.0
    missing: float = 0.0
    length: float = 0.0
    absent: float = 0.0
    other_speaker: float = 0.0

    @property
    def match(self) -> float:
        return (self.similarity or 0.0) + self.coverage - self.other_speaker

    @property
    def probability(self) -> float:
        """Return the probability that the candidates answer the query, in [0, 1]."""
        intercept, match, missing, length, absent = WITHOUT if self.similarity is None else WITH_SIMILARITY
        logit = intercept + match * self.match + missing * self.missing + length * self.length + absent * self.absent
        return 1 / (1 + math.exp(-logit))

    def combined(self, other: Signals) -> Signals:
        """Combine the signals of two sets of candidates into the signals of their union."""
        missing, absent = min(self.missing, other.missing), min(self.absent, other.absent)
        both = (replace(one, missing=missing, absent=absent) for one in (self, other))
        return max(both, key=lambda one: one.probability)

    def relevance(self, score: float, best_score: float) -> float:
        """Return the relevance of a hit: the probability, scaled by the ratio of the hit's score to the best score.

        The relevance of the best hit is the probability itself.
        """
        return round(self.probability * min(score / best_score, 1.0), 4) if best_score > 0 else 0.0


def signals(query: str, candidates: Iterable[Evidence], stats: Stats) -> Signals:
    """Return the signals of the candidates for a query.

    candidates: the candidates, best first.
    stats: the statistics on the terms of the query.
    """
    terms = list(stats.frequency)
    length = scoring.length_share(stats.average_length)
    names, of_dates = _names_and_dates(query)
    named = np.array([term in names for term in terms], dtype=bool)
    left_out = names | of_dates | REQUESTS
    of_date = np.array([dates.is_date(term) for term in terms], dtype=bool)
    content = np.array([term not in left_out for term in terms], dtype=bool) & ~of_date
    if not content.any():  # if the query consists only of names, dates or words that ask for an answer
        content = of_date if of_date.any() else np.ones(len(terms), dtype=bool)
    known = [candidate for candidate in islice(candidates, BEST) if len(candidate.matched) == len(terms)]
    if not known:
        return Signals(None, 0.0, float(named.any()), length, _absent(content.astype(float)))
    counts = content * np.array([scoring.MINOR if term in stats.minor else 1.0 for term in terms])
    matched = np.concatenate([candidate.matched for candidate in known]).reshape(len(known), -1)
    uncertain = np.array([term in stats.uncertain for term in terms], dtype=bool)
    nowhere: NDArray[np.bool_] = (matched.max(axis=0) <= 0) | uncertain
    coverage = matched @ counts / max(counts.sum(), scoring.MINOR)
    cosines = [candidate.similarity for candidate in known]
    similarities = np.maximum([cosine or 0.0 for cosine in cosines], 0.0)
    other_speaker = _other_speaker(query, known)
    best = int((coverage + similarities - other_speaker).argmax())
    return Signals(
        float(similarities[best]) if any(cosine is not None for cosine in cosines) else None,
        float(coverage[best]),
        float(nowhere[named].mean()) if named.any() else 0.0,
        length,
        _absent(counts * nowhere),
        float(other_speaker[best]),
    )


def _absent(words: NDArray[np.float64]) -> float:
    count = float(words.sum())
    return count / (count + HALF_ABSENT)


def _other_speaker(query: str, candidates: Sequence[Evidence]) -> NDArray[np.float64]:
    """Return the value of `Signals.other_speaker` for each candidate."""
    wording = Wording.of(query, terms=())
    preferred = np.array([wording.speaker(candidate.mark) for candidate in candidates])
    lacking: NDArray[np.float64] = preferred.max() - preferred
    return lacking


def names(query: str) -> set[str]:
    """Return the terms of a query that appear to be names, because their words begin with a capital letter."""
    return _names_and_dates(query)[0]


def _names_and_dates(query: str) -> tuple[set[str], set[str]]:
    """Return the terms of a query that appear to be names, and the terms that are parts of dates."""
    names: set[str] = set()
    of_dates = set(analyzer.content_terms(" ".join(dates.stated(query))))
    for sentence in sentences(query):
        for position, word in enumerate(_WORD.findall(sentence)):
            for term in analyzer.content_terms(word):
                if term.isdigit() or (term in _CALENDAR and word[0].isupper()):
                    of_dates.add(term)
                elif position and word[0].isupper() and not word.isupper():  # "CV" is not a name
                    names.add(term)
    return names, of_dates

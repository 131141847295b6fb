"""How relevant hits are: the probability that the memories answer a query at all, and each hit's share of it. Pure.

The probability depends on the best candidates, but neither on how the parts of a score are weighted nor on the length
of the query. Its constants were fitted by logistic regression on questions about three kinds of conversations, half of
them asked of a conversation that cannot answer them: `python -m benchmarks.relevance --fit FOLDER`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memories.search import analyzer

# Intercept, and the weights of the similarity, the coverage and the missing names; the second without a similarity.
WITH_SIMILARITY = (-3.3, 6.3, 3.5, -4.0)
WITHOUT = (-1.6, 0.0, 4.5, -4.4)
# A context has at least this relevance unless the request sets another floor: see docs/decisions/search.md.
FLOOR = 0.3

_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_CALENDAR = frozenset(
    analyzer.terms(
        "january february march april may june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday"
    )
)


class Evidence(Protocol):
    """What a candidate has in common with the query. `matched` has a number above 0 for each term that it contains."""

    @property
    def similarity(self) -> float | None: ...

    @property
    def _names_and_dates(query: str) -> tuple[set[str], set[str]]:
    """Return the terms of a query that are names, to judge by their capitals, and those that are parts of dates."""
    names: set[str] = set()
    dates: set[str] = set()
    for sentence in _SENTENCE.split(query):
        for position, word in enumerate(_WORD.findall(sentence)):
            for term in analyzer.content_terms(word):
                if term.isdigit() or (term in _CALENDAR and word[0].isupper()):
                    dates.add(term)
                elif position and word[0].isupper():
                    names.add(term)
    return names, dates

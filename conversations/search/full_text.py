"""What people type into a search field: words, "phrases", and -words that must not be there. Pure.

Anything else is plain text: there is no syntax to get wrong. What a word is, the analyzer says
(`memories.search.analyzer`), so that both databases answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memories.search import analyzer, ranking
from somamemory.errors import InvalidInput

MAX_PHRASES = 16
MAX_WITHOUT = 32

_PARTS = re.compile(r'(?P<without>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Query:
    """Each a sequence of terms. All `phrases` must occur, none of `without`; of `words`, one if there is no phrase."""

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    without: tuple[tuple[str, ...], ...]

    @property
    def terms(self) -> list[str]:
        """Everything that adds to the rank, as far as it is looked up; phrases before words."""
        return self._distinct[: analyzer.MAX_QUERY_TERMS]

    @property
    def is_cut(self) -> bool:
        """Whether there are words that are not looked up."""
        return len(self._distinct) > analyzer.MAX_QUERY_TERMS

    @property
    def _distinct(self) -> list[str]:
        return list(dict.fromkeys([*(term for phrase in self.phrases for term in phrase), *self.words]))


def parse(query: str) -> Query:
    """Raises InvalidInput for too many phrases or -words."""
    words: list[str] = []
    phrases: list[tuple[str, ...]] = []
    without: list[tuple[str, ...]] = []
    for part in _PARTS.finditer(query):
        quoted = part["phrase"] is not None
        terms = tuple(analyzer.terms(part["phrase"] if quoted else part["word"]))
        if not terms:
            continue
        if part["without"]:
            without.append(terms)
        elif quoted:
            phrases.append(terms)
        else:
            words.append(part["word"])
    for what, found, most in (("phrases", phrases, MAX_PHRASES), ("words to leave out", without, MAX_WITHOUT)):
        if len(found) > most:
            raise InvalidInput("query", f"has {len(found)} {what}; at most {most} are allowed")
    # All words at once: one that carries no meaning among others may be all there is.
    return Query(tuple(analyzer.distinct_terms(" ".join(words))), tuple(phrases), tuple(without))


def score(query: Query, content: str, weights: Mapping[str, float], average_length: float) -> float | None:
    """How well a message answers, in [0, 1]; None if it does not. `weights`: `ranking.term_weights` of its terms."""
    own = analyzer.terms(content)
    # A term holds no space, so that looking for a phrase is looking for a text.
    said = f" {' '.join(own)} "
    if any(_spoken(phrase) in said for phrase in query.without):
        return None
    if not all(_spoken(phrase) in said for phrase in query.phrases):
        return None
    if not query.phrases and set(query.words).isdisjoint(own):
        return None
    return ranking.keyword(ranking.bm25(said, weights, average_length), weights)


def _spoken(phrase: Sequence[str]) -> str:
    return f" {' '.join(phrase)} "

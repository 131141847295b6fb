"""Syntax of full-text queries: words, "phrases", and -words that must not occur. Pure functions.

All other characters are plain text, so no query is a syntax error. The analyzer decides where words begin and end
(`memories.search.analyzer`), so both databases give the same results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memories.search import analyzer, scoring
from somamemory.errors import InvalidInput

MAX_PHRASES = 16
MAX_EXCLUDED = 32

_PARTS = re.compile(r'(?P<excluded>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class WordQuery:
    """Sequences of terms. All `phrases` must occur and none of `excluded`.

    Without phrases, one of `words` must occur.
    """

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    excluded: tuple[tuple[str, ...], ...]

    @property
    def terms(self) -> list[str]:
        """Return the terms that add to the rank: phrases before words, up to the maximum number of lookups."""
        return self._distinct[: analyzer.MAX_QUERY_TERMS]

    @property
    def is_cut(self) -> bool:
        """Return whether there are more terms than the maximum number of lookups."""
        return len(self._distinct) > analyzer.MAX_QUERY_TERMS

    @property
    def _distinct(self) -> list[str]:
        return list(dict.fromkeys([*(term for phrase in self.phrases for term in phrase), *self.words]))


def parse(query: str) -> WordQuery:
    """Parse a query. Raises InvalidInput for too many phrases or -words."""
    words: list[str] = []
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    for part in _PARTS.finditer(query):
        quoted = part["phrase"] is not None
        terms = tuple(analyzer.terms(part["phrase"] if quoted else part["word"]))
        if not terms:
            continue
        if part["excluded"]:
            excluded.append(terms)
        elif quoted:
            phrases.append(terms)
        else:
            words.append(part["word"])
    _check_count("phrases", phrases, MAX_PHRASES)
    _check_count("excluded words", excluded, MAX_EXCLUDED)
    # Analyse all words together: a stop word is dropped among other words, but may be the whole query.
    return WordQuery(tuple(analyzer.distinct_terms(" ".join(words))), tuple(phrases), tuple(excluded))


def score(query: WordQuery, content: str, weights: Mapping[str, float], average_length: float) -> float | None:
    """Return how well a message matches, in [0, 1]; None if it does not match.

    weights: result of `scoring.term_weights` for the query's terms.
    """
    terms = analyzer.terms(content)
    # Terms contain no spaces, so a phrase can be searched for as text.
    text = _joined(terms)
    if any(_joined(phrase) in text for phrase in query.excluded):
        return None
    if not all(_joined(phrase) in text for phrase in query.phrases):
        return None
    if not query.phrases and set(query.words).isdisjoint(terms):
        return None
    return scoring.keyword(scoring.bm25(text, weights, average_length), weights)


def _check_count(name: str, given: Sequence[object], most: int) -> None:
    if len(given) > most:
        raise InvalidInput("query", f"has {len(given)} {name}; the maximum is {most}")


def _joined(terms: Sequence[str]) -> str:
    return f" {' '.join(terms)} "

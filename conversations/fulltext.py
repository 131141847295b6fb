"""What people type into a search field: words, "phrases", and -words that must not be there. Pure.

Anything else is plain text: there is no syntax to get wrong. What a word is, the analyzer says
(`memories.search.text`), so that both databases answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memories.search import ranking, text
from memories.search.ranking import Stats

_PARTS = re.compile(r'(?P<without>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Query:
    """Each a sequence of terms. All `phrases` must occur, none of `without`; of `words`, one if there is no phrase."""

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    without: tuple[tuple[str, ...], ...]

    @property
    def terms(self) -> list[str]:
        """Everything that adds to the rank."""
        wanted = [*self.words, *(term for phrase in self.phrases for term in phrase)]
        return list(dict.fromkeys(wanted))[: text.MAX_QUERY_TERMS]


def parse(query: str) -> Query:
    words: list[str] = []
    phrases: list[tuple[str, ...]] = []
    without: list[tuple[str, ...]] = []
    for part in _PARTS.finditer(query):
        quoted = part["phrase"] is not None
        terms = tuple(text.terms(part["phrase"] if quoted else part["word"]))
        if not terms:
            continue
        if part["without"]:
            without.append(terms)
        elif quoted:
            phrases.append(terms)
        else:
            words.append(part["word"])
    # All words at once: one that carries no meaning among others may be all there is.
    return Query(tuple(text.query_terms(" ".join(words))), tuple(phrases), tuple(without))


def score(query: Query, content: str, stats: Stats) -> float | None:
    """How well a message answers, in [0, 1]; None if it does not."""
    own = text.terms(content)
    if any(_holds(own, phrase) for phrase in query.without):
        return None
    if not all(_holds(own, phrase) for phrase in query.phrases):
        return None
    if not query.phrases and not set(query.words) & set(own):
        return None
    weights = ranking.term_weights(query.terms, stats)
    return ranking.keyword(ranking.bm25(" ".join(own), weights, stats.average_length), weights)


def _holds(own: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether the terms stand side by side, in this order."""
    first, length = phrase[0], len(phrase)
    return any(term == first and tuple(own[at : at + length]) == tuple(phrase) for at, term in enumerate(own))

"""Expression trees for full-text queries. Pure functions.

Each node has two methods. `matches` decides whether a message matches. `clauses` returns what to look up in the index:
only messages that contain all terms of at least one clause can match. None means that any message can match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from memories.search import analyzer
from memories.search.term_index import PREFIX, Clause

# The longest ending that stemming removes ("-ationaliz-" and what follows), and the shortest stem.
_LONGEST_ENDING = 9
_SHORTEST_STEM = 3
_MAX_CLAUSE = 8  # maximum number of terms to look up together; more terms would exclude few additional messages

_UNKNOWN = float("inf")

Frequency = Mapping[str, int]  # for each term whose frequency is known, the number of messages that contain it


class Text:
    """The text of a message, prepared for matching.

    terms: the terms, separated by spaces.
    joined: the same terms, with a space at each end. Terms contain no spaces, so phrases can be found as substrings.
    """

    def __init__(self, terms: str, content: str = "") -> None:
        self.terms = terms
        self.joined = f" {terms} "
        self._content = content

    @classmethod
    def of(cls, content: str) -> Text:
        return cls(" ".join(analyzer.terms(content)), content)

    @cached_property
    def folded(self) -> str:
        """Return the folded text without stemming. Only prefixes are compared with it."""
        return analyzer.fold(self._content)


class Expression(Protocol):
    def matches(self, text: Text) -> bool: ...

    def clauses(self, frequency: Frequency) -> list[Clause] | None: ...


@dataclass(frozen=True)
class Words:
    """Words, at least one of which must occur."""

    terms: frozenset[str]

    def matches(self, text: Text) -> bool:
        return any(f" {term} " in text.joined for term in self.terms)

    def clauses(self, frequency: Frequency) -> list[Clause]:
        return [(term,) for term in sorted(self.terms & frequency.keys())]


@dataclass(frozen=True)
class Phrase:
    """A word, or several words that must occur consecutively, in this order."""

    terms: tuple[str, ...]

    def matches(self, text: Text) -> bool:
        return f" {' '.join(self.terms)} " in text.joined

    def clauses(self, frequency: Frequency) -> list[Clause]:
        return [_rarest(self.terms, frequency)]


@dataclass(frozen=True)
class Prefix:
    """The letters that a word must begin with. `term` is the term that they would produce as a word."""

    letters: str
    term: str

    def __str__(self) -> str:
        return self.letters + PREFIX

    def matches(self, text: Text) -> bool:
        return self._words.search(text.folded) is not None

    def count(self, text: Text) -> int:
        return len(self._words.findall(text.folded))

    def clauses(self, frequency: Frequency) -> list[Clause]:
        """Return the prefix itself, and the terms to which longer words with this prefix can be stemmed."""
        lengths = range(max(_SHORTEST_STEM, len(self.letters) - _LONGEST_ENDING), len(self.letters))
        stems = [self.letters[:length] for length in lengths]
        # Stemming turns a final y into an i ("happy"), and restores an e ("hoping").
        stems += [stem[:-1] + ending for stem in [*stems, self.letters] for ending in "ie"]
        return [(str(self),), *((stem,) for stem in dict.fromkeys([self.term, *stems]))]

    @cached_property
    def _words(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![^\W_]){re.escape(self.letters)}")


@dataclass(frozen=True)
class AnyOf:
    parts: Sequence[Expression]

    def matches(self, text: Text) -> bool:
        return any(part.matches(text) for part in self.parts)

    def clauses(self, frequency: Frequency) -> list[Clause] | None:
        together: list[Clause] = []
        for part in self.parts:
            found = part.clauses(frequency)
            if found is None:
                return None
            together += found
        return together


@dataclass(frozen=True)
class All:
    parts: Sequence[Expression]

    def matches(self, text: Text) -> bool:
        return all(part.matches(text) for part in self.parts)

    def clauses(self, frequency: Frequency) -> list[Clause] | None:
        """Return the clauses of the part that matches the fewest messages.

        Each clause is extended with the terms that every matching message must contain.
        """
        options = [found for part in self.parts if (found := part.clauses(frequency)) is not None]
        if not options:
            return None
        required = [term for option in options if len(option) == 1 for term in option[0]]
        fewest = min(options, key=lambda option: sum(_estimate(clause, frequency) for clause in option))
        return [_rarest([*clause, *required], frequency) for clause in fewest]


@dataclass(frozen=True)
class Not:
    part: Expression

    def matches(self, text: Text) -> bool:
        return not self.part.matches(text)

    def clauses(self, frequency: Frequency) -> None:
        return None


def _rarest(terms: Iterable[str], frequency: Frequency) -> Clause:
    return tuple(sorted(dict.fromkeys(terms), key=lambda term: frequency.get(term, _UNKNOWN))[:_MAX_CLAUSE])


def _estimate(clause: Clause, frequency: Frequency) -> float:
    """Return the highest possible number of messages that contain all terms in the clause."""
    return min(frequency.get(term, _UNKNOWN) for term in clause)

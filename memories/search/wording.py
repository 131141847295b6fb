"""Score memories by the wording of the query. This module is pure.

- The answer to a query that names a speaker is more likely to be something that this speaker said, and the answer to a
  query in the first person is more likely to be something that the user said.
- A question rarely answers another question.
- If a query consists of statements and questions, the words of the questions matter more.

The quoted figures are recall@10 on LoCoMo, REALTALK and BEAM; see docs/decisions/search.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from memories.search import analyzer
from memories.search.term_marks import Mark

# The amounts added to the score of a memory whose speaker the query names, and of one that the user wrote.
NAMED = 0.06  # from 0.05 to 0.08, recall is the same to within 0.3 percentage points
FIRST_PERSON = 0.2  # from 0.1 to 0.25, recall on BEAM is the same to within 0.6 percentage points
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|mine)\b", re.IGNORECASE)
# A full stop after one of these words, or after a single letter or digit as in "p.m.", does not end a sentence.
_ABBREVIATIONS = "mr mrs ms dr prof st vs approx incl jan feb mar apr jun jul aug sep sept oct nov dec"
_NO_END = "".join(rf"(?<!\b{word}\.)" for word in (r"\w", *_ABBREVIATIONS.split()))
_SENTENCE = re.compile(rf"(?<=[.?!]){_NO_END}\s+", re.IGNORECASE)
_USER = frozenset(("user", "human"))
# Words that ask for an answer or refer to the conversation, but that the answer itself rarely contains.
REQUESTS = frozenset(
    analyzer.terms(
        "kind type sort many much ever can could please list tell give show name remind summarize summarise summary "
        "describe explain mention say said told discuss discussed talk bring brought conversation chat message session "
        "throughout across order different aspect item"
    )
)


def sentences(text: str) -> list[str]:
    return _SENTENCE.split(text)


def outside_questions(query: str) -> frozenset[str]:
    """Return the terms that occur only outside the query's questions. Without a question, return no terms."""
    asked, stated = _questions_and_others(query)
    terms = analyzer.content_terms(asked)
    return frozenset(analyzer.content_terms(stated)).difference(terms) if terms else frozenset()


def questions(query: str) -> str:
    return _questions_and_others(query)[0]


def _questions_and_others(query: str) -> tuple[str, str]:
    parts = sentences(query)
    asked = [part for part in parts if part.rstrip("\"')\u201d").endswith("?")]
    return " ".join(asked), " ".join(part for part in parts if part not in asked)


@dataclass(frozen=True, slots=True)
class Wording:
    """The terms of a query, and whether the query is in the first person."""

    terms: frozenset[str]
    first_person: bool

    @classmethod
    def of(cls, query: str, terms: Iterable[str]) -> Wording:
        return cls(frozenset(terms), bool(_FIRST_PERSON.search(query)))

    def speaker(self, mark: Mark) -> float:
        """Return the score bonus that a memory with this mark gets for its speakers."""
        if self.first_person and not mark.speakers.isdisjoint(_USER):
            return FIRST_PERSON
        return 0.0 if mark.speakers.isdisjoint(self.terms) else NAMED

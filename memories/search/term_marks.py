"""Write and read marks, which are metadata in a memory's `terms` column. This module is pure.

A mark is an additional word between the terms of the text and those of its context. It consists of `§`, the proportion
of the text's sentences that are questions (in eighths, rounded up), 1 if its context asks a question and 0 if not, and
each speaker, preceded by another `§`. For example, `§81§ada` marks a question that Ada asked after another question. No
query contains `§`, so searches never match a mark. The mark is followed by the terms of dates (see `dates`), which are
not part of the text. Memories that were stored before marks existed have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SIGN = "§"
_EIGHTHS = 8
_QUESTION_SIGNS = "?\uff1f\u061f"  # including the full-width and Arabic question marks
_SENTENCE = re.compile(rf"[^.!{_QUESTION_SIGNS}]+[.!{_QUESTION_SIGNS}]?")
# A name of up to three words and a colon, such as "Ada: …" or "Ada L. Byron: …".
_SPEAKER = re.compile(r"\s*([^\W\d_][\w'.-]{0,40})(?: [^\W\d_][\w'.-]{0,40}){0,2}:\s")


@dataclass(frozen=True, slots=True)
class Mark:
    """The content of a mark.

    questions: the proportion of the text's sentences that are questions, in [0, 1].
    follows_question: whether the context asks a question.
    speakers: the speakers of the text, as terms.
    """

    questions: float = 0.0
    follows_question: bool = False
    speakers: frozenset[str] = frozenset()


NONE = Mark()


def named_speaker(text: str) -> str:
    """Return the speaker's first name if the text begins with a name and a colon, otherwise an empty string."""
    found = _SPEAKER.match(text)
    return found[1] if found else ""


def written(text: str, context: str, speakers: Sequence[str], dates: Sequence[str] = ()) -> list[str]:
    """Return a memory's mark, followed by its date terms, or an empty list if there is nothing to mark.

    speakers: the speakers of the text, as terms.
    """
    eighths = _question_eighths(text)
    if not (eighths or speakers or context or dates):
        return []
    follows_question = int(any(sign in context for sign in _QUESTION_SIGNS))
    return [SIGN.join(["", f"{eighths}{follows_question}", *speakers]), *dates]


def own_terms(terms: str, has_context: bool) -> str | None:
    """Return the text's terms from a `terms` column, or None if they cannot be distinguished from the context's.

    This is the case if a memory with a context was stored before marks existed.
    """
    own, mark, _ = terms.partition(SIGN)
    return None if has_context and not mark else own.rstrip()


def read(terms: str) -> Mark:
    """Return the mark in a `terms` column."""
    start = terms.find(SIGN)
    if start < 0:
        return NONE
    end = terms.find(" ", start)
    return _parsed(terms[start : end if end > 0 else len(terms)])


@lru_cache(10_000)
def _parsed(mark: str) -> Mark:
    _, numbers, *speakers = mark.split(SIGN)
    read = Mark(int(numbers[0]) / _EIGHTHS, numbers[1] == "1", frozenset(speakers))
    return NONE if read == NONE else read  # so that comparing a mark with NONE only compares two references


def _question_eighths(text: str) -> int:
    if not any(sign in text for sign in _QUESTION_SIGNS):
        return 0
    sentences = _SENTENCE.findall(text)
    questions = sum(sentence[-1] in _QUESTION_SIGNS for sentence in sentences)
    return max(1, -(-questions * _EIGHTHS // max(len(sentences), 1)))

"""Misspell one word in each question."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from string import ascii_lowercase

from benchmarks.evaluation.data import Question
from memories.search.analyzer import STOP_WORDS

_WORD = re.compile(r"\b[a-z][A-Za-z]{4,}")


def misspelled(question: Question, chance: random.Random) -> Question:
    """Return the question with one typing error in a random word of at least five letters, except stop words and names.

    A letter is missing, wrong, additional, or swapped with the next one. Neither the first nor the last letter changes,
    except that the last two can be swapped. If the question contains no such word, it is returned unchanged.
    """
    words = [found for found in _WORD.finditer(question.text) if found[0].lower() not in STOP_WORDS]
    if not words:
        return question
    chosen = chance.choice(words)
    at = chance.randrange(1, len(chosen[0]) - 1)
    before, letter, next_letter, after = chosen[0][:at], chosen[0][at], chosen[0][at + 1], chosen[0][at + 2 :]
    wrong = chance.choice(ascii_lowercase)
    middle = chance.choice((next_letter, next_letter + letter, wrong + next_letter, wrong + letter + next_letter))
    text = f"{question.text[: chosen.start()]}{before}{middle}{after}{question.text[chosen.end() :]}"
    return replace(question, text=text)

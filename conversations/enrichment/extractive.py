"""Summaries without a language model: the sentences of a text that say most of it. Pure.

A sentence is worth its closeness to the middle of all (the centroid method of Radev and others, 2004), less its
closeness to what is chosen already (maximal marginal relevance, Carbonell and Goldstein, 1998). The chosen ones stand
as they stood, in their order; nothing is written that nobody has said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from memories.embeddings.base import Vectors
from memories.search import analyzer

MAX_SENTENCES = 5_000
MAX_SENTENCE_LENGTH = 600  # characters; what is longer is a table or code, and no sentence
BALANCE = 0.7  # of being central, against being new
# With fewer words of content than the first a sentence says less, and with fewer than the second hardly anything,
# however central it is ("That sounds great!"): it is taken only where there is no other.
_FULL_TERMS, _FEWEST_TERMS = 6, 4

_CLOSING = "\"'”’)]"  # noqa: RUF001 - as texts have them
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")  # noqa: RUF001 - other scripts end sentences, too


def sentences(passage: str) -> list[str]:
    """The sentences of a text, each exactly as it stands there, without the spaces around it."""
    pieces: list[str] = []
    start = 0
    for match in _END.finditer(passage):
        # A closing quotation mark belongs to the sentence that it closes.
        end = match.start() + len(match[0]) - len(match[0].lstrip(_CLOSING))
        pieces.append(passage[start:end].strip())
        start = match.end()
    pieces.append(passage[start:].strip())
    return [piece for piece in pieces if piece and len(piece) <= MAX_SENTENCE_LENGTH]


def weight(sentence: str) -> float:
    """How much a sentence can say, in (0, 1], by the number of its words that are no stop words."""
    return max(min(len(analyzer.content_terms(sentence)) / _FULL_TERMS, 1.0), 0.01)


def chosen(lines: Sequence[str], vectors: Vectors, most_words: int) -> list[int]:
    """Which sentences make the summary, in reading order: at least one, then as many as have room in `most_words`.

    vectors: shape (len(lines), dimension); a zero row is close to nothing.
    """
    if not lines:
        return []
    unit = _unit(vectors)
    weights = np.array([weight(line) for line in lines], dtype=np.float32)
    middle = _unit((unit * weights[:, None]).sum(axis=0, keepdims=True))[0]
    central = (unit @ middle) * weights
    nearest = np.zeros(len(lines), dtype=np.float32)
    left = weights >= _FEWEST_TERMS / _FULL_TERMS
    left = left if left.any() else np.ones(len(lines), dtype=bool)
    lengths = np.array([len(line.split()) for line in lines])
    taken: list[int] = []
    room = most_words
    while left.any():
        worth = np.where(left, BALANCE * central - (1 - BALANCE) * nearest, -np.inf)
        best = int(worth.argmax())
        taken.append(best)
        room -= int(lengths[best])
        nearest = np.maximum(nearest, unit @ unit[best])
        left &= lengths <= room
        left[taken] = False
        left &= nearest < 0.999  # the same sentence again
    return sorted(taken)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit

"""Extractive summaries: select the most informative sentences of a text without a language model. Pure functions.

A sentence's score is its similarity to the centroid of all sentences (Radev et al., 2004) minus its similarity to the
sentences already selected (maximal marginal relevance, Carbonell and Goldstein, 1998). The selected sentences keep
their wording and order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from memories.embeddings.base import Vectors
from memories.search import analyzer

MAX_SENTENCES = 5_000
MAX_SENTENCE_LENGTH = 600  # characters; longer pieces are usually tables or code
BALANCE = 0.7  # weight of centrality; the remainder is the weight of novelty
# A sentence with fewer than `_FULL_TERMS` content words has less weight. A sentence with fewer than `_MIN_TERMS`
# contains very little information, even if it is central ("That sounds great!"), and is selected only if there are no
# others.
_FULL_TERMS, _MIN_TERMS = 6, 4

_CLOSING = "\"'”’)]"  # noqa: RUF001 - as they occur in texts
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")  # noqa: RUF001 - sentence endings of other scripts
# The average length of a word in scripts without spaces between words: Han and kana; Thai, Lao, Burmese and Khmer.
_UNSPACED_WORD = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]{2}"
    "|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{5}"
)


def sentences(passage: str) -> list[str]:
    """Return the sentences of a text verbatim, without surrounding whitespace. Overlong pieces are left out."""
    pieces: list[str] = []
    start = 0
    for match in _END.finditer(passage):
        # Attach a closing quotation mark to the sentence that it ends.
        end = match.start() + len(match[0]) - len(match[0].lstrip(_CLOSING))
        pieces.append(passage[start:end].strip())
        start = match.end()
    pieces.append(passage[start:].strip())
    return [piece for piece in pieces if piece and len(piece) <= MAX_SENTENCE_LENGTH]


def word_count(text: str) -> int:
    """Return the number of words in a text, estimated for scripts without spaces between words."""
    return len(text.split()) + sum(1 for _ in _UNSPACED_WORD.finditer(text))


def weight(sentence: str) -> float:
    """Return the weight of a sentence in (0, 1], based on its number of content words (not stop words)."""
    return max(min(len(analyzer.content_terms(sentence)) / _FULL_TERMS, 1.0), 0.01)


def select(
    sentences: Sequence[str], vectors: Vectors, max_length: int, length: Callable[[str], int] = word_count
) -> list[int]:
    """Return the indexes of the selected sentences in reading order: at least one, then as many as `max_length` allows.

    vectors: array of shape (len(sentences), dimension). A zero row has no similarity to any sentence.
    length: returns the length of a sentence, in words or in tokens.
    """
    if not sentences:
        return []
    unit = _unit(vectors)
    weights = np.array([weight(sentence) for sentence in sentences], dtype=np.float32)
    centroid = _unit((unit * weights[:, None]).sum(axis=0, keepdims=True))[0]
    centrality = (unit @ centroid) * weights
    redundancy = np.zeros(len(sentences), dtype=np.float32)
    eligible = weights >= _MIN_TERMS / _FULL_TERMS
    eligible = eligible if eligible.any() else np.ones(len(sentences), dtype=bool)
    lengths = np.array([length(sentence) for sentence in sentences])
    selected: list[int] = []
    length_left = max_length
    while eligible.any():
        scores = np.where(eligible, BALANCE * centrality - (1 - BALANCE) * redundancy, -np.inf)
        best = int(scores.argmax())
        selected.append(best)
        length_left -= int(lengths[best])
        redundancy = np.maximum(redundancy, unit @ unit[best])
        eligible &= lengths <= length_left
        eligible[selected] = False
        eligible &= redundancy < 0.999  # drop repeated sentences
    return sorted(selected)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit

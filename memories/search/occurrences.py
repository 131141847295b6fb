"""Count the occurrences of terms in the `terms` columns of many memories. This module is pure.

Many memories are searched together, for all terms at once, by the Aho-Corasick algorithm in native code. Searching each
memory for each term in Python takes twice as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np
from ahocorasick_rs import BytesAhoCorasick, Implementation
from numpy.typing import NDArray

from memories.search.term_marks import SIGN

# The maximum number of characters to search together. A longer text is searched alone.
_TOGETHER = 100_000
# If a block contains more occurrences than this, the texts after it are searched one by one. Otherwise, a text that
# repeats a term thousands of times would take 25 times as long.
_MANY = 5_000

Counts = NDArray[np.int64]


def count(memories: Sequence[str], terms: Sequence[str]) -> tuple[Counts, Counts]:
    """Return how often each memory (row) contains each term (column): in its own text, and in its context.

    memories: the `terms` column of each memory.
    """
    own, context = (np.zeros((len(memories), len(terms)), np.int64) for _ in range(2))
    one_by_one = False
    for rows in _blocks(memories) if terms else ():
        if one_by_one or len(memories[rows.start]) > _TOGETHER:
            for row in range(rows.start, rows.stop):
                own[row], context[row] = _in_text(memories[row], terms)
        else:
            own[rows], context[rows] = _in_texts(memories[rows], tuple(terms))
            one_by_one = bool(own[rows].sum() + context[rows].sum() > _MANY)
    return own, context


def _blocks(memories: Sequence[str]) -> Iterator[slice]:
    """Yield the positions of memories to search together."""
    start = size = 0
    for position, text in enumerate(memories):
        if position > start and size + len(text) > _TOGETHER:
            yield slice(start, position)
            start, size = position, 0
        size += len(text)
    if start < len(memories):
        yield slice(start, len(memories))


def _in_texts(memories: Sequence[str], terms: tuple[str, ...]) -> tuple[Counts, Counts]:
    texts = [text.encode() for text in memories]
    # Every term has a space on both sides. Occurrences of two adjacent terms overlap, because they share a space.
    together = b" " + b"  ".join(texts) + b" "
    found = _automaton(terms).find_matches_as_indexes(together, overlapping=True)
    columns, places = np.fromiter(chain.from_iterable(found), np.int64, 3 * len(found)).reshape(-1, 3).T[:2]
    rows = np.searchsorted(np.cumsum([len(text) + 2 for text in texts]), places, "right")
    is_mark = columns == len(terms)
    marks = np.full(len(texts), len(together))
    marks[rows[is_mark]] = places[is_mark]
    cells = rows * len(terms) + columns
    after_mark = places > marks[rows]
    return _counted(cells[~(after_mark | is_mark)], terms, texts), _counted(cells[after_mark], terms, texts)


def _counted(cells: Counts, terms: Sequence[str], texts: Sequence[bytes]) -> Counts:
    return np.bincount(cells, minlength=len(texts) * len(terms)).reshape(len(texts), len(terms))


@lru_cache(maxsize=16)  # with a query of the maximum length, an automaton takes 1 MB
def _automaton(terms: tuple[str, ...]) -> BytesAhoCorasick:
    """Return an automaton that finds the terms and, as the last pattern, the beginning of a mark."""
    patterns = [*(f" {term} ".encode() for term in terms), f" {SIGN}".encode()]
    return BytesAhoCorasick(patterns, implementation=Implementation.DFA)


def _in_text(memory: str, terms: Sequence[str]) -> tuple[list[int], list[int]]:
    # Without doubled spaces, `count` would miss one of two adjacent occurrences, because they share a space.
    own, _, context = f" {memory} ".replace(" ", "  ").partition(SIGN)
    padded = [f" {term} " for term in terms]
    return list(map(own.count, padded)), list(map(context.count, padded))

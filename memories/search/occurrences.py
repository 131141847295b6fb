"""Count the occurrences of terms in the `terms` columns of many memories.

Many memories are searched together, for all terms at once, by the Aho-Corasick algorithm in native code. Searching each
memory for each term in Python takes twice as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from ahocorasick_rs import BytesAhoCorasick, Implementation
from numpy.typing import NDArray

from memories.search.term_marks import SIGN
from somamemory import deadline

# The maximum number of characters to search together. A longer text is searched alone.
_TOGETHER = 100_000
# If a block contains more occurrences than this, the texts after it are searched one by one. Otherwise, a text that
# repeats a term thousands of times would take 25 times as long.
_MANY = 5_000

# A text of at least LONG bytes is divided into passages of PASSAGE bytes, or about 40 terms. Each passage overlaps half
# of the next one. If a text has more than DIVIDED bytes, the rest of it is not divided.
LONG, PASSAGE, DIVIDED = 384, 256, 8_192
_SEARCHED = DIVIDED + 100  # characters; a term that begins before DIVIDED may end after it
_SPACE, _LINE_BREAK = b" \n"

Counts = NDArray[np.int64]


class Occurrences(NamedTuple):
    """How often each memory (row) contains each term (column).

    own: how often the memory's own text contains the term.
    context: how often its context contains the term.
    words: the number of words in each `terms` column, including the mark, or 0 if there are no terms to count.
    long: whether the memory's own text is divided into passages.
    passages: how often each of these passages contains the term. Passages without any term are left out.
    owners: the memory of each passage, in the order of the memories.
    """

    own: Counts
    context: Counts
    words: Counts
    long: NDArray[np.bool_]
    passages: Counts
    owners: Counts


def count(memories: Sequence[str], terms: Sequence[str], *, in_passages: bool = False) -> Occurrences:
    """Count the terms in the `terms` columns of memories.

    in_passages: whether to count them in the passages of long texts as well.
    """
    own, context = (np.zeros((len(memories), len(terms)), np.int64) for _ in range(2))
    words = np.zeros(len(memories), np.int64)
    long = np.zeros(len(memories), bool)
    passages, owners = [np.zeros((0, len(terms)), np.int64)], [np.zeros(0, np.int64)]
    one_by_one = False
    for rows in _blocks(memories) if terms else ():
        if one_by_one or len(memories[rows.start]) > _TOGETHER:
            for row in range(rows.start, rows.stop):
                own[row], context[row] = _in_text(memories[row], terms)
                words[row] = memories[row].count(" ") + 1
            found = _find([text[:_SEARCHED] for text in memories[rows]], tuple(terms)) if in_passages else None
        else:
            found = _find(memories[rows], tuple(terms))
            own[rows], context[rows] = found.counts()
            words[rows] = found.words
            one_by_one = bool(own[rows].sum() + context[rows].sum() > _MANY)
        if in_passages and found and found.lengths.max() >= LONG:
            deadline.check()
            long[rows] = found.lengths >= LONG
            of_passages, of = found.in_passages()
            passages.append(of_passages)
            owners.append(of + rows.start)
    return Occurrences(own, context, words, long, np.concatenate(passages), np.concatenate(owners))


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


class _Found(NamedTuple):
    """The occurrences of terms in texts that have been searched together.

    rows, columns, places: the text and the term of each occurrence, and the position in the text at which it begins.
    lengths: the length of each text in bytes, without its context.
    words: the number of words in each text, including its context.
    terms: the number of terms.
    """

    rows: Counts
    columns: Counts
    places: Counts
    lengths: Counts
    words: Counts
    terms: int

    def counts(self) -> tuple[Counts, Counts]:
        """Return how often each text, and each context, contains each term."""
        shape, cells = (len(self.lengths), self.terms), self.rows * self.terms + self.columns
        in_context = self.places > self.lengths[self.rows]
        if not in_context.any():
            return _counted(cells, *shape), np.zeros(shape, np.int64)
        return _counted(cells[~in_context], *shape), _counted(cells[in_context], *shape)

    def in_passages(self) -> tuple[Counts, Counts]:
        """Return how often each passage contains each term, and the text of each passage."""
        lengths = self.lengths[self.rows]
        chosen = np.flatnonzero((lengths >= LONG) & (self.places < np.minimum(lengths, DIVIDED)))
        rows, columns, half = self.rows[chosen], self.columns[chosen], self.places[chosen] * 2 // PASSAGE
        # An occurrence is in two passages: one begins in the same half, the other in the half before it.
        in_row = 2 * DIVIDED // PASSAGE + 1
        numbers = rows * in_row + half
        distinct, positions = np.unique(np.concatenate((numbers, numbers + 1)), return_inverse=True)
        cells = positions * self.terms + np.concatenate((columns, columns))
        return _counted(cells, len(distinct), self.terms), distinct // in_row


def _find(memories: Sequence[str], terms: tuple[str, ...]) -> _Found:
    # Every word has a space on both sides, and every text ends with a line break, which no word contains. Occurrences
    # of two adjacent terms overlap, because they share a space.
    together = (" " + " \n ".join(memories) + " \n").encode()
    characters = np.frombuffer(together, np.uint8)
    ends = np.flatnonzero(characters == _LINE_BREAK)
    starts = np.concatenate(([0], ends[:-1] + 1))
    spaces = np.add.reduceat((characters == _SPACE).view(np.uint8), starts, dtype=np.int64)
    found = _automaton(terms).find_matches_as_indexes(together, overlapping=True)
    columns, places = np.fromiter(chain.from_iterable(found), np.int64, 3 * len(found)).reshape(-1, 3).T[:2]
    rows = np.searchsorted(ends, places)
    places -= starts[rows]
    lengths = ends - starts - len("  ")
    is_mark = columns == len(terms)
    if is_mark.any():
        lengths[rows[is_mark]] = places[is_mark] - 1  # without the space before the mark
        rows, columns, places = rows[~is_mark], columns[~is_mark], places[~is_mark]
    return _Found(rows, columns, places, lengths, spaces - 1, len(terms))


def _counted(cells: Counts, rows: int, columns: int) -> Counts:
    return np.bincount(cells, minlength=rows * columns).reshape(rows, columns)


@lru_cache(maxsize=16)  # with a query of the maximum length, an automaton takes up 1 MB
def _automaton(terms: tuple[str, ...]) -> BytesAhoCorasick:
    """Return an automaton that finds the terms and, as the last pattern, the beginning of a mark."""
    patterns = [*(f" {term} ".encode() for term in terms), f" {SIGN}".encode()]
    return BytesAhoCorasick(patterns, implementation=Implementation.DFA)


def _in_text(memory: str, terms: Sequence[str]) -> tuple[list[int], list[int]]:
    # Without doubled spaces, `count` would miss one of two adjacent occurrences, because they share a space.
    own, _, context = f" {memory} ".replace(" ", "  ").partition(SIGN)
    padded = [f" {term} " for term in terms]
    return list(map(own.count, padded)), list(map(context.count, padded))

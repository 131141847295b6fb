"""Counting a query's terms in the `terms` columns of memories."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.search import occurrences

WORDS = st.sampled_from(["a", "b", "ab", "ba", "walrus", "snø", "海象"])
MARKS = st.sampled_from([[], ["§81"], ["§00§ada"], ["§11§ada§walrus"]])


@st.composite
def columns(draw: st.DrawFn) -> str:
    own, mark, context = draw(st.lists(WORDS, max_size=8)), draw(MARKS), draw(st.lists(WORDS, max_size=8))
    return " ".join([*own, *mark, *(context if mark else [])])


# Texts, terms, and limits that determine which texts are searched together: _TOGETHER and _MANY.
searches = given(
    st.lists(columns(), max_size=8),
    st.lists(WORDS, unique=True, max_size=4),
    st.sampled_from([1, 60, 100_000]),
    st.sampled_from([0, 3, 5_000]),
)


def counted_by_hand(column: str, term: str) -> tuple[int, int]:
    words = column.split(" ")
    mark = next((at for at, word in enumerate(words) if word.startswith("§")), len(words))
    return words[:mark].count(term), words[mark:].count(term)


@searches
def test_counts_are_the_same_as_by_hand_whether_texts_are_searched_together_or_alone(
    memories: list[str], terms: list[str], together: int, many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occurrences, "_TOGETHER", together)
        patch.setattr(occurrences, "_MANY", many)
        own, context, *_ = occurrences.count(memories, terms)
    wanted = [[counted_by_hand(column, term) for term in terms] for column in memories]
    assert own.tolist() == [[both[0] for both in row] for row in wanted]
    assert context.tolist() == [[both[1] for both in row] for row in wanted]


@searches
def test_words_are_counted_whether_texts_are_searched_together_or_alone(
    memories: list[str], terms: list[str], together: int, many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occurrences, "_TOGETHER", together)
        patch.setattr(occurrences, "_MANY", many)
        words = occurrences.count(memories, terms).words
    assert words.tolist() == [len(column.split(" ")) if terms else 0 for column in memories]


def test_texts_with_many_occurrences_are_counted_correctly() -> None:
    long = f"{'a ' * 20_000}§01 {'a b ' * 20_000}"
    own, context, *_ = occurrences.count(["b", long, "a", "a " * 9_000, "b a"], ["a", "b"])
    assert own.tolist() == [[0, 1], [20_000, 0], [1, 0], [9_000, 0], [1, 1]]
    assert context.tolist() == [[0, 0], [20_000, 20_000], [0, 0], [0, 0], [0, 0]]


def passages_by_hand(column: str, terms: list[str]) -> list[list[int]]:
    """Return the counts for each passage of a text that contains a term, in reading order."""
    own = column.partition("§")[0].rstrip().encode()
    counts: dict[int, list[int]] = {}
    at = 0
    for word in own.decode().split(" ") if len(own) >= occurrences.LONG else ():
        if word in terms and at < occurrences.DIVIDED:
            for passage in (half := at * 2 // occurrences.PASSAGE, half + 1):
                counts.setdefault(passage, [0] * len(terms))[terms.index(word)] += 1
        at += len(word.encode()) + 1
    return [counts[passage] for passage in sorted(counts)]


@searches
def test_passages_are_counted_as_by_hand_whether_texts_are_searched_together_or_alone(
    memories: list[str], terms: list[str], together: int, many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occurrences, "_TOGETHER", together)
        patch.setattr(occurrences, "_MANY", many)
        patch.setattr(occurrences, "LONG", 12)
        patch.setattr(occurrences, "PASSAGE", 8)
        patch.setattr(occurrences, "DIVIDED", 24)
        patch.setattr(occurrences, "_SEARCHED", 40)
        found = occurrences.count(memories, terms, in_passages=True)
        wanted = [(owner, counts) for owner, text in enumerate(memories) for counts in passages_by_hand(text, terms)]
    assert list(zip(found.owners.tolist(), found.passages.tolist(), strict=True)) == wanted
    assert set(found.owners.tolist()) <= set(np.flatnonzero(found.long).tolist())


def test_passages_are_counted_only_on_request() -> None:
    assert len(occurrences.count(["walrus " * 1_000], ["walrus"]).passages) == 0

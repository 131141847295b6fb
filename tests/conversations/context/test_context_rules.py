"""The rules for context assembly, without a database."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.context import rules, tokens
from conversations.context.rules import Candidate, Parts, Weights
from memories import coordinates
from memories.embeddings.base import Vectors

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def candidate(
    number: int, content: str | None = None, score: float = 0.5, length: int = 10, **more: object
) -> Candidate:
    made = Candidate(
        id=uuid.UUID(int=number),
        address=coordinates.encode([1.0, float(number)]),
        content=f"message {number}" if content is None else content,
        tokens=length,
        said_at=BEGINNING + timedelta(seconds=number),
        parts=Parts(),
        score=score,
    )
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "score"),
    [
        (Parts(), 0.0),
        (Parts(1, 1, 1, 1), 1.0),
        (Parts(relevance=1), 0.7),
        (Parts(importance=1), 0.1),
        (Parts(recency=0.5, label=1), 0.15),
    ],
)
def test_the_score_is_the_weighted_mean_of_its_parts(parts: Parts, score: float) -> None:
    assert rules.score(parts, Weights()) == pytest.approx(score)


def test_only_the_proportion_of_weights_matters() -> None:
    parts = Parts(0.3, 0.6, 0.1, 1)

    assert rules.score(parts, Weights(0.2, 0.4, 0.6, 0.8)) == pytest.approx(
        rules.score(parts, Weights(0.1, 0.2, 0.3, 0.4))
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Thanks, Mel!", "thanks mel", True),
        ("a  b\nc", "A b c.", True),
        ("no", "now", False),
        ("…", "…", True),
        ("?!", "!?", False),
    ],
)
def test_texts_are_the_same_without_case_punctuation_and_spacing(one: str, other: str, same: bool) -> None:
    assert (rules.normalized(one) == rules.normalized(other)) is same


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0301\uff9e", "\u0f73\u0301"])
def test_long_runs_of_combining_marks_are_compared_fast(marks: str) -> None:
    started = time.thread_time()

    assert rules.normalized("Tea" + marks * 30_000 + "!").startswith("te")
    assert time.thread_time() - started < 1


def test_the_better_of_two_duplicates_is_kept() -> None:
    best, copy, other = candidate(1, "Hello."), candidate(2, "hello"), candidate(3, "bye")

    kept, rejected = rules.Distinct(0.95).add([best, copy, other])

    assert kept == [best, other]
    assert [(item.candidate, item.reason, item.duplicate_of) for item in rejected] == [(copy, "duplicate", best.id)]


EAST, NEARLY_EAST, NORTH = np.array([1.0, 0.0]), np.array([30.0, 1.0]), np.array([0.0, 1.0])


@pytest.mark.parametrize(
    ("one", "other", "vector", "same"),
    [
        ("Thanks so much, Mel!", "Thank you, Mel", NEARLY_EAST, True),
        ("Thanks so much, Mel!", "Thank you, Mel", NORTH, False),
        ("The train leaves at 3", "The train leaves at 4", NEARLY_EAST, False),
        ("We meet Ada", "We meet", NEARLY_EAST, True),
        ("We meet", "We meet Ada", NEARLY_EAST, False),
        ("We meet", "And then?", NEARLY_EAST, False),
        ("Thanks so much, Mel!", "Thank you, Mel", np.zeros(2), False),
    ],
)
def test_close_vectors_are_duplicates_if_no_word_is_new(one: str, other: str, vector: Vectors, same: bool) -> None:
    kept, _ = rules.Distinct(0.95).add([candidate(1, one, vector=EAST), candidate(2, other, vector=vector)])

    assert len(kept) == (1 if same else 2)


def test_the_most_valuable_per_token_comes_first() -> None:
    long, short = candidate(1, score=0.6, length=90), candidate(2, score=0.6, length=30)

    assert rules.pack([long, short], 100) == ([short], [long])


def test_many_irrelevant_short_messages_do_not_outweigh_a_relevant_one() -> None:
    good = candidate(1, score=0.8, length=40)
    chatter = [candidate(number, score=0.3, length=4) for number in range(2, 12)]

    chosen, _ = rules.pack([*chatter, good], 40)

    assert chosen == [good]


def test_a_very_short_message_does_not_win_only_because_it_is_short() -> None:
    sentence, greeting = candidate(1, score=0.6, length=40), candidate(2, score=0.5, length=5)

    assert rules.pack([greeting, sentence], 40) == ([sentence], [greeting])


def test_a_smaller_message_still_fits_after_one_that_did_not() -> None:
    large, small = candidate(1, score=0.9, length=90), candidate(2, score=0.1, length=10)
    too_large = candidate(3, score=0.5, length=20)

    assert rules.pack([large, too_large, small], 100) == ([large, small], [too_large])


def test_a_message_is_cut_only_on_request() -> None:
    large = candidate(1, length=90)

    def cut(item: Candidate, most: int) -> Candidate:
        return replace(item, tokens=most, truncated=True)

    assert rules.pack([large], 50) == ([], [large])
    assert rules.pack([large], 50, cut)[0][0].truncated
    assert rules.pack([large], 5, cut) == ([], [large])  # not worth reading


def test_orders_are_by_score_or_by_time() -> None:
    items = [candidate(3, score=0.1), candidate(1, score=0.5), candidate(2, score=0.9)]

    assert [item.id.int for item in rules.in_order(items, "relevance")] == [2, 1, 3]
    assert [item.id.int for item in rules.in_order(items, "chronological")] == [1, 2, 3]


def test_the_fingerprint_differs_for_other_messages_versions_orders_and_questions() -> None:
    one, other = candidate(1), candidate(2)
    hashes = [
        rules.fingerprint("q", [one, other]),
        rules.fingerprint("q", [other, one]),
        rules.fingerprint("q", [one]),
        rules.fingerprint("r", [one, other]),
        rules.fingerprint("q", [replace(one, version=2), other]),
        rules.fingerprint("q", [replace(one, truncated=True), other]),
    ]

    assert len(set(hashes)) == len(hashes)
    assert hashes[0] == rules.fingerprint("q", [replace(one, said_at=BEGINNING, score=0.9), other])


messages = st.lists(st.tuples(st.text(max_size=200), st.floats(0, 1)), max_size=30)


@given(messages, st.integers(1, 300), st.booleans())
def test_a_context_never_has_more_tokens_than_its_budget(
    said: list[tuple[str, float]], budget: int, truncate: bool
) -> None:
    """The test counts the tokens in the returned texts."""
    lengths = tokens.count([text for text, _ in said])
    items = [candidate(n, text, score, lengths[n]) for n, (text, score) in enumerate(said)]

    def cut(item: Candidate, most: int) -> Candidate:
        beginning = tokens.cut(item.content, most)
        return replace(item, content=beginning, tokens=tokens.count([beginning])[0], truncated=True)

    chosen, left = rules.pack(items, budget, cut if truncate else None)

    assert sum(tokens.count([item.content for item in chosen])) <= budget
    assert {item.id for item in chosen} | {item.id for item in left} == {item.id for item in items}
    assert len(chosen) + len(left) == len(items)
    if not truncate:
        assert all(item in items for item in chosen)


@given(st.text(max_size=300), st.integers(0, 50))
def test_a_cut_text_is_a_beginning_within_its_tokens(text: str, most: int) -> None:
    beginning = tokens.cut(text, most)

    assert text.startswith(beginning)
    assert tokens.count([beginning])[0] <= most


def test_tokens_are_counted_by_a_tokenizer_and_not_estimated() -> None:
    assert tokens.count(["Hello world", "", "antidisestablishmentarianism"])[:2] == [2, 0]
    assert tokens.count(["x" * 400])[0] != 100


def days(*dates: int) -> frozenset[tuple[str, str]]:
    return frozenset(("a", f"2026-01-{date:02}") for date in dates)


def test_summaries_are_chosen_for_days_that_are_not_covered() -> None:
    known, fresh, month = candidate(1), candidate(2), candidate(3, length=30)
    covered = {known.id: days(1), fresh.id: days(2), month.id: days(1, 2, 3, 4, 5, 6, 7)}

    assert rules.covering([known, fresh, month], covered, days(1), 100) == [month]
    assert rules.covering([known, fresh, month], covered, days(1), 20) == [fresh]
    assert rules.covering([known, fresh, month], covered, days(1, 2), 20) == []


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sets(st.integers(1, 28), max_size=9)), max_size=12), st.integers(0, 99)
)
def test_summaries_stay_within_their_room_and_each_adds_a_day(made: list[tuple[int, set[int]]], room: int) -> None:
    summaries = [candidate(number, length=length) for number, (length, _) in enumerate(made)]
    covered = {item.id: days(*dates) for item, (_, dates) in zip(summaries, made, strict=True)}

    chosen = rules.covering(summaries, covered, [], room)

    assert sum(item.tokens for item in chosen) <= room
    seen: set[tuple[str, str]] = set()
    for item in chosen:
        assert covered[item.id] - seen
        seen |= covered[item.id]

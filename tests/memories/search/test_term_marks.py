"""Marks: the speakers and the fraction of questions in the `terms` column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.search import term_marks
from memories.search.analyzer import index_terms, terms
from memories.search.term_marks import Mark

TEXT = st.text(st.sampled_from("ab .?!:\n§"), max_size=60)


def mark(text: str, context: str = "", speakers: tuple[str, ...] = ()) -> Mark:
    return term_marks.read(index_terms(text, context, speakers))


@given(TEXT, TEXT, st.lists(TEXT, max_size=2))
def test_every_text_has_a_readable_mark(text: str, context: str, speakers: list[str]) -> None:
    result = mark(text, context, tuple(speakers))

    assert 0 <= result.questions <= 1
    assert (result.questions > 0) == ("?" in text)


@given(TEXT, TEXT, st.lists(TEXT, max_size=2))
def test_the_own_terms_of_a_memory_are_separate_from_its_context(text: str, context: str, speakers: list[str]) -> None:
    own = term_marks.own_terms(index_terms(text, context, speakers), bool(context))

    assert own == " ".join(terms(text)) or (own is None and not terms(context))


def test_the_own_terms_are_unknown_without_a_mark_before_the_context() -> None:
    assert term_marks.own_terms("boat red harbour", has_context=True) is None


def test_a_plain_text_has_no_mark() -> None:
    assert term_marks.SIGN not in index_terms("The boat is red.")
    assert mark("The boat is red.") == term_marks.NONE


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        ("Is it red?", 1),
        ("It is red. Is it?", 0.5),
        ("It is. It is. Is it?", 0.375),
        ("Really\uff1f", 1),
        ("It is!", 0),
    ],
)
def test_the_share_of_questions_is_marked(text: str, questions: float) -> None:
    assert mark(text).questions == questions


@pytest.mark.parametrize(
    ("text", "speaker"),
    [("Ada: yes", "ada"), ("Ada Byron: yes", "ada"), ("José: yes", "jose"), ("user: yes", "user")],
)
def test_the_name_before_a_colon_is_the_speaker(text: str, speaker: str) -> None:
    assert mark(text).speakers == {speaker}


@pytest.mark.parametrize("text", ["yes", "12:30 is late", "we met at the old pier: it rained", "http://x.test/ok"])
def test_other_text_before_a_colon_is_not_a_speaker(text: str) -> None:
    assert mark(text).speakers == frozenset()


def test_the_role_and_the_name_at_the_beginning_are_both_speakers() -> None:
    assert mark("Ada: yes", speakers=("user",)).speakers == {"user", "ada"}


def test_a_context_with_a_question_is_marked() -> None:
    assert mark("In May.", "When?").follows_question
    assert not mark("In May.", "I asked when.").follows_question

"""What the wording of a query says about the memory that answers it."""

from __future__ import annotations

import pytest

from memories.search import analyzer, marks
from memories.search.speech import FIRST_PERSON, NAMED, Wording


def added(query: str, text: str, *speakers: str) -> float:
    wording = Wording.of(query, analyzer.terms(query))
    return wording.speaker(marks.read(analyzer.index_terms(text, speakers=speakers)))


@pytest.mark.parametrize("query", ["What did Ada buy?", "what is ada's boat called"])
def test_what_the_named_speaker_said_counts_more(query: str) -> None:
    assert added(query, "Ada: a boat") == NAMED
    assert added(query, "Bob: a boat") == 0


@pytest.mark.parametrize("query", ["What did I buy?", "my boat", "the boat that was sold to me"])
def test_a_question_in_the_first_person_prefers_what_the_user_said(query: str) -> None:
    assert added(query, "a boat", "user") == FIRST_PERSON
    assert added(query, "a boat", "assistant") == 0


def test_other_questions_do_not_prefer_the_user() -> None:
    assert added("Which boat is in the mine?", "a boat", "assistant") == 0
    assert added("Which boat is it?", "a boat", "user") == 0

"""The wording of a query: which speakers get a higher score."""

from __future__ import annotations

import pytest

from memories.search import analyzer, term_marks
from memories.search.wording import FIRST_PERSON, NAMED, Wording


def speaker_score(query: str, text: str, *speakers: str) -> float:
    wording = Wording.of(query, analyzer.terms(query))
    return wording.speaker(term_marks.read(analyzer.index_terms(text, speakers=speakers)))


@pytest.mark.parametrize("query", ["What did Ada buy?", "what is ada's boat called"])
def test_memories_of_the_named_speaker_score_higher(query: str) -> None:
    assert speaker_score(query, "Ada: a boat") == NAMED
    assert speaker_score(query, "Bob: a boat") == 0


@pytest.mark.parametrize("query", ["What did I buy?", "my boat", "the boat that was sold to me"])
def test_a_question_in_the_first_person_prefers_memories_of_the_user(query: str) -> None:
    assert speaker_score(query, "a boat", "user") == FIRST_PERSON
    assert speaker_score(query, "a boat", "assistant") == 0


def test_other_questions_do_not_prefer_the_user() -> None:
    assert speaker_score("Which boat is in the mine?", "a boat", "assistant") == 0
    assert speaker_score("Which boat is it?", "a boat", "user") == 0

"""The wording of a query: which speakers get a higher score, and which words count less."""

from __future__ import annotations

import pytest

from memories.search import analyzer, relevance, term_marks
from memories.search.wording import FIRST_PERSON, NAMED, Wording, outside_questions
from tests.conftest import Api


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


# --- Statements and questions ------------------------------------------------------------------------------------


def minor(query: str) -> frozenset[str]:
    return outside_questions(query) - relevance.names(query)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("We meet tomorrow. What did Ada paint? I need a present!", {"meet", "tomorrow", "need", "present"}),
        ("We meet Ada tomorrow. What does she paint?", {"meet", "tomorrow"}),
        ("We paint tomorrow. What did Ada paint?", {"tomorrow"}),
        ('My boat is old. Who said "buy a boat?"', {"old"}),
        ("What did Ada paint? And where is it?", set()),
        ("What did Ada paint?", set()),
        ("What did Ada paint in Sept. 2023?", set()),
        ("What did Dr. Byron paint, e.g. for the kitchen of Mrs. Lovelace at 5 p.m. on Monday?", set()),
        ("i had tea. what did ada paint? i slept.", {"tea", "slept"}),
        ("Ada paints. The boat is old.", set()),
        ("I paint a boat. What is it?", set()),
        ("?", set()),
        ("", set()),
    ],
)
def test_words_outside_the_questions_count_less(query: str, terms: set[str]) -> None:
    assert minor(query) == terms


@pytest.mark.django_db
def test_a_question_outweighs_the_statement_before_it(api: Api) -> None:
    api.store("1", "a long day at the office")
    api.store("2", "Ada painted a boat on the lake")
    first, second = api.search("I had a long day at the office. What did Ada paint on the lake?")
    assert (first["coord"], second["coord"]) == ("2.0", "1.0")
    assert api.search("I had a long day at the office, what did Ada paint on the lake")[0]["coord"] == "1.0"


@pytest.mark.django_db
def test_keyword_searches_count_all_words_alike(api: Api) -> None:
    api.store("1", "a long day at the office")
    api.store("2", "Ada painted a boat on the lake")
    first, _ = api.search("I had a long day at the office. What did Ada paint?", mode="keyword")
    assert first["coord"] == "1.0"


@pytest.mark.django_db
def test_an_unrelated_statement_hardly_lowers_the_relevance(api: Api) -> None:
    api.store("1", "Ada painted a boat on the lake")
    [alone] = api.search("What did Ada paint on the lake?", mode="keyword")
    [stated] = api.search("My battery is empty. What did Ada paint on the lake?")
    [asked] = api.search("My battery is empty, what did Ada paint on the lake")
    assert alone["relevance"] > stated["relevance"] > asked["relevance"]

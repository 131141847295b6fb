"""Misspelled words in queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import assume, given
from hypothesis import strategies as st

from memories.search import analyzer, spelling
from tests.conftest import Api, drain, issue_key

WORDS = ("festival", "painting", "Caroline", "weather", "postgres", "accommodation", "necessary")


def corrected(query: str, namespaces: int = 1, **stored: int) -> str:
    """Return the query as corrected for memories that contain the stored words this often."""
    counts = {analyzer.terms(word)[0]: count for word, count in stored.items()}

    def count(terms: Sequence[str]) -> Mapping[str, int]:
        return {term: counts.get(term, 0) for term in terms}

    found = spelling.corrections(query, count(analyzer.query_terms(query)[0]), count, namespaces)
    return spelling.corrected(query, found)


@pytest.fixture
def festivals(api: Api) -> Api:
    api.store("1", "Caroline enjoyed the festival by the lake")
    api.store("2", "The weather by the lake was cold")
    api.store("3", "Melanie paints the lake")
    return api


def found(api: Api, query: str, **options: Any) -> list[str]:
    return [memory["coord"] for memory in api.search(query, **options)]


# --- Correcting a query ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["fetival", "fesetival", "festibal", "fetsival", "festivall", "festivasl"])
def test_one_typing_error_is_corrected(word: str) -> None:
    assert corrected(f"Who was at the {word}?", festival=1) == "Who was at the festival?"


@pytest.mark.parametrize("word", ["fstivla", "fesetivval", "gestival", "stival"])
def test_two_errors_and_a_wrong_first_letter_are_not_corrected(word: str) -> None:
    assert corrected(f"Who was at the {word}?", festival=1) == f"Who was at the {word}?"


def test_the_most_frequent_similar_word_is_used() -> None:
    assert corrected("the festiral", festival=1, festoral=0) == "the festival"
    assert corrected("my gardem", garden=2, garder=3) == "my garder"
    assert corrected("my gardem", garden=3, garder=2) == "my garden"


def test_a_word_that_a_memory_contains_is_not_corrected() -> None:
    assert corrected("Who was at the fesetival?", fesetival=1, festival=9) == "Who was at the fesetival?"


def test_a_word_in_the_dictionary_is_not_corrected() -> None:
    assert corrected("Who was at the station?", stations=0, nation=9, stating=4) == "Who was at the station?"


def test_british_and_american_spellings_match() -> None:
    assert corrected("What is my favourite colour?", favorite=1, color=1) == "What is my favorite color?"


def test_a_misspelled_stop_word_is_left_alone() -> None:
    assert corrected("where is thier house", thief=3, tier=2) == "where is thier house"


def test_capital_letters_are_kept() -> None:
    assert corrected("Where does Carolne live? CAROLNE!", caroline=4) == "Where does Caroline live? CAROLINE!"


@pytest.mark.parametrize(
    "part", ["fesetival_2", "fesetival's", "fesetival.py", "/fesetival", "me@fesetival", "x-fesetival", "fesetival2"]
)
def test_parts_of_identifiers_are_not_corrected(part: str) -> None:
    assert corrected(f"where is {part} now", festival=1) == f"where is {part} now"


@pytest.mark.parametrize(
    "query", ["¿Cuándo es el cumpleaños de mi hermana?", "Wann hat meine Schwester Geburtstag?", "Wo wohnt der Bruders"]
)
def test_other_languages_are_not_corrected(query: str) -> None:
    assert corrected(query, hermano=1, geburtstage=1, schwestern=1, bruder=1) == query


def test_names_do_not_make_a_query_foreign() -> None:
    assert corrected("Did Emi, Paola and Zeynep gardem?", garden=1) == "Did Emi, Paola and Zeynep garden?"


def test_three_words_of_a_query_are_corrected() -> None:
    query, right = "the paintimg at the fesetival and the gardem", "the painting at the festival and the garden"
    stored = {"painting": 1, "festival": 1, "garden": 1, "station": 1}
    assert corrected(query, **stored) == right
    assert corrected(f"{query} and the statiom", **stored) == f"{right} and the statiom"


@pytest.mark.parametrize(("namespaces", "words"), [(3, 3), (4, 2), (9, 1), (10, 0)])
def test_fewer_words_are_corrected_in_many_namespaces(namespaces: int, words: int) -> None:
    stored = {"painting": 1, "festival": 1, "garden": 1}
    query = "the paintimg at the fesetival and the gardem"
    right = [word for word in corrected(query, namespaces, **stored).split() if word in stored]
    assert len(right) == words


def test_long_queries_are_not_corrected() -> None:
    query = " ".join(f"{letter}pple" for letter in ascii_lowercase) + " fesetival"
    assert corrected(query, festival=1) == query


@given(st.sampled_from(WORDS), st.integers(1, 12), st.sampled_from(ascii_lowercase))
def test_every_single_error_after_the_first_letter_is_corrected(word: str, at: int, letter: str) -> None:
    assume(at < len(word))
    wrong_letter, additional = word[:at] + letter + word[at + 1 :], word[:at] + letter + word[at:]
    swapped = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    for wrong in (word[:at] + word[at + 1 :], wrong_letter, additional, swapped):
        if spelling._in_dictionary(wrong.lower()):
            assert corrected(f"where is the {wrong}", **{word: 1}) == f"where is the {wrong}"
        else:
            assert analyzer.terms(corrected(f"the {wrong}", **{word: 1})) == analyzer.terms(word)


@given(st.text(max_size=100))
def test_any_text_can_be_corrected(query: str) -> None:
    assert corrected(query) == query


# --- Searching ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_a_misspelled_query_has_the_same_results(festivals: Api, mode: str) -> None:
    drain()
    right = festivals.search("Who enjoyed the festival?", mode=mode)
    wrong = festivals.search("Who enjoyed the fesetival?", mode=mode)
    assert wrong == right != []


@pytest.mark.django_db
def test_a_similar_name_is_found_but_not_relevant(api: Api) -> None:
    api.store("1", "Anita likes tea")
    api.store("2", "Ben has a garden")
    [hit, *_] = api.search("What does Anika like?")
    assert hit["coord"] == "1.0"
    assert hit["relevance"] < 0.3 < api.search("What does Anita like?")[0]["relevance"]


@pytest.mark.django_db
def test_keyword_searches_are_literal(festivals: Api) -> None:
    assert found(festivals, "festival", mode="keyword") == ["1.0"]
    assert found(festivals, "fesetival", mode="keyword") == []


@pytest.mark.django_db
def test_a_misspelled_month_is_a_date(festivals: Api) -> None:
    festivals.store("4", "Melanie swam in the lake", metadata={"date": "2023-01-10"})
    festivals.store("5", "Melanie will stay until January", metadata={"date": "2024-06-01"})
    assert found(festivals, "What did Melanie do in Janury 2023?")[0] == "4.0"


@pytest.mark.django_db
def test_a_search_of_the_past_corrects_the_query(festivals: Api) -> None:
    then = timezone.now()
    festivals.patch("/memories/1", {"payload": {"text": "Caroline stayed at home"}})
    festivals.store("6", "The festival was cancelled")
    hits = festivals.search("Who enjoyed the fesetival?", as_of=then.isoformat())
    assert hits[0]["payload"]["text"] == "Caroline enjoyed the festival by the lake"


@pytest.mark.django_db
def test_only_words_of_the_searched_namespaces_are_used(festivals: Api) -> None:
    festivals.store("1", "Caroline stayed by the lake", namespace="other")
    [unknown] = festivals.search("the lake fesetival", namespace="other")
    [absent] = festivals.search("the lake zzzzzzzzz", namespace="other")
    assert unknown["score"] == pytest.approx(absent["score"], abs=0.1)
    assert found(festivals, "the fesetival")[0] == "1.0"


@pytest.mark.django_db
def test_another_tenants_words_are_not_used(festivals: Api, stranger: Api) -> None:
    stranger.store("1", "The lake was cold")
    before = [hit["score"] for hit in stranger.search("the cold fesetival", mode="hybrid")]
    festivals.store("7", "fesetivals, fesetiva")
    assert [hit["score"] for hit in stranger.search("the cold fesetival")] == before


@pytest.mark.django_db
def test_a_key_limited_to_a_user_corrects_with_that_users_words(api: Api) -> None:
    api.store("1", "the festival by the lake", user_id="ada")
    api.store("2", "the fesetival by the sea", user_id="ben")
    ada = Api(issue_key(api.tenant, ("read",), user_id="ada"), api.tenant)
    assert ada.search("the fesetival") == ada.search("the festival")

"""Phrases in queries that only address the assistant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.search import phrases
from tests.conftest import Api, drain

QUESTION = "What did Ada paint in July?"
LOWER = "what did Ada paint in July?"


@pytest.mark.parametrize(
    "opening",
    [
        "Hi! ",
        "Hey there, ",
        "Good morning. ",
        "ok great, thanks. ",
        "Thanks a lot for your help! ",
        "Quick question - ",
        "By the way, ",
        "Please tell me: ",
        "Could you please tell me: ",
        "Hello, can you remind me again: ",
        "I can't remember: ",
        "I don\u2019t know \u2013 ",
        "I need some help with this. ",
    ],
)
def test_an_opening_is_removed(opening: str) -> None:
    assert phrases.stripped(opening + QUESTION) == QUESTION


@pytest.mark.parametrize(
    "opening",
    [
        "hey, do you remember ",
        "Hi, I was wondering ",
        "I'm just curious ",
        "I'd like to know ",
        "Please let me know ",
        "Do you happen to know ",
        "could you kindly tell me ",
        "I forgot ",
        "Would you remind me again, please, ",
    ],
)
def test_an_opening_before_an_indirect_question_is_removed(opening: str) -> None:
    assert phrases.stripped(opening + LOWER) == LOWER


@pytest.mark.parametrize(
    "closing",
    [
        " Thanks!",
        " Thank you so much in advance.",
        ", thanks",
        " please",
        " Please help me!",
        " Do you know?",
        " Any ideas?",
        " Can you check?",
        " I don't remember.",
        " Could you tell me, please? Thanks a lot!",
    ],
)
def test_a_closing_is_removed(closing: str) -> None:
    assert phrases.stripped(QUESTION + closing) == QUESTION


def test_words_that_introduce_a_topic_are_removed() -> None:
    assert phrases.stripped("Tell me about the boat, please") == "the boat"
    assert phrases.stripped("Do you know if Ada paints?") == "Ada paints?"


@pytest.mark.parametrize(
    "query",
    [
        "I forgot my keys",
        "I can't remember faces",
        "Hello world in Python",
        "The Great Gatsby",
        "Great Britain",
        "Well water",
        "OK Computer",
        "Hi-fi system",
        "Thank you letters for the guests",
        "Who helped me?",
        "When did I say thank you?",
        "the words please and thanks",
        "Cool blue paint",
        "I wonder Woman",
        "What do you know about boats?",
        "Sorry seems to be the hardest word",
    ],
)
def test_other_uses_of_these_words_remain(query: str) -> None:
    assert phrases.stripped(query) == query


@pytest.mark.parametrize(
    "query", ["Thanks!", "Hello", "please", "Could you tell me?", "Hi, do you know what it is?", "", " "]
)
def test_a_query_that_has_no_other_content_is_unchanged(query: str) -> None:
    assert phrases.stripped(query) == query


@given(st.text(max_size=200))
def test_any_text_keeps_its_content(query: str) -> None:
    rest = phrases.stripped(query)
    assert rest == query or rest in query.replace("\u2019", "'")


@given(st.text("hi please,.!? thanks", max_size=400))
def test_nothing_is_removed_twice(query: str) -> None:
    once = phrases.stripped(query)
    assert len(phrases.stripped(once)) <= len(once) <= len(query)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_a_polite_question_has_the_same_results(api: Api, mode: str) -> None:
    for at, text in enumerate(("Ada painted a boat", "Thanks a lot for your help!", "Tell me about the lake")):
        api.store(str(at), text)
    drain()
    asked = api.search("What did Ada paint?", mode=mode)
    assert api.search("Hi! Could you please tell me: What did Ada paint? Thanks a lot!", mode=mode) == asked
    assert asked[0]["coord"] == "0.0"


@pytest.mark.django_db
def test_keyword_searches_match_the_words_of_such_phrases(api: Api) -> None:
    api.store("1", "Thanks for the boat")
    assert api.search("Ada paints, thanks!", mode="keyword")[0]["coord"] == "1.0"

"""The search analyzer: terms of texts and queries, and the text to embed."""

from __future__ import annotations

import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memories.search import analyzer, term_marks
from memories.search.analyzer import content_terms, embedding_text, index_terms, query_terms, terms

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates too


@given(ANY_TEXT)
def test_terms_are_clean_and_bounded_for_any_text(text: str) -> None:
    for term in terms(text):
        assert term.isalnum()
        assert 1 <= len(term) <= analyzer.MAX_TERM_LENGTH


@given(ANY_TEXT, ANY_TEXT)
def test_the_next_line_does_not_change_how_a_line_is_analysed(first: str, second: str) -> None:
    assert content_terms(f"{first}\n{second}") == content_terms(first) + content_terms(second)


@given(ANY_TEXT)
def test_a_query_is_analysed_like_a_text(text: str) -> None:
    assert query_terms(text)[0] == list(dict.fromkeys(terms(text)))[: analyzer.MAX_QUERY_TERMS]


@given(ANY_TEXT, ANY_TEXT)
@example("?", "")  # no terms, but a mark
def test_the_terms_column_can_be_split_back_into_terms(text: str, context: str) -> None:
    own = terms(text)
    more = terms(context)[: max(len(own), analyzer.MIN_CONTEXT_TERMS)]
    column = index_terms(text, context)
    assert [term for term in column.split(" ") if term and not term.startswith(term_marks.SIGN)] == own + more
    assert "  " not in column


@given(ANY_TEXT)
def test_composed_and_decomposed_text_have_the_same_terms(text: str) -> None:
    assert terms(unicodedata.normalize("NFC", text)) == terms(unicodedata.normalize("NFD", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café CAFÉ \uff43\uff41\uff46\uff45\u0301", ["cafe", "cafe", "cafe"]),
        ("Straße", ["strass"]),
        ("Ёлка и ёлка", ["елка", "и", "елка"]),
        ("ᾀ \u03b1\u0313\u0345 İz", ["\u03b1", "\u03b1", "iz"]),
        ("x² ½", ["x2", "1", "2"]),
        ("co\u00adoperation", ["cooper"]),
    ],
)
def test_case_accents_width_and_invisible_characters_are_folded(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize("text", ["painting", "paints", "Painted", "paint"])
def test_inflected_forms_share_a_term(text: str) -> None:
    assert terms(text) == ["paint"]


@pytest.mark.parametrize("apostrophe", ["'", "\u2019", "\u02bc", "\uff07"])
def test_a_possessive_is_the_word_itself(apostrophe: str) -> None:
    assert terms(f"Anna{apostrophe}s boat") == terms("Anna boat")


@pytest.mark.parametrize("text", ["Anna'll sail", "Anna'd sail", "who's Anna sail", "Anna don't sail"])
def test_contractions_leave_only_the_word_that_matters(text: str) -> None:
    assert terms(text) == ["anna", "sail"]


def test_an_apostrophe_within_a_name_does_not_split_it() -> None:
    assert terms("O'Neil") == terms("ONeil")


def test_punctuation_and_underscores_separate_words() -> None:
    assert terms("user_name=alpha;(beta)|gamma\x00delta") == ["user", "name", "alpha", "beta", "gamma", "delta"]


def test_stop_words_are_not_terms() -> None:
    assert terms("what did the cat do with it") == ["cat"]


@pytest.mark.parametrize("word", ["Will", "May", "US", "can"])
def test_words_that_are_also_names_are_terms(word: str) -> None:
    assert terms(word) == [word.lower()]


def test_a_text_of_stop_words_only_is_found_by_them() -> None:
    assert query_terms("to be or not to be") == (["to", "be", "or", "not"], True)
    assert set(query_terms("The Who")[0]) == set(terms("the who"))


def test_stop_words_only_have_no_content() -> None:
    assert content_terms("to be or not to be") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都", ["東京", "京都"]),
        ("猫", ["猫"]),
        ("iPhone手机 15", ["iphon", "手机", "15"]),
        ("서울시", ["서울", "울시"]),
        ("がか", ["がか"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
    ],
)
def test_scripts_without_spaces_become_pairs_of_characters(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_words_written_with_vowel_signs_stay_whole() -> None:
    assert len(terms("हिन्दी")) == 1


def test_an_endless_word_is_cut_and_still_found() -> None:
    word = "Ab1" * 1000
    assert terms(word) == ["ab1" * 21 + "a"] == query_terms(word)[0]


@pytest.mark.parametrize("text", ["", " \n", "?!", "_", "'", "🎉", "\ud800"])
def test_a_text_without_words_has_no_terms(text: str) -> None:
    assert terms(text) == []
    assert query_terms(text) == ([], True)


def test_a_text_gives_a_bounded_number_of_terms() -> None:
    assert len(terms("cat " * (analyzer.MAX_TERMS + 5))) == analyzer.MAX_TERMS


@given(st.text(alphabet="aé'\u2019.,_ -\n漢ガカ\u3099。\u0301ﬁ\uff07Ⅷｶﾞ한가=\u0338", max_size=60), st.integers(1, 12))
def test_a_text_that_is_analysed_in_pieces_has_the_same_terms(text: str, length: int) -> None:
    whole = terms(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyzer, "_PIECE_LENGTH", length)
        assert terms(text) == whole


def test_a_query_gives_its_first_distinct_terms() -> None:
    query = " ".join(f"w{number} w{number}" for number in range(100))
    assert query_terms(query) == ([f"w{number}" for number in range(64)], False)


def test_the_terms_column_holds_the_text_before_its_context() -> None:
    assert index_terms("Red boats", "blue boats") == "red boat §00 blue boat"


def test_the_terms_column_fits_into_a_tsvector_and_ends_with_a_whole_term() -> None:
    text = " ".join(f"{number:05}" + "я" * 40 for number in range(analyzer.MAX_TERMS))
    column = index_terms(text)
    assert analyzer.MAX_INDEXED_BYTES - 100 < len(column.encode()) <= analyzer.MAX_INDEXED_BYTES
    assert set(column.split(" ")) <= set(text.split(" "))


def test_a_long_run_of_combining_marks_takes_no_longer_than_a_long_word() -> None:
    text = "a" + "\u0315\u0300" * 100_000 + "b"
    started = time.thread_time()
    assert terms(text) == ["ab"]
    assert time.thread_time() - started < 1


def test_threads_stem_identically() -> None:
    words = [
        f"{stem}{suffix}" for stem in ("sail", "paint", "relat", "nation") for suffix in ("ing", "ed", "ional")
    ] * 50
    expected = [terms(word) for word in words]
    analyzer._stem.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(terms, words)) == expected


def test_a_memory_without_context_is_embedded_as_it_is() -> None:
    assert embedding_text("Anna: I sold the boat.") == "Anna: I sold the boat."


def test_the_context_is_embedded_after_the_text() -> None:
    assert embedding_text("Anna: Yes!", "Ben: Did you sell it?") == "Anna: Yes!\nBen: Did you sell it?"


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_context_never_outweighs_the_text_it_belongs_to(text: str, context: str) -> None:
    added = embedding_text(text, context).removeprefix(f"{text}\n")
    assert context.startswith(added)
    assert len(added) == min(len(context), max(len(text), analyzer.MIN_CONTEXT_LENGTH))

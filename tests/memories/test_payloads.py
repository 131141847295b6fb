"""Payloads: the words to index, merge patches, and numbers."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.payloads import MAX_TEXT_LENGTH, Decoder, decode, merge_patch, text_of

# --- Text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"text": "a"}, "a"),
        ({"content": "a"}, "a"),
        ({"summary": "a"}, "a"),
        ({"title": "a"}, "a"),
        ({"content": "d", "text": "c", "summary": "b", "title": "a"}, "a\nb\nc\nd"),
        ({"text": "a", "author": "not this"}, "a"),
        ({"author": "a", "tags": ["b", {"c": "d"}], "year": 5, "ok": True, "none": None}, "a\nb\nd"),
        ({"text": "  ", "author": "a"}, "a"),
        ({"text": 5, "author": "a"}, "a"),
        ({"text": ["inside a list"]}, "inside a list"),
        ({"text": {"text": "deep"}}, "deep"),
        ({"number": 1}, ""),
        ({}, ""),
        ({"a": " ", "b": "\n"}, ""),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "weather"}]}, ""),
        ({"role": "pilot", "name": "Ada"}, "Ada\npilot"),
    ],
)
def test_the_words_of_a_payload(payload, text):
    assert text_of(payload) == text


def test_the_text_is_bounded():
    assert len(text_of({"text": "x" * 100_000})) == MAX_TEXT_LENGTH


def test_many_strings_together_are_bounded():
    assert len(text_of({"list": ["word"] * 50_000})) == MAX_TEXT_LENGTH


def test_names_of_members_are_not_text():
    assert "secret" not in text_of({"secret": {"secret": "x"}})


# --- Merge patch -------------------------------------------------------------------------------------------------

# RFC 7396, appendix A: original, patch, result.
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), RFC_7396)
def test_a_merge_patch_does_what_rfc_7396_says(original, patch, result):
    assert merge_patch(original, patch) == result


def test_the_example_of_rfc_7396_section_3():
    original = {
        "title": "Goodbye!",
        "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"],
        "content": "This will be unchanged",
    }
    patch = {
        "title": "Hello!",
        "phoneNumber": "+01-123-456-7890",
        "author": {"familyName": None},
        "tags": ["example"],
    }
    assert merge_patch(original, patch) == {
        "title": "Hello!",
        "author": {"givenName": "John"},
        "tags": ["example"],
        "content": "This will be unchanged",
        "phoneNumber": "+01-123-456-7890",
    }


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(objects, objects)
def test_a_patch_leaves_its_target_and_itself_as_they_are(target, patch):
    before = json.dumps([target, patch])
    merge_patch(target, patch)
    assert json.dumps([target, patch]) == before


@given(objects, objects)
def test_a_patch_applied_twice_changes_nothing_more(target, patch):
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(objects)
def test_an_empty_patch_changes_nothing(target):
    assert merge_patch(target, {}) == target


# --- Numbers -----------------------------------------------------------------------------------------------------


def _decoded(text):
    return json.loads(text, cls=Decoder)


@pytest.mark.parametrize("number", [0, -1, 10**17, 10**18, 2**53 + 1, 2**63 - 1, -(2**63), 1 - 2**63])
def test_an_int64_stays_a_whole_number(number):
    assert _decoded(str(number)) == number
    assert type(_decoded(str(number))) is int


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**19, 10**300, -(10**300)])
def test_an_integer_beyond_int64_is_read_as_a_float(number):
    assert type(_decoded(str(number))) is float
    assert _decoded(str(number)) == float(number)


def test_1e300_is_read_back_from_all_its_digits():
    assert _decoded("1" + "0" * 300) == 1e300


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number) >= 2**63))
def test_every_large_float_is_read_back_exactly_from_its_digits(number):
    assert _decoded(format(int(number), "d")) == number
    assert math.isfinite(_decoded(format(int(number), "d")))


def test_the_decoder_reaches_every_depth():
    assert _decoded('{"a": [{"b": 9223372036854775808}]}') == {"a": [{"b": 9.223372036854775808e18}]}


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.just(1e300)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_the_fast_parser_reads_the_same_values(value, ascii):
    text = json.dumps(value, ensure_ascii=ascii)
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be stored
    assert repr(decode(text)) == repr(json.loads(text, cls=Decoder))


@pytest.mark.parametrize(
    "digits", ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "1" + "0" * 300]
)
def test_the_fast_parser_reads_integers_beyond_int64_as_floats(digits):
    assert repr(decode(f"[{digits}]")) == repr(json.loads(f"[{digits}]", cls=Decoder))

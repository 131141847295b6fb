"""The strict JSON parser: valid text is parsed exactly, and everything else is rejected."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.json import MAX_DEPTH, MAX_VALUES, parse
from somamemory.errors import InvalidInput, MalformedRequest, SomaError
from tests.conftest import Api, problem_of

INT64 = 1 << 63

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-INT64, INT64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


@settings(deadline=None)
@given(values, st.booleans())
def test_valid_json_is_parsed_unchanged(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(deadline=None)
@given(values)
def test_white_space_between_the_tokens_means_nothing(value: Any) -> None:
    assert parse(json.dumps(value, indent=2).encode()) == value


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with suppress(MalformedRequest, InvalidInput):
        parse(raw)


@settings(deadline=None)
@given(st.integers(min_value=INT64) | st.integers(max_value=-INT64 - 1))
def test_no_whole_number_beyond_64_bits_comes_in(number: int) -> None:
    with pytest.raises(InvalidInput):
        parse(str(number).encode())


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("template", ["%s", "[%s]", '{"a": {"b": %s}}'])
def test_nan_and_infinity_are_rejected_anywhere(template: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        parse((template % name).encode())


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400 + ".0", "1e" + "9" * 100])
def test_a_number_beyond_a_64_bit_float_is_refused(number: str) -> None:
    with pytest.raises(InvalidInput, match="64-bit float"):
        parse(number.encode())


@pytest.mark.parametrize("number", [str(INT64), str(-INT64 - 1), "9" * 100_000, "-" + "9" * 100_000])
def test_a_whole_number_beyond_64_bits_is_refused(number: str) -> None:
    with pytest.raises(InvalidInput, match="64-bit range"):
        parse(number.encode())


@pytest.mark.parametrize("number", [INT64 - 1, -INT64, 0])
def test_the_largest_whole_numbers_come_in_exactly(number: int) -> None:
    assert parse(str(number).encode()) == number


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"x": [{"twice": 1, "b": 2, "twice": 3}]}', "twice"),
        ('{"a": 1, "\\u0061": 1}', "a"),
        ('{"\\ud800": 1, "\\ud800": 1}', "?"),
    ],
)
def test_a_name_given_twice_in_an_object_is_rejected_by_name(text: str, field: str) -> None:
    with pytest.raises(InvalidInput, match="must not be given more than once") as refused:
        parse(text.encode())
    assert list(refused.value.fields) == [field]


def test_a_name_may_occur_in_several_objects() -> None:
    assert parse(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('"\\u0000"', "body"),
        ('{"payload": {"text": "a\\u0000"}}', "payload.text"),
        ('{"payload": {"a\\u0000": 1}}', "payload"),
        ('{"list": [1, ["x", "\\u0000"]]}', "list.1.1"),
    ],
)
def test_a_nul_is_rejected_with_its_location(text: str, field: str) -> None:
    with pytest.raises(InvalidInput, match="NUL") as refused:
        parse(text.encode())
    assert list(refused.value.fields) == [field]


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "\\udc00\\ud800", "a\\ud83d", "\\ud83dx\\ude00"])
def test_a_lone_surrogate_is_refused(escape: str) -> None:
    for text in (f'"{escape}"', f'{{"{escape}": 1}}', f'{{"a": ["{escape}"]}}'):
        with pytest.raises(InvalidInput, match="surrogate"):
            parse(text.encode())


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_taken_up_to_its_bound_and_no_deeper(opening: str, closing: str) -> None:
    def text(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    parse(text(MAX_DEPTH))
    with pytest.raises(InvalidInput, match="nested deeper than 32"):
        parse(text(MAX_DEPTH + 1))


@pytest.mark.parametrize("member", ["payload", "metadata"])
def test_a_memory_may_be_nested_as_deep_in_a_bulk_request_as_alone(api: Api, member: str) -> None:
    def memory(coord: str, depth: int) -> dict[str, Any]:
        return {"coord": coord, "payload": {}, member: json.loads('{"a":' * depth + "1" + "}" * depth)}

    deepest, deeper = MAX_DEPTH - 1, MAX_DEPTH
    assert api.post("/memories", memory("1", deepest)).status_code == 201
    problem_of(api.post("/memories", memory("1", deeper)), 422, field="body")

    response = api.post("/memories/bulk", {"items": [memory("2", deepest), memory("3", deepest)]})
    assert response.status_code == 200, response.content
    problem_of(api.post("/memories/bulk", {"items": [memory("2", deeper)]}), 422, field="body")


def test_only_the_items_of_the_body_may_be_as_deep_as_a_body() -> None:
    item = '{"a":[' * 16 + "1" + "]}" * 16

    parse(f'{{"items":[{item}]}}'.encode())
    for text in (f'{{"more":{{"items":[{item}]}}}}', f'{{"items":[[{item}]]}}', f'{{"items":[{{"items":[{item}]}}]}}'):
        with pytest.raises(InvalidInput, match="nested deeper than 32"):
            parse(text.encode())


@pytest.mark.parametrize("item", [b"1", b'"a,b"', b"[]", b'"\\\\"', b'"\\","'])
def test_a_body_may_contain_half_a_million_values(item: bytes) -> None:
    def listed(count: int) -> bytes:
        return b"[" + b",".join([item] * count) + b"]"

    assert len(parse(listed(MAX_VALUES))) == MAX_VALUES
    with pytest.raises(InvalidInput, match="more than 500,000 values"):
        parse(listed(MAX_VALUES + 1))


def test_the_commas_of_a_text_are_not_values() -> None:
    text = ',"\\' * MAX_VALUES
    assert parse(json.dumps({"text": text}).encode()) == {"text": text}


@pytest.mark.parametrize("raw", [nested(100_000), b"[" * 100_000, nested(100_000, '{"a":', "}"), nested(900)])
def test_very_deep_nesting_is_refused_and_nothing_breaks(raw: bytes) -> None:
    with pytest.raises(SomaError):
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"a"}',
        b'{"a": 1,}',
        b"[1,]",
        b"{'a': 1}",
        b"{a: 1}",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"1_000",
        b"0x10",
        b"nan",
        b"None",
        b"True",
        b'"\n"',
        b'"\\x41"',
        b'"\\u12"',
        b"// a comment\n1",
        b"1 2",
        b"{} {}",
        b"[1\x0c]",
        b"\xc2\xa01",
        b"\xef\xbb\xbf{}",
    ],
)
def test_invalid_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not valid JSON"):
        parse(raw)


@pytest.mark.parametrize("raw", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', "{}".encode("utf-16")])
def test_invalid_utf8_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not valid UTF-8"):
        parse(raw)


@pytest.mark.parametrize("digits", ["1e-400", "-2e-324", "0." + "0" * 400 + "1"])
def test_a_number_that_would_become_zero_is_refused(digits: str) -> None:
    with pytest.raises(InvalidInput):
        parse(b"[" + digits.encode() + b"]")


@pytest.mark.parametrize("digits", ["0e-400", "0.0", "-0.0", "5e-324", "0e9999999999999999999"])
def test_a_number_that_is_zero_or_just_fits_is_taken(digits: str) -> None:
    assert parse(b"[" + digits.encode() + b"]") == [float(digits)]

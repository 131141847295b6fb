"""Coordinates: equal numbers have the same address, keys sort like numbers, and regions are complete."""

from __future__ import annotations

import contextlib
import decimal
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memories import coordinates
from memories.coordinates import DIGITS_PER_NUMBER, MAX_DIMENSIONS, Ball, Box, Coordinate
from somamemory.errors import InvalidCoordinate

LARGEST = 1.7976931348623157e308
SMALLEST = 5e-324

numbers = st.floats(allow_nan=False, allow_infinity=False)
addresses = st.lists(numbers, min_size=1, max_size=MAX_DIMENSIONS).map(tuple)
# Small whole numbers, so that equal coordinates and prefixes are frequent.
close_addresses = st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=4).map(tuple)


@given(addresses)
@example((LARGEST, -LARGEST, SMALLEST, -SMALLEST, 0.0))
def test_a_key_gives_its_numbers_back(address):
    assert coordinates.of(address).numbers == address


@given(addresses)
def test_the_text_gives_the_same_address_back(address):
    coordinate = coordinates.of(address)
    assert coordinates.parse(coordinate.text) == coordinate


@given(addresses)
def test_the_text_is_the_repr_of_each_number_joined_by_commas(address):
    assert coordinates.of(address).text == ",".join(repr(number + 0.0) for number in address)


@given(st.one_of(addresses, close_addresses), st.one_of(addresses, close_addresses))
@example((-SMALLEST,), (0.0,))
@example((-1.0,), (-2.0,))
@example((1.0,), (1.0, -LARGEST))
def test_keys_are_in_the_order_of_the_coordinates(one, other):
    keys = coordinates.of(one).key, coordinates.of(other).key
    assert (keys[0] < keys[1]) == (one < other)
    assert (keys[0] == keys[1]) == (one == other)


@given(addresses)
def test_a_key_is_sixteen_lower_case_hex_digits_a_number(address):
    key = coordinates.of(address).key
    assert len(key) == DIGITS_PER_NUMBER * len(address)
    assert set(key) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,2,3", "1.0,2.0,3.0"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("+1", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("1E-3", "0.001"),
        ("0e-400", "0"),
        ("0e9999999999999999999", "0"),
        ("-0.0E-9999999999999999999", "0"),
        ("0.10000000000000000000", "0.1"),
        ("1152921504606846976", "1.152921504606847e18"),
        ("1e23", "1.0e+23"),
    ],
)
def test_equal_spellings_are_one_address(one, other):
    assert coordinates.parse(one) == coordinates.parse(other)


def test_minus_zero_is_zero():
    assert coordinates.of([-0.0]).text == "0.0"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ",",
            "1,",
            ",1",
            "1,,2",
            " ",
            "1 ,2",
            "1, 2",
            " 1",
            "1 ",
            "1\n",
            "\t1",
            "1;2",
            "x",
            "1.0.0",
            "--1",
            "+-1",
        ),
        *("1e-400", "-2e-324", "0." + "0" * 400 + "1"),  # not zero, and must not be treated as zero
        *("nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e", "e5", ".", "+", "0x10", "1_0", "1'0", "1d"),
        *("١", "１", "1٫5", "²", "1,٢", "−1", "1\u00a0", "\u20281", "1\0"),  # noqa: RUF001 - they only look like numbers
        ",".join(["1"] * 33),
        "1" * 3000,
        "0." + "0" * 3000,
    ],
)
def test_a_bad_spelling_is_refused(text):
    with pytest.raises(InvalidCoordinate, match="coordinate"):
        coordinates.parse(text)


@given(st.text(max_size=12))
def test_text_is_an_address_or_is_refused(text):
    try:
        coordinate = coordinates.parse(text)
    except InvalidCoordinate:
        return
    assert set(text) <= set("0123456789+-.eE,")
    assert all(map(math.isfinite, coordinate.numbers))


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf], [1, -math.inf], [1.0] * 33, [10**400], [-(10**309)]])
def test_bad_numbers_are_refused(values):
    with pytest.raises(InvalidCoordinate, match="coordinate"):
        coordinates.of(values)


@pytest.mark.parametrize(
    "text",
    [
        *("9007199254740993", "-9007199254740993", "9007199254740993.0", "1,9007199254740993", "1234567890123456800"),
        *(
            "0.10000000000000001",
            "0.1000000000000000001",
            "9007199254740993e0",
            "100000000000000000000001",
            "1.2345e-320",
        ),
    ],
)
def test_a_number_that_float64_would_round_is_refused(text):
    with pytest.raises(InvalidCoordinate, match="use at most 15 significant digits"):
        coordinates.parse(text)
    with pytest.raises(InvalidCoordinate, match="use at most 15 significant digits"):
        Box.parse(f"{text};{text}")


@given(st.integers(-(10**30), 10**30), st.integers(-3, 3))
@example(9007199254740993, -1)
@example(1234567890123456768, 1)
def test_two_different_whole_numbers_are_never_one_address(number, difference):
    for read in (lambda value: coordinates.of([value]), lambda value: coordinates.parse(str(value))):
        found: dict[Any, int] = {}
        for value in (number, number + difference):
            with contextlib.suppress(InvalidCoordinate):
                assert found.setdefault(read(value), value) == value


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 30))
@example(decimal.Decimal("9007199254740993.0"), 17)
def test_an_accepted_number_is_the_number_of_the_text(number, digits):
    text = f"{number:.{digits}e}"
    try:
        stored = coordinates.parse(text)
    except InvalidCoordinate:
        return
    assert decimal.Decimal(stored.text) == decimal.Decimal(text)


def test_thirty_two_numbers_are_an_address():
    assert len(coordinates.parse(",".join(["1"] * 32)).numbers) == 32


@given(close_addresses, close_addresses)
def test_the_range_of_a_prefix_is_exactly_its_subtree(prefix, address):
    low, high = coordinates.of(prefix).subtree
    assert (low <= coordinates.of(address).key < high) == (address[: len(prefix)] == prefix)


@given(addresses, st.lists(numbers, max_size=3).map(tuple))
def test_every_coordinate_below_a_prefix_is_in_its_range(prefix, more):
    low, high = coordinates.of(prefix).subtree
    assert low <= coordinates.of((prefix + more)[:MAX_DIMENSIONS]).key < high


@given(numbers, numbers)
def test_a_range_of_a_prefix_holds_no_neighbour(prefix, other):
    low, high = coordinates.of([prefix]).subtree
    assert (low <= coordinates.of([other]).key < high) == (prefix == other)


# --- Regions -----------------------------------------------------------------------------------------------------

pairs = st.tuples(numbers, numbers)
triples = st.integers(1, 4).flatmap(
    lambda size: st.tuples(*[st.lists(numbers, min_size=size, max_size=size).map(tuple)] * 3)
)


def _in_key_ranges(box: Box, coordinate: Coordinate) -> bool:
    digits = [coordinate.key[at : at + DIGITS_PER_NUMBER] for at in range(0, len(coordinate.key), DIGITS_PER_NUMBER)]
    return all(low <= part <= high for (low, high), part in zip(box.key_ranges, digits, strict=True))


@given(triples)
def test_a_box_contains_the_points_between_its_corners(sample):
    one, other, address = sample
    box = Box.parse(f"{coordinates.of(one)};{coordinates.of(other)}")
    low, high, point = (np.array(values) for values in (np.minimum(one, other), np.maximum(one, other), address))
    assert _in_key_ranges(box, coordinates.of(address)) == bool(np.all((low <= point) & (point <= high)))


@given(triples)
def test_both_corners_belong_to_a_box(sample):
    one, other, _ = sample
    box = Box.parse(f"{coordinates.of(other)};{coordinates.of(one)}")
    assert _in_key_ranges(box, coordinates.of(one))
    assert _in_key_ranges(box, coordinates.of(other))


@pytest.mark.parametrize("text", ["", "1", "1;", ";1", "1;2;3", "1,2;3", "1;nan", "1 ;2"])
def test_a_bad_box_is_refused(text):
    with pytest.raises(InvalidCoordinate, match=r"coordinate|box"):
        Box.parse(text)


moderate = st.floats(-1e6, 1e6)


@given(st.integers(1, 5).flatmap(lambda size: st.tuples(*[st.lists(moderate, min_size=size, max_size=size)] * 2)))
def test_a_distance_is_the_euclidean_one(sample):
    centre, address = sample
    wanted = float(np.linalg.norm(np.array(centre) - np.array(address)))
    assert Ball(coordinates.of(centre), 1.0).distance(coordinates.of(address).key) == pytest.approx(wanted)


@given(triples, st.floats(0, 1e100))
@example(((1.0,), (2.0,), (1.0,)), 0.0)
@example(((LARGEST,), (1.0,), (LARGEST,)), 1e100)
@example(((2.0**53,), (0.0,), (-1.0,)), 2.0**53)  # 2**53 + 1 away, which is rounded to 2**53
@example(((SMALLEST,), (0.0,), (0.0,)), SMALLEST)
def test_the_bounds_of_a_ball_lose_no_point_of_it(sample, radius):
    centre, _, address = sample
    ball, coordinate = Ball(coordinates.of(centre), radius), coordinates.of(address)
    if ball.distance(coordinate.key) <= radius:
        assert _in_key_ranges(ball.bounds(), coordinate)


@given(st.lists(moderate, min_size=2, max_size=2), st.floats(0, 10), st.floats(0, 2 * math.pi), st.floats(0, 1))
def test_the_bounds_hold_points_made_inside_the_ball(centre, radius, angle, share):
    point = coordinates.of([centre[0] + share * radius * math.cos(angle), centre[1] + share * radius * math.sin(angle)])
    ball = Ball(coordinates.of(centre), radius)
    if ball.distance(point.key) <= radius:
        assert _in_key_ranges(ball.bounds(), point)


def test_a_distance_beyond_float64_is_infinite_and_no_error():
    assert Ball(coordinates.of([LARGEST]), 1.0).distance(coordinates.of([-LARGEST]).key) == math.inf


def test_keys_are_in_the_order_of_numbers_not_of_digits():
    spelled = ["1", "1,-5", "1,-0.5", "1,0", "1,0,1", "1,2", "1,10", "2", "10"]
    keys = [coordinates.parse(text).key for text in spelled]
    assert all(before < after for before, after in pairwise(keys))

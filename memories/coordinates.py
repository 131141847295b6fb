"""Coordinates: the addresses of memories. Pure.

A coordinate is 1 to 32 finite float64 numbers. Its *text* (`1.0,2.0,3.0`) is for people, its *key* for the
database: each number as 16 hex digits whose order as text is the order of the numbers, concatenated. One unique
index over the key thus serves the exact address, the subtree below a prefix, and ordered listing.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from somamemory.errors import InvalidCoordinate

MAX_DIMENSIONS = 32
DIGITS_PER_NUMBER = 16
# No key has a digit above "f": every key below a prefix sorts before prefix + "g".
_AFTER_EVERY_DIGIT = "g"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_MAX_TEXT = 2048
_SIGN_BIT = 1 << 63
_ALL_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True, order=True)
class Coordinate:
    """A validated address. Create one with `parse`, `of` or `from_key`."""

    key: str

    @property
    def numbers(self) -> tuple[float, ...]:
        return tuple(decode(self.key))

    @property
    def text(self) -> str:
        return ",".join(map(repr, self.numbers))

    @property
    def subtree(self) -> tuple[str, str]:
        """Half-open range of keys: this address and everything below it."""
        return self.key, self.key + _AFTER_EVERY_DIGIT

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Coordinate:
    """`"1,2.5"` → Coordinate. Raises InvalidCoordinate."""
    if len(text) > _MAX_TEXT:
        raise InvalidCoordinate(f"a coordinate has at most {_MAX_TEXT} characters")
    parts = text.split(",")
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise InvalidCoordinate(f"a coordinate is 1 to {MAX_DIMENSIONS} decimal numbers joined by commas")
    return of(map(_float, parts))


def of(numbers: Iterable[float]) -> Coordinate:
    """Finite numbers → Coordinate. Raises InvalidCoordinate."""
    values = list(numbers)
    if not 1 <= len(values) <= MAX_DIMENSIONS:
        raise InvalidCoordinate(f"a coordinate has 1 to {MAX_DIMENSIONS} numbers, this one has {len(values)}")
    try:
        floats = [float(value) for value in values]
    except OverflowError:
        raise InvalidCoordinate("the numbers of a coordinate must fit a 64-bit float") from None
    if not all(map(math.isfinite, floats)):
        raise InvalidCoordinate("the numbers of a coordinate must be finite (no NaN, no infinity)")
    return Coordinate(encode(floats))


def from_key(key: str) -> Coordinate:
    return Coordinate(key)


def _float(digits: str) -> float:
    """Return the number. Raises InvalidCoordinate if it underflows to zero, which is another address."""
    number = float(digits)
    if not number and re.search("[1-9]", digits.lower().partition("e")[0]):
        raise InvalidCoordinate("the numbers of a coordinate must fit a 64-bit float; one is too small")
    return number


def encode(numbers: Sequence[float]) -> str:
    """Floats → the order-preserving key. IEEE 754: flip all bits of a negative, the sign bit of the others."""
    return "".join(f"{_sortable(number):016x}" for number in numbers)


def decode(key: str) -> list[float]:
    """The inverse of `encode`."""
    digits = (key[at : at + DIGITS_PER_NUMBER] for at in range(0, len(key), DIGITS_PER_NUMBER))
    return [_from_sortable(int(word, 16)) for word in digits]


def _sortable(number: float) -> int:
    bits: int = struct.unpack(">Q", struct.pack(">d", number + 0.0))[0]  # + 0.0 turns -0.0 into 0.0
    return bits ^ _ALL_BITS if bits & _SIGN_BIT else bits | _SIGN_BIT


def _from_sortable(word: int) -> float:
    bits = word ^ _SIGN_BIT if word & _SIGN_BIT else word ^ _ALL_BITS
    number: float = struct.unpack(">d", struct.pack(">Q", bits))[0]
    return number


@dataclass(frozen=True)
class Box:
    """An axis-parallel region, both corners included; holds coordinates with as many numbers as its corners."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Box:
        """`"0,0;1,1"` → Box. Raises InvalidCoordinate."""
        corners = [parse(corner).numbers for corner in text.split(";")]
        if len(corners) != 2 or len(corners[0]) != len(corners[1]):
            raise InvalidCoordinate("a box is two coordinates with as many numbers each, joined by a semicolon")
        return cls(tuple(map(min, *corners)), tuple(map(max, *corners)))

    @cached_property
    def key_ranges(self) -> list[tuple[str, str]]:
        """For each number of the coordinate, the inclusive range of its 16 digits."""
        return [(encode([low]), encode([high])) for low, high in zip(self.low, self.high, strict=True)]


@dataclass(frozen=True)
class Ball:
    """The region within `radius` of `centre`, by Euclidean distance."""

    centre: Coordinate
    radius: float

    def bounds(self) -> Box:
        """Return the smallest box around the ball, rounded outwards so that it contains every point of it.

        The ball contains a point by its `distance`, which may have been rounded down to the radius.
        """
        numbers = self.centre.numbers
        reach = math.nextafter(self.radius * (1 + 4 * sys.float_info.epsilon), math.inf)
        return Box(
            tuple(_finite(math.nextafter(number - reach, -math.inf)) for number in numbers),
            tuple(_finite(math.nextafter(number + reach, math.inf)) for number in numbers),
        )

    def distance(self, key: str) -> float:
        """Euclidean distance from the centre; scaled (`math.dist`), so that it neither over- nor underflows early."""
        return math.dist(self.centre.numbers, decode(key))


def _finite(number: float) -> float:
    largest = 1.7976931348623157e308
    return max(-largest, min(largest, number))

"""Coordinates, the addresses of memories. This module is pure: it does no I/O.

A coordinate consists of 1 to 32 finite float64 numbers. Its *text* (`1.0,2.0,3.0`) is for people. Its *key* is for the
database: each number is encoded as 16 hex digits whose text order is the numerical order, and all digits are
concatenated. A single unique index on the key therefore supports exact lookups, subtrees below a prefix, and ordered
lists. A number that float64 cannot hold is rejected, because rounding it would merge two addresses.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache

from somamemory.errors import InvalidCoordinate

MAX_DIMENSIONS = 32
DIGITS_PER_NUMBER = 16
# No key contains a digit greater than "f", so every key below a prefix sorts before prefix + "g".
_AFTER_EVERY_DIGIT = "g"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_MAX_TEXT = 2048
_ALWAYS_EXACT_DIGITS = 15  # float64 distinguishes all normal numbers of this length
_SIGN_BIT = 1 << 63
_ALL_BITS = (1 << 64) - 1


class RoundedFloat(float):
    """A float that differs from the decimal number from which it was parsed: see `survives`."""


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
        """Return the half-open range of keys for this address and everything below it."""
        return self.key, self.key + _AFTER_EVERY_DIGIT

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Coordinate:
    """Parse text such as `"1,2.5"` into a coordinate. Raises InvalidCoordinate if the text is not valid."""
    if len(text) > _MAX_TEXT:
        raise InvalidCoordinate(f"a coordinate must have at most {_MAX_TEXT} characters")
    parts = text.split(",")
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise InvalidCoordinate(f"a coordinate must be 1 to {MAX_DIMENSIONS} decimal numbers separated by commas")
    return of(map(_float, parts))


def of(numbers: Iterable[float]) -> Coordinate:
    """Create a coordinate. Raises InvalidCoordinate if there are too few or too many numbers, or not all are finite."""
    values = list(numbers)
    if not 1 <= len(values) <= MAX_DIMENSIONS:
        raise InvalidCoordinate(f"a coordinate must have 1 to {MAX_DIMENSIONS} numbers, not {len(values)}")
    try:
        floats = [_exact(value) for value in values]
    except OverflowError:
        raise InvalidCoordinate("coordinate numbers must fit in a 64-bit float") from None
    if not all(map(math.isfinite, floats)):
        raise InvalidCoordinate("coordinate numbers must be finite (not NaN or infinity)")
    return Coordinate(encode(floats))


def from_key(key: str) -> Coordinate:
    return Coordinate(key)


def survives(digits: str, number: float) -> bool:
    """Return whether a decimal number keeps its value when it is converted to the float64 `number`.

    A whole number without an exponent must be exact, since programs use such numbers as ids. Any other number must
    equal the shortest decimal that identifies the float64, which is how JSON and Python write it.
    """
    if len(digits) <= _ALWAYS_EXACT_DIGITS and abs(number) >= sys.float_info.min:
        return True
    if not number:  # Decimal does not accept every exponent for zero
        return is_zero(digits)
    written = Decimal(digits)
    if "e" not in digits.lower() and written == written.to_integral_value():
        return written == Decimal(number)
    return written == Decimal(repr(number))


def is_zero(digits: str) -> bool:
    """Return whether a decimal number is zero, whatever its exponent."""
    return not any(digit in "123456789" for digit in digits.lower().partition("e")[0])


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isinf(number) or survives(digits, number) else RoundedFloat(number)


def _exact(value: float) -> float:
    """Return the value as a float. Raises InvalidCoordinate if float64 cannot hold it."""
    number = float(value)
    if isinstance(value, RoundedFloat) and not number:
        raise InvalidCoordinate("coordinate numbers must fit in a 64-bit float; one is too close to zero")
    if isinstance(value, RoundedFloat) or (isinstance(value, int) and int(number) != value):
        raise InvalidCoordinate(
            f"coordinate numbers must be exactly representable as 64-bit floats, but one would be rounded to "
            f"{number!r}; use at most {_ALWAYS_EXACT_DIGITS} significant digits, or split the number into several"
        )
    return number


def encode(numbers: Sequence[float]) -> str:
    """Encode numbers as an order-preserving key.

    IEEE 754: flip all bits of a negative number, and only the sign bit of other numbers.
    """
    return "".join(f"{_sortable(number):016x}" for number in numbers)


def decode(key: str) -> list[float]:
    """Decode a key into its numbers. This is the inverse of `encode`."""
    return [_decoded(key[at : at + DIGITS_PER_NUMBER]) for at in range(0, len(key), DIGITS_PER_NUMBER)]


def last_number(key: str) -> float:
    """Return the last number of the coordinate with this key."""
    return _decoded(key[-DIGITS_PER_NUMBER:])


def with_last_number(key: str, number: float) -> str:
    """Return the key of the same coordinate with its last number replaced."""
    return key[:-DIGITS_PER_NUMBER] + _encoded(number)


# Conversions are cached, because a search converts the last numbers of its candidates and their neighbours several
# times.
@lru_cache(10_000)
def _decoded(digits: str) -> float:
    return _from_sortable(int(digits, 16))


@lru_cache(10_000)
def _encoded(number: float) -> str:
    return f"{_sortable(number):016x}"


def _sortable(number: float) -> int:
    bits: int = struct.unpack(">Q", struct.pack(">d", number + 0.0))[0]  # + 0.0 turns -0.0 into 0.0
    return bits ^ _ALL_BITS if bits & _SIGN_BIT else bits | _SIGN_BIT


def _from_sortable(word: int) -> float:
    bits = word ^ _SIGN_BIT if word & _SIGN_BIT else word ^ _ALL_BITS
    number: float = struct.unpack(">d", struct.pack(">Q", bits))[0]
    return number


@dataclass(frozen=True)
class Box:
    """An axis-parallel box, including its boundary.

    It contains only coordinates with the same number of dimensions as its corners.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Box:
        """Parse text such as `"0,0;1,1"` into a box. Raises InvalidCoordinate if the text is not valid."""
        corners = [parse(corner).numbers for corner in text.split(";")]
        if len(corners) != 2 or len(corners[0]) != len(corners[1]):
            raise InvalidCoordinate("a box must be two coordinates of the same length, separated by a semicolon")
        return cls(tuple(map(min, *corners)), tuple(map(max, *corners)))

    @cached_property
    def key_ranges(self) -> list[tuple[str, str]]:
        """Return, for each number of a coordinate, the inclusive range of its 16 hex digits."""
        return [(encode([low]), encode([high])) for low, high in zip(self.low, self.high, strict=True)]


@dataclass(frozen=True)
class Ball:
    """The region within `radius` of `centre`, by Euclidean distance."""

    centre: Coordinate
    radius: float

    def bounds(self) -> Box:
        """Return the smallest box that contains every point of the ball, rounded outwards.

        A point belongs to the ball if its `distance`, which may be rounded down, is at most the radius.
        """
        numbers = self.centre.numbers
        reach = math.nextafter(self.radius * (1 + 4 * sys.float_info.epsilon), math.inf)
        return Box(
            tuple(_finite(math.nextafter(number - reach, -math.inf)) for number in numbers),
            tuple(_finite(math.nextafter(number + reach, math.inf)) for number in numbers),
        )

    def distance(self, key: str) -> float:
        """Return the Euclidean distance between the centre and the coordinate with this key.

        `math.dist` scales its input, so it does not overflow or underflow early.
        """
        return math.dist(self.centre.numbers, decode(key))


def _finite(number: float) -> float:
    largest = 1.7976931348623157e308
    return max(-largest, min(largest, number))

"""Compare numbers by their exact decimal value.

The value of a number is the decimal number in its JSON text, as in PostgreSQL's jsonb. SQLite stores the same text but
reads it as a float, which changes some values: 1.152921504606847e+18, the JSON text of 2.0**60, becomes
1152921504606846976 instead of 1152921504606847000. The functions in this module return operands for which SQLite's
comparisons are nevertheless correct.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeAlias

Number: TypeAlias = int | float
INT64 = 1 << 63


def numbers_in(operands: Iterable[object]) -> list[Number]:
    return [value for value in operands if isinstance(value, int | float) and not isinstance(value, bool)]


def decimal_of(number: Number) -> Decimal:
    return Decimal(repr(number))


def whole_of(number: Number) -> int | None:
    """Return the int64 that equals the number, or None if there is none."""
    exact = decimal_of(number)
    return int(exact) if -INT64 <= exact < INT64 and exact == exact.to_integral_value() else None


def place_among_ints(number: Number) -> Number:
    """Return a number that compares with every int64 in the same way as the given number.

    For example, -2.0**63 is written as -9.223372036854776e+18 in JSON, which is less than every int64.
    """
    if abs(decimal_of(number)) > INT64:
        return math.copysign(math.inf, number)
    whole = whole_of(number)
    return number if whole is None else whole


def nearest_float(number: Number, *, up: bool) -> float:
    """Round a number up (if `up`) or down (otherwise) to the nearest float, comparing decimal values."""
    near = float(number)
    if up and decimal_of(near) < decimal_of(number):
        return math.nextafter(near, math.inf)
    if not up and decimal_of(near) > decimal_of(number):
        return math.nextafter(near, -math.inf)
    return near

"""Strict JSON parsing and fast JSON output.

Python's parser accepts NaN, 1e400, duplicate keys, NUL and lone surrogates. A database would reject them or, worse,
store them. This module rejects them before they reach the rest of the code. A number with more digits than a float64
can hold is rounded, as in other JSON parsers. Coordinates are an exception, because rounding would merge two addresses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import orjson
from django.http import HttpRequest, HttpResponse
from ninja.parser import Parser

from memories.coordinates import RoundedFloat, is_zero, survives
from somamemory.errors import InvalidInput, MalformedRequest, UnsupportedMediaType

JsonObject = dict[str, object]

MAX_DEPTH = 32
MAX_VALUES = 500_000  # limited because parsing blocks all other threads
# The response from a URL depends on the key and the tenant, so a shared cache must not reuse it for another caller.
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key, X-Tenant, X-Soma-Tenant"}
_INT64 = 1 << 63
_MAX_DIGITS = 19
_COORDINATES = frozenset(("coord", "coords", "from_coord", "to_coord", "prefix", "near"))


class _NumberRounded(Exception):
    """Raised if a float64 cannot represent a number exactly. The text is parsed again to find where the number is."""


def parse(raw: bytes) -> Any:
    """Parse JSON text.

    Raises MalformedRequest if it is not JSON in UTF-8, and InvalidInput for NaN and infinities, numbers outside the
    range of float64 and int64, duplicate keys, NUL, lone surrogates, nesting deeper than 32 levels, and more than
    500,000 values. Each object in a list in the body, such as an item of a bulk request, may itself have up to 32
    levels, because another route may accept the same object as its body.
    """
    if _has_too_many_values(raw):
        raise InvalidInput("body", f"must not contain more than {MAX_VALUES:,} values; send several requests")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not valid UTF-8") from None
    rounded = False
    try:
        try:
            value = _decoder.decode(text)
        except _NumberRounded:
            rounded, value = True, _rounding_decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not valid JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidInput("body", f"must not be nested deeper than {MAX_DEPTH} levels") from None
    _check(value, "body", MAX_DEPTH)
    return _rounded_only_in_coordinates(value) if rounded else value


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        media_type, _, parameters = request.META.get("CONTENT_TYPE", "").lower().partition(";")
        if media_type.strip() != "application/json":
            raise UnsupportedMediaType("send the body with Content-Type: application/json")
        if "charset" in parameters and "utf-8" not in parameters and "utf8" not in parameters:
            raise UnsupportedMediaType("send JSON encoded as UTF-8")
        return parse(request.body)


def refuse_body(request: HttpRequest) -> None:
    """Raise InvalidInput if a request has a body that its route does not accept. An empty object is allowed."""
    if request.body and StrictParser().parse_body(request) != {}:
        raise InvalidInput("body", "must be empty on this route")


def reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON response that shared caches may not store."""
    content = orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return HttpResponse(content, status=status, content_type="application/json", headers={**PRIVATE, **(headers or {})})


def _has_too_many_values(raw: bytes) -> bool:
    """Return whether there are more than MAX_VALUES values, based on the number of commas outside strings."""
    if len(raw) <= MAX_VALUES or np.count_nonzero(np.frombuffer(raw, np.uint8) == ord(",")) < MAX_VALUES:
        return False
    plain = np.frombuffer(raw.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
    within_string = np.logical_xor.accumulate(plain == ord('"'))
    return int(np.count_nonzero((plain == ord(",")) & ~within_string)) >= MAX_VALUES


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidInput(_shorten(repeated), "must not be given more than once in the same object")
    return members


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) <= _MAX_DIGITS and -_INT64 <= (number := int(digits)) < _INT64:
        return number
    raise InvalidInput("body", "contains an integer outside the 64-bit range")


def _float(digits: str) -> float:
    number = float(digits)
    underflows = not number and not is_zero(digits)
    if underflows or not math.isfinite(number):
        raise InvalidInput("body", "contains a number outside the range of a 64-bit float")
    return number


def _exact_float(digits: str) -> float:
    number = _float(digits)
    if repr(number) != digits and not survives(digits, number):
        raise _NumberRounded
    return number


def _rounded_float(digits: str) -> float:
    number = _float(digits)
    return number if survives(digits, number) else RoundedFloat(number)


def _rounded_only_in_coordinates(value: Any, free_form: bool = False, coordinate: bool = False) -> Any:
    """Replace rounded numbers with floats, except in coordinates, whose validator rejects them.

    An object within an object is free-form: the caller chooses the names of its members, so a member called `coord` is
    not a coordinate.
    """
    if isinstance(value, RoundedFloat):
        return value if coordinate else float(value)
    if isinstance(value, list):
        return [_rounded_only_in_coordinates(item, free_form, coordinate) for item in value]
    if isinstance(value, dict):
        return {
            name: _rounded_only_in_coordinates(
                item, free_form or isinstance(item, dict), not free_form and name in _COORDINATES
            )
            for name, item in value.items()
        }
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidInput("body", f"contains {name}, which is not a JSON number")


def _decoder_with(parse_float: Callable[[str], float]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_pairs, parse_int=_integer, parse_float=parse_float, parse_constant=_constant
    )


_decoder = _decoder_with(_exact_float)
_rounding_decoder = _decoder_with(_rounded_float)


def _check(value: Any, path: str, depth: int, level: int = 0) -> None:
    """Raise InvalidInput for text that a database cannot store, and for excessive nesting.

    level: the number of objects and lists around the value.
    """
    if isinstance(value, str):
        if problem := _problem(value):
            raise InvalidInput(path, problem)
    elif isinstance(value, dict | list):
        if not depth:
            raise InvalidInput("body", f"must not be nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for name, item in value.items():
                _check(name, "body" if path == "body" else path, depth)
                at = f"{path}.{_shorten(name)}" if path != "body" else _shorten(name)
                _check(item, at, depth - 1, level + 1)
        else:
            for index, item in enumerate(value):
                # A list may have millions of items, so only the items that need a path get one.
                kind = type(item)
                if kind is dict or kind is list or (kind is str and _problem(item)):
                    is_item = kind is dict and level == 1
                    _check(item, f"{path}.{index}", MAX_DEPTH if is_item else depth - 1, level + 1)


def _problem(text: str) -> str:
    if "\0" in text:
        return "must not contain a NUL character"
    return "" if text.isascii() or _is_encodable(text) else "must not contain a lone surrogate"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shorten(name: str) -> str:
    return name[:100].encode("utf-8", "replace").decode()

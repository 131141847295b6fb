"""JSON in, strictly; JSON out, fast.

Python's parser takes NaN, 1e400, duplicate keys, NUL and lone surrogates, and a database then chokes on them or, worse,
does not. All of that is refused here, at the edge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from django.http import HttpRequest, HttpResponse
from ninja.parser import Parser

from somamemory.errors import InvalidInput, MalformedRequest, UnsupportedMediaType

JsonObject = dict[str, object]

MAX_DEPTH = 32
# One URL has another answer for each key and tenant, and no cache in between may mix them up.
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key, X-Tenant, X-Soma-Tenant"}
_INT64 = 1 << 63
_MAX_DIGITS = 19


def parse(raw: bytes) -> Any:
    """The value of a JSON text.

    Raises MalformedRequest for what is not JSON in UTF-8, and InvalidInput for NaN and infinities, numbers outside
    float64 and int64, duplicate keys, NUL, lone surrogates, and nesting deeper than 32.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidInput("body", f"is nested deeper than {MAX_DEPTH}") from None
    _check(value, "body", MAX_DEPTH)
    return value


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        media_type, _, parameters = request.headers.get("Content-Type", "").lower().partition(";")
        if media_type.strip() != "application/json":
            raise UnsupportedMediaType("send the body with Content-Type: application/json")
        if "charset" in parameters and "utf-8" not in parameters and "utf8" not in parameters:
            raise UnsupportedMediaType("the charset of JSON is UTF-8")
        return parse(request.body)


def refuse_body(request: HttpRequest) -> None:
    """For routes that take no body: what it says would be ignored. One that says nothing, `{}`, is taken."""
    if request.body and StrictParser().parse_body(request) != {}:
        raise InvalidInput("body", "this route takes none")


def reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer; times as RFC 3339 in UTC with a Z."""
    content = orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return HttpResponse(content, status=status, content_type="application/json", headers={**PRIVATE, **(headers or {})})


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidInput(_shown(twice), "stands twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) <= _MAX_DIGITS and -_INT64 <= (number := int(digits)) < _INT64:
        return number
    raise InvalidInput("body", "holds a whole number outside the 64-bit range")


def _float(digits: str) -> float:
    number = float(digits)
    vanished = not number and any(digit in "123456789" for digit in digits.lower().partition("e")[0])
    if vanished or not math.isfinite(number):
        raise InvalidInput("body", "holds a number outside the range of a 64-bit float")
    return number


def _constant(name: str) -> NoReturn:
    raise InvalidInput("body", f"holds {name}, which is not a number")


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _check(value: Any, path: str, depth: int) -> None:
    """Refuse text that no database can hold, and nesting that only tries our patience."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput(path, "holds a NUL character")
        if not value.isascii() and not _encodes(value):
            raise InvalidInput(path, "holds a lone surrogate, which is not a character")
    elif isinstance(value, dict | list):
        if not depth:
            raise InvalidInput("body", f"is nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            for name, item in value.items():
                _check(name, "body" if path == "body" else path, depth)
                _check(item, f"{path}.{_shown(name)}" if path != "body" else _shown(name), depth - 1)
        else:
            for at, item in enumerate(value):
                if not isinstance(item, int | float):
                    _check(item, f"{path}.{at}", depth - 1)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return name[:100].encode("utf-8", "replace").decode()

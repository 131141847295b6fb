"""Wrong types, unusual texts and invalid JSON cause no server error in any compatibility layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from operations.isolation.cases import Case
from operations.isolation.compat_cases import CASES, NEEDS
from tests.compat.test_stranger import all_layers  # noqa: F401 - a fixture
from tests.conftest import Api
from tests.support.every_route import NAMES

VALUES: list[Any] = [
    None, True, -1, 10**30, 1e308, "", "x" * 120_000, "\x00", "\ud800", "' OR 1=1 --", "a:* & | !(", '"unclosed', "AND",
    "((((((((", "*", [], {}, [[[]]], [None], [{}], ["x"] * 5000, {"a": {"b": [1]}}, {"$ne": 1}, "2026-13-45", "9" * 400,
    [{"type": "text", "text": 7}], {"AND": [{"AND": [{}]}]}, {"in": [{}]},
]  # fmt: skip
RAW = [
    b"", b"null", b"[]", b"7", b"{", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"query": NaN}',
    b'{"messages": ' + b"[" * 31 + b"]" * 31 + b"}",
]  # fmt: skip
PARAMETERS = (
    "user_id", "page", "page_size", "limit", "offset", "query", "filters", "coord", "folder", "label", "format",
)  # fmt: skip
TEXTS = ("", "%00", "%ff", "-1", "9" * 30, "NaN", "%27%20OR%201=1", "%F0%9F%98%80", "{}", "[[]]", "%22unclosed")
IN_PATHS = ("%00", "%ff", "x" * 3000, "%2e%2e", "NaN", ",", "%F0%9F%98%80", "'", "%20", "%0a")
PLACEHOLDERS = ("{mem0}", "{mem0_event}", "{conversation}", "{message}", "{coord}", "/vault")
# Rebuilding the index is a job, and has no fields.
ROUTES = [route for route in CASES if NEEDS[route] not in ("nothing", "operator")]


def variants(case: Case) -> Iterator[tuple[str, Any]]:
    """Yield URLs and bodies."""
    filled = case.filled(NAMES)
    for field in filled.body or ():
        for value in VALUES:
            yield filled.url, {**filled.body, field: value}
    for shift in (0, 4):  # each parameter with two of the texts
        for name, text in zip(PARAMETERS, TEXTS[shift:] + TEXTS[:shift], strict=True):
            yield f"{filled.url}{'&' if '?' in filled.url else '?'}{name}={text}", filled.body
    for part in PLACEHOLDERS:
        if part in case.path.partition("?")[0]:
            for text in IN_PATHS:
                yield Case(case.path.replace(part, "/" * part.startswith("/") + text)).filled(NAMES).path, filled.body


@pytest.mark.usefixtures("all_layers")
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_request_is_a_server_error(api: Api, route: tuple[str, str]) -> None:
    method, case = route[0], CASES[route][0]
    answers = [(url, body, api.request(method, url, body)) for url, body in variants(case)]
    if method != "GET":
        answers += [(case.path, raw, api.request(method, case.filled(NAMES).url, None, raw)) for raw in RAW]

    for url, body, response in answers:
        what = (url[:200], str(body)[:200], response.status_code, response.getvalue()[:300])
        assert response.status_code < 500 or response.status_code == 501, what
        assert response.status_code < 400 or response.json()["detail"], what

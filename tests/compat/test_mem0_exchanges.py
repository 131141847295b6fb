"""Replay recorded exchanges between mem0's clients and this server: each response has the recorded status and form.

`COMPAT_RECORD=FILE make test-compat ARGS=mem0` records them (scripts/compat/record.py). Ids are numbered in order of
appearance, and compared by their numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson

from tests.conftest import Api, drain

EXCHANGES = [orjson.loads(line) for line in (Path(__file__).parent / "mem0_exchanges.jsonl").read_text().splitlines()]
NUMBER = re.compile(r"#\d+#")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TENANT_SPECIFIC = ("org_id", "owner", "score")


class Ids:
    """The ids of this run, by their numbers in the recording."""

    def __init__(self) -> None:
        self.by_number: dict[str, str] = {}

    def filled(self, value: Any) -> Any:
        """Return recorded JSON with the ids of this run. An id that no earlier response contained gets a new one."""
        return orjson.loads(NUMBER.sub(lambda match: self._id(match[0]), orjson.dumps(value).decode()))

    def _id(self, number: str) -> str:
        return self.by_number.setdefault(number, str(UUID(int=int(number.strip("#")))))

    def matches(self, recorded: Any, actual: Any, name: str = "") -> bool:
        """Return whether two responses have the same form. Remember the ids of the second one."""
        if isinstance(recorded, dict):
            same = isinstance(actual, dict) and recorded.keys() == actual.keys()
            return same and all(self.matches(recorded[key], actual[key], key) for key in recorded)
        if isinstance(recorded, list):
            same = isinstance(actual, list) and len(recorded) == len(actual)
            return same and all(map(self.matches, recorded, actual))
        if name in TENANT_SPECIFIC or (isinstance(recorded, str) and TIME.fullmatch(recorded)):
            return type(recorded) is type(actual)
        if not isinstance(recorded, str) or not NUMBER.search(recorded):
            return bool(recorded == actual)
        return self._text_matches(recorded, actual)

    def _text_matches(self, recorded: str, actual: Any) -> bool:
        if not isinstance(actual, str):
            return False
        if NUMBER.fullmatch(recorded):
            return self.by_number.setdefault(recorded, actual) == actual
        return bool(self.filled(recorded) == actual)


def test_three_hundred_recorded_exchanges_give_the_same_responses(api: Api) -> None:
    ids = Ids()
    assert len(EXCHANGES) >= 300

    for number, exchange in enumerate(EXCHANGES, start=1):
        path, _, query = ids.filled(exchange["path"]).partition("?")
        if "search" in path:
            drain()
        at = quote(path, safe="/%") + (f"?{query}" if query else "")
        response = api.request(exchange["method"], at, ids.filled(exchange["body"]))
        answer = response.json()
        where = (number, exchange["method"], exchange["path"])
        if exchange["status"] >= 400:
            answer = {"detail": answer["detail"]}
        assert response.status_code == exchange["status"], (where, answer)
        assert ids.matches(exchange["answer"], answer), (where, exchange["answer"], answer)

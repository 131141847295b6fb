"""Record the requests that concurrent clients send to one coordinate, and model the expected responses.

The model covers versions, conditional requests, soft deletion, restoring and purging.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testing.linearizability import Operation, linearization

KINDS = {"fetch": 30, "store": 25, "patch": 20, "delete": 10, "restore": 10, "purge": 5}  # relative frequencies
# The coordinate's state: (version, text, whether the memory is soft-deleted), or None if there is no memory.
State = tuple[int, str, bool] | None


class Unanswered(Exception):
    """Raised if a request got no response but may have reached the server."""


@dataclass(frozen=True)
class Request:
    """A request to one coordinate.

    condition: a version or `*` to send as If-Match, `absent` to send `If-None-Match: *`, or empty for no condition.
    """

    kind: str
    text: str = ""
    condition: str = ""


@dataclass(frozen=True)
class Answer:
    """The parts of a response that the model predicts. For a deletion, `text` is "deleted" or "none"."""

    status: int
    version: int | None = None
    text: str | None = None


History = list[Operation[Request, Answer]]
# Sends a request, given its method, path, body and headers, and returns the status and body of the response. Raises
# Unanswered if there is no response.
Send = Callable[[str, str, Any, dict[str, str]], tuple[int, Any]]


def apply(state: State, request: Request) -> tuple[State, Answer]:
    """Return the state after a request, and the response that the request should get."""
    live = state if state and not state[2] else None
    version = state[0] if state else 0
    if request.kind == "fetch":
        return state, Answer(200, live[0], live[1]) if live else Answer(404)
    if request.kind == "restore":
        if state is None or live:
            return state, Answer(404)
        return (version + 1, state[1], False), Answer(200, version + 1, state[1])
    if request.kind == "patch" and not live:
        return state, Answer(404)
    if not _holds(request.condition, live):
        return state, Answer(412)
    if request.kind == "delete":
        return (
            ((version + 1, live[1], True), Answer(200, text="deleted")) if live else (state, Answer(200, text="none"))
        )
    if request.kind == "purge":
        return None, Answer(200, text="deleted" if state else "none")
    created = request.kind == "store" and not live
    return (version + 1, request.text, False), Answer(201 if created else 200, version + 1, request.text)


def _holds(condition: str, live: State) -> bool:
    match condition:
        case "":
            return True
        case "*":
            return live is not None
        case "absent":
            return live is None
        case version:
            return live is not None and live[0] == int(version)


def explains(history: History) -> bool:
    """Return whether a history is linearizable if the coordinate was unused at first."""
    return linearization(history, None, apply) is not None


@dataclass
class Recorder:
    """Records the requests that clients send to one coordinate. Each client is a thread that calls `work`."""

    coord: str
    operations: int
    seed: int
    history: History = field(default_factory=list)
    begun: int = 0
    version: int = 1  # the last version that a client has seen in a response
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, client: int, send: Send) -> None:
        """Send requests until all clients together have sent `operations` requests."""
        chance = random.Random(f"{self.seed} {self.coord} {client}")
        while (number := self._next()) is not None:
            request = self._request(chance, f"{client}.{number}")
            began = time.monotonic()
            try:
                answer = _answer(request, *send(*_call(request, self.coord)))
            except Unanswered:
                self.history.append(Operation(request, None, began))
                continue
            self.history.append(Operation(request, answer, began, time.monotonic()))
            self.version = answer.version or self.version

    def _next(self) -> int | None:
        with self._lock:
            self.begun += 1
            return self.begun if self.begun <= self.operations else None

    def _request(self, chance: random.Random, text: str) -> Request:
        (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
        conditions = ["", "", "", "*", str(self.version), str(self.version), str(self.version + 1), "absent"]
        if kind in ("fetch", "restore"):
            return Request(kind)
        condition = chance.choice(conditions[:-1] if kind == "patch" else conditions)
        return Request(kind, text if kind in ("store", "patch") else "", condition)


def _call(request: Request, coord: str) -> tuple[str, str, Any, dict[str, str]]:
    payload = {"payload": {"text": request.text}}
    path = f"/memories/{coord}"
    method, path, body = {
        "fetch": ("GET", path, None),
        "store": ("POST", "/memories", {"coord": coord, **payload}),
        "patch": ("PATCH", path, payload),
        "delete": ("DELETE", path, None),
        "purge": ("DELETE", f"{path}?purge=true", None),
        "restore": ("POST", f"{path}/restore", None),
    }[request.kind]
    return method, path, body, _headers(request.condition)


def _headers(condition: str) -> dict[str, str]:
    if condition == "absent":
        return {"If-None-Match": "*"}
    return {"If-Match": "*" if condition == "*" else f'"{condition}"'} if condition else {}


def _answer(request: Request, status: int, body: Any) -> Answer:
    if status >= 400:
        return Answer(status)
    if request.kind in ("delete", "purge"):
        return Answer(status, text="deleted" if body["deleted"] else "none")
    if request.kind == "store":
        return Answer(status, body["version"], request.text)
    return Answer(status, body["memory"]["version"], body["memory"]["payload"]["text"])

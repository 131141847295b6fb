"""Requests and responses, independent of how they are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from . import _api_errors
from ._api_errors import BY_CODE
from .errors import ApiError, InvalidResponse

PROBLEM = "application/problem+json"


@dataclass(slots=True)
class Request:
    """A request. `target`: the path and query. `repeatable`: whether it can be sent again without further effect."""

    operation: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None
    repeatable: bool


@dataclass(slots=True)
class Response:
    """A response. Its header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def retry_after_s(self) -> float | None:
        value = self.headers.get("retry-after", "")
        return float(value) if value.isdecimal() and len(value) < 10 else None

    @property
    def is_replay(self) -> bool:
        """Return whether this response repeats the response to an earlier request with the same Idempotency-Key."""
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def is_json(self) -> bool:
        return self.headers.get("content-type", "").startswith("application/json")

    def json(self) -> Any:  # a JSON document; the client's methods declare its type
        """Return the parsed body. Raises InvalidResponse if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise InvalidResponse(f"the response with status {self.status} is not JSON: {self.body[:200]!r}") from None

    def text(self) -> str:
        return self.body.decode(errors="replace")

    def error(self) -> ApiError:
        """Return the error for a response with status 400 or more.

        Raises InvalidResponse if the response did not come from SomaMemory.
        """
        if not self.headers.get("content-type", "").startswith(PROBLEM):
            raise InvalidResponse(
                f"the response with status {self.status} did not come from SomaMemory; check the URL and any "
                f"proxies: {self.body[:200]!r}"
            )
        problem = self.json()
        known = BY_CODE.get((problem.get("code"), self.status)) or _class_of(self.status)
        return known(self, problem)


def _class_of(status: int) -> type[ApiError]:
    """Return the error class for a response whose error code is newer than this version of the client."""
    return _api_errors.ServerError if status >= 500 else ApiError


class Transport(Protocol):
    """Sends requests. `send` raises ConnectionFailed, ConnectionLost or ResponseTimeout if there is no response."""

    def send(self, request: Request, timeout_s: float) -> Response: ...

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """Sends requests without blocking the event loop. `send` raises the same errors as `Transport.send`."""

    async def send(self, request: Request, timeout_s: float) -> Response: ...

    async def close(self) -> None: ...

"""Errors raised by the client.

SomaError
├── InvalidArgument         an argument is invalid; nothing was sent
├── TransportError
│   ├── ConnectionFailed    no connection could be opened; nothing was sent
│   ├── ConnectionLost      the connection ended before the response was complete
│   └── ResponseTimeout     the response did not arrive in time
├── InvalidResponse         the response did not come from SomaMemory
├── IncompatibleServer      the server has a different major version
└── ApiError                the server responded with an error; each code has its own class
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ._messages import Response


class FieldError(TypedDict):
    field: str
    message: str


class SomaError(Exception):
    """Base class for all client errors."""

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling and copying of subclasses whose constructors take arguments other than the message."""
        return _restored, (type(self), self.args), vars(self)


class InvalidArgument(SomaError, ValueError):
    """An argument is invalid. Nothing was sent.

    field: the name of the argument.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class TransportError(SomaError):
    """The server could not be reached, or its response did not arrive."""


class ConnectionFailed(TransportError, ConnectionError):
    """No connection could be opened, so nothing was sent."""


class ConnectionLost(TransportError, ConnectionError):
    """The connection ended before the response was complete. A write may or may not have taken effect."""


class ResponseTimeout(TransportError, TimeoutError):
    """The response did not arrive in time. A write may or may not have taken effect."""


class InvalidResponse(SomaError):
    """The response came from another program or a proxy, not from SomaMemory."""


class IncompatibleServer(SomaError):
    """The server and the client have different major versions."""


class ApiError(SomaError):
    """The server responded with an error.

    status: the HTTP status.
    code: a stable name for programs, such as `not_found`.
    title, detail: descriptions for humans.
    errors: the invalid fields, if the error concerns fields.
    request_id: the id of the request in the server's logs.
    """

    def __init__(self, response: Response, problem: dict[str, object]) -> None:
        self.response = response
        self.status = response.status
        self.code = str(problem.get("code", ""))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.errors = _field_errors(problem.get("errors"))
        self.request_id = str(problem.get("request_id") or response.request_id)
        super().__init__(f"{self.detail or self.title} ({self.status} {self.code}, request {self.request_id})")

    @property
    def retry_after_s(self) -> float | None:
        """Return the delay that the server requested, in seconds, or None."""
        return self.response.retry_after_s


def _restored(kind: type[SomaError], args: tuple[object, ...]) -> SomaError:
    error = kind.__new__(kind)
    error.args = args
    return error


def _field_errors(value: object) -> Sequence[FieldError]:
    if not isinstance(value, list):
        return ()
    return [
        {"field": str(item.get("field", "")), "message": str(item.get("message", ""))}
        for item in value
        if isinstance(item, dict)
    ]

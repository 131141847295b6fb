"""Responses to requests that gunicorn itself rejects because they are malformed or too long.

Gunicorn would return HTML. `deploy/gunicorn.conf.py` replaces its `util.write_error` with `write`.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Protocol

from django.http import HttpRequest

from somamemory.errors import LengthRequired, MalformedRequest, SomaError
from somamemory.web.problems import PROBLEM, problem
from somamemory.web.request_state import state_of
from somamemory.web.security_headers import HEADERS


class RequestTimeout(SomaError):
    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"
    title = "The request took too long to arrive"


class UriTooLong(SomaError):
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    code = "uri_too_long"
    title = "The request line is too long"


class HeadersTooLarge(SomaError):
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"
    title = "The headers are too large"


_ERRORS: dict[int, type[SomaError]] = {
    error.status: error for error in (LengthRequired, RequestTimeout, UriTooLong, HeadersTooLarge)
}


class Writable(Protocol):
    def sendall(self, data: bytes, /) -> object: ...


def time_out(out: Writable) -> None:
    write(out, RequestTimeout.status, "Request Timeout", "the request did not arrive in time; send it faster")


def write(out: Writable, status: int, reason: str, message: str) -> None:
    """Write a complete error response. It includes gunicorn's message unless the status is a server error."""
    if status == HTTPStatus.NOT_IMPLEMENTED:  # an unknown transfer coding is treated like a chunked body
        status, reason = LengthRequired.status, "Length Required"
        message = f"{message}; send a Content-Length header"
    request = HttpRequest()
    request_id = state_of(request).request_id = uuid.uuid4().hex
    error = SomaError() if status >= 500 else _ERRORS.get(status, MalformedRequest)(message)
    content = problem(request, error, status).content
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "Connection: close\r\n"
        f"Content-Type: {PROBLEM}\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"X-Request-ID: {request_id}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()) + "\r\n"
    )
    out.sendall(head.encode() + content)

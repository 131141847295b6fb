"""The answer to what is no request, or too long a one: gunicorn refuses it before anything of ours runs.

It says so in HTML; `deploy/gunicorn.conf.py` puts `write` in the place of its `util.write_error`.
"""

from __future__ import annotations

import socket
import uuid
from http import HTTPStatus

from django.http import HttpRequest
from gunicorn import util

from somamemory.errors import MalformedRequest, SomaError
from somamemory.web.middleware import PROBLEM, problem


class UriTooLong(SomaError):
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    code = "uri_too_long"
    title = "The request line is too long"


class HeadersTooLarge(SomaError):
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"
    title = "The headers are too large"


_ERRORS: dict[int, type[SomaError]] = {each.status: each for each in (UriTooLong, HeadersTooLarge)}


def write(sock: socket.socket, status: int, reason: str, message: str) -> None:
    """Write the whole answer. What gunicorn has found wrong is told, but of an error of the server nothing."""
    request = HttpRequest()
    request.request_id = uuid.uuid4().hex  # type: ignore[attr-defined]
    error = SomaError() if status >= 500 else _ERRORS.get(status, MalformedRequest)(message)
    content = problem(request, error, status).content
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "Connection: close\r\n"
        f"Content-Type: {PROBLEM}\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"X-Request-ID: {request.request_id}\r\n"  # type: ignore[attr-defined]
        "\r\n"
    )
    util.write_nonblock(sock, head.encode() + content)

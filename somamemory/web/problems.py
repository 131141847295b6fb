"""Render errors as problem+json (RFC 9457), including those that Django would render as HTML."""

from __future__ import annotations

import logging
from urllib.parse import unquote_to_bytes

import orjson
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from somamemory import deadline
from somamemory.db import sqlstate
from somamemory.errors import (
    DatabaseBusy,
    DeadlineExceeded,
    HostNotAllowed,
    LengthRequired,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    SomaError,
)
from somamemory.web.console_middleware import CONSOLE_PREFIX
from somamemory.web.handler import Handler
from somamemory.web.request_state import state_of

error_log = logging.getLogger("soma.errors")

PROBLEM = "application/problem+json"
# JSON errors are already in our format: a problem, or the report of a health route.
_OUR_MEDIA_TYPES = (PROBLEM, "application/json")
# int() rejects more than 4,300 digits.
_MAX_LENGTH_DIGITS = 20
_ERROR_BY_STATUS: dict[int, type[SomaError]] = {
    error.status: error for error in (MalformedRequest, NotFound, MethodNotAllowed, PayloadTooLarge)
}


@receiver(got_request_exception)
def _log_unhandled(request: HttpRequest | None = None, **_: object) -> None:
    """Log an error raised outside a route, which the API's own handlers never see."""
    request_id = state_of(request).request_id if request else ""
    error_log.error("unhandled error", extra={"request_id": request_id}, exc_info=True)


class Problems:
    """Turn every error response into problem+json, except console pages."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refusal = _check_host(request) or _check_length(request) or _check_encoding(request)
        if refusal is not None:
            return problem(request, refusal)
        response = self.get_response(request)
        if response.status_code < 400 or response.get("Content-Type", "").startswith(_OUR_MEDIA_TYPES):
            return response
        if settings.ADMIN and request.path_info.startswith(CONSOLE_PREFIX):
            return response
        other = MalformedRequest if response.status_code < 500 else SomaError
        error = _ERROR_BY_STATUS.get(response.status_code, other)()
        rendered = problem(request, error, status=response.status_code)
        if response.has_header("Allow"):
            rendered["Allow"] = _allowed_methods(response["Allow"])
        if response.has_header("Content-Range"):  # the size of the file
            rendered["Content-Range"] = response["Content-Range"]
        return rendered

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Render the error if a console page has exceeded its deadline or the database is busy.

        The API has its own handlers.
        """
        if isinstance(error, DeadlineExceeded):
            return problem(request, error)
        return database_problem(request, error) if isinstance(error, DatabaseError | InterfaceError) else None


def database_problem(request: HttpRequest, error: DatabaseError | InterfaceError) -> HttpResponse | None:
    """Render the error if the database is busy or the deadline has passed. Return None if it is a bug."""
    if sqlstate.is_interrupted(error) and deadline.is_over():
        return problem(request, deadline.exceeded())
    if not sqlstate.is_busy(error):
        return None
    error_log.error("database unavailable", extra={"request_id": state_of(request).request_id}, exc_info=error)
    return problem(request, DatabaseBusy())


def problem(request: HttpRequest, error: SomaError, status: int | None = None) -> HttpResponse:
    """Render an error. `status` overrides the status of the error's class."""
    status = status or error.status
    body: dict[str, object] = {
        "type": f"urn:somamemory:problem:{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "request_id": state_of(request).request_id,
        # for Sekha's clients
        "error": error.detail,
        "message": error.detail,
    }
    if error.errors:
        body["errors"] = error.errors
    # A query string may contain a lone surrogate, which cannot be encoded in UTF-8.
    content = orjson.dumps(_encodable(body))
    # A shared cache could store a 404, for example, and return it to another tenant.
    headers = {"Cache-Control": "no-store", **error.headers}
    return HttpResponse(content, status=status, content_type=PROBLEM, headers=headers)


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {name: _encodable(item) for name, item in value.items()}
    return value


def _check_host(request: HttpRequest) -> SomaError | None:
    if "*" in settings.ALLOWED_HOSTS:  # any name, even one that Django considers invalid
        return None
    try:
        request.get_host()
    except DisallowedHost:
        return HostNotAllowed("the Host header is not in SOMA_ALLOWED_HOSTS; add the name that clients use")
    return None


def _check_length(request: HttpRequest) -> SomaError | None:
    """Check a body's length in the headers, before reading the body. Return the error, if any."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        return LengthRequired("chunked bodies are not accepted; send a Content-Length header")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS):
        return MalformedRequest("Content-Length must be a whole number")
    if int(length) > settings.MAX_BODY_BYTES:
        return PayloadTooLarge(f"the body is {length} bytes long; the maximum is {settings.MAX_BODY_BYTES}")
    return None


def _check_encoding(request: HttpRequest) -> SomaError | None:
    """Reject a path or a query that is not UTF-8. Django would decode it to characters that the client did not send."""
    sent = request.META.get("RAW_URI", "")  # from gunicorn, in Latin-1
    if sent.isascii() and "%" not in sent:
        return None
    try:
        unquote_to_bytes(sent.encode("latin-1")).decode()
    except UnicodeError:
        return MalformedRequest("the path and the query must be percent-encoded UTF-8")
    return None


def _allowed_methods(allow: str) -> str:
    """Add HEAD wherever GET is allowed, because `RequestContext` handles it."""
    methods = allow.split(", ")
    return ", ".join([*methods, "HEAD"] if "GET" in methods and "HEAD" not in methods else methods)

"""What happens to every request, outermost first: `RequestContext`, `Compression`, `Problems`, `RootAliases`.

`ForPeople` adds sessions and all that pages need to those below /admin/; a request of the API passes it by. `Traced`
stands before all of them, and only where traces are wanted.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.gzip import GZipMiddleware
from django.middleware.security import SecurityMiddleware

from somamemory.errors import (
    LengthRequired,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    SomaError,
)
from somamemory.telemetry import metrics, tracing
from somamemory.web import client_address, request_stats

Handler = Callable[[HttpRequest], HttpResponseBase]

request_log = logging.getLogger("soma.requests")
error_log = logging.getLogger("soma.errors")

PROBLEM = "application/problem+json"
# A problem, or what a health route has found.
_SPEAKS_FOR_ITSELF = (PROBLEM, "application/json")
COMPRESS_FROM_BYTES = 1024
_LENGTH_DIGITS = 20  # Python makes no number of more than 4,300
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_API = "api/v1/"
_PEOPLE = "/admin/"
# No script but our own files. Alpine, by which unfold's pages move, evaluates the attributes that it finds in them
# (unsafe-eval); their colours stand in a style element, and widths in style attributes.
_CONTENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_AT_THE_ROOT = re.compile(r"/(?:memories|graph|stats|health|healthz|readyz|ping|metrics)(?:/|$)")


@receiver(got_request_exception)
def _log_bug(request: HttpRequest | None = None, **_: object) -> None:
    """An error that no handler of the API has seen: it comes from outside of a route."""
    error_log.error("unhandled error", extra={"request_id": getattr(request, "request_id", "")}, exc_info=True)


class Traced:
    """Makes each request a span, named by its route."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not tracing.is_on():  # a command, or a process that has not begun to serve
            return self.get_response(request)
        with tracing.served(request.headers.get(tracing.TRACEPARENT, "")) as span:
            request.trace_id = tracing.number(span)  # type: ignore[attr-defined]
            verb = metrics.method_label(request.method)
            response = self.get_response(request)
            match, caller = request.resolver_match, getattr(request, "caller", None)
            span.update_name(f"{verb} {match.route if match else 'none'}")
            span.set_attributes(
                {
                    "http.request.method": verb,
                    "http.route": match.route if match else "none",
                    "http.response.status_code": response.status_code,
                    "soma.tenant": caller.tenant.slug if caller else "",
                }
            )
            if response.status_code >= 500:
                tracing.failed(span)
            return response


class RequestContext:
    """Gives each request its id and its line in the log."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        address = client_address.client(
            request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""), settings.TRUSTED_PROXIES
        )
        request.client_address = address  # type: ignore[attr-defined]
        method = request.method
        if method == "HEAD":
            request.method = "GET"
        metrics.in_flight.inc()
        try:
            response = self.get_response(request)
        finally:
            metrics.in_flight.dec()
        if method == "HEAD":
            _leave_out_the_body(response)
        response["X-Request-ID"] = request_id
        caller = getattr(request, "caller", None)
        match = request.resolver_match
        route = match.route if match else None  # the template: a path may hold what people store
        took_s = time.perf_counter() - started
        label, verb = route or "none", metrics.method_label(method)
        tier = caller.tenant.tier if caller else "none"
        metrics.requests.labels(label, verb, response.status_code, tier).inc()
        metrics.request_seconds.labels(label, verb).observe(took_s)
        if label.startswith(_API):
            request_stats.seen.note(response.status_code, took_s * 1000)
        traced = getattr(request, "trace_id", None)
        request_log.info(
            "request",
            extra={
                "request_id": request_id,
                **({"trace_id": traced} if traced else {}),
                "method": method,
                "path": route,
                "status": response.status_code,
                "duration_ms": round(took_s * 1000, 1),
                "tenant": caller.tenant.slug if caller else None,
                "ip": address,
            },
        )
        return response


class Compression(GZipMiddleware):
    """gzip from 1 KiB on; below it costs more than it saves."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.streaming and len(getattr(response, "content", b"")) < COMPRESS_FROM_BYTES:
            return response
        compressed: HttpResponseBase = super().process_response(request, response)
        return compressed


class Problems:
    """Every error is problem+json, also those that Django answers itself (404, 405, 400, 500); but people get pages."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refused = _refused_length(request)
        if refused is not None:
            return problem(request, refused)
        response = self.get_response(request)
        if response.status_code < 400 or response["Content-Type"].startswith(_SPEAKS_FOR_ITSELF):
            return response
        if settings.ADMIN and request.path_info.startswith(_PEOPLE):
            return response
        made = problem(request, _as_error(response.status_code), status=response.status_code)
        if response.has_header("Allow"):
            methods = response["Allow"].split(", ")
            made["Allow"] = ", ".join([*methods, "HEAD"] if "GET" in methods and "HEAD" not in methods else methods)
        return made


class RootAliases:
    """The memory, search, graph, stats and health routes answer at the root too."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _AT_THE_ROOT.match(request.path_info):
            request.path_info = "/api/v1" + request.path_info
        return self.get_response(request)


class ForPeople:
    """Sessions, signing in, and the headers that a page should have, for what is below /admin/ and for nothing else."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = self.for_people = get_response
        inner_first: tuple[Callable[[Handler], Any], ...] = (
            MessageMiddleware,
            AuthenticationMiddleware,
            SessionMiddleware,
            XFrameOptionsMiddleware,
            SecurityMiddleware,
        )
        for middleware in inner_first:
            self.for_people = middleware(self.for_people)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(_PEOPLE):
            return self.get_response(request)
        response = self.for_people(request)
        response.headers.setdefault("Content-Security-Policy", _CONTENT_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def problem(request: HttpRequest, error: SomaError, status: int | None = None) -> HttpResponse:
    """An error as RFC 9457 wants it."""
    status = status or error.status
    body = {
        "type": f"urn:somamemory:problem:{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "request_id": getattr(request, "request_id", ""),
    }
    if error.errors:
        body["errors"] = error.errors
    # A lone surrogate may come in through a query string, and cannot be encoded.
    content = orjson.dumps(_encodable(body))
    response = HttpResponse(content, status=status, content_type=PROBLEM)
    for name, value in error.headers.items():
        response[name] = value
    return response


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {name: _encodable(item) for name, item in value.items()}
    return value


def _leave_out_the_body(response: HttpResponseBase) -> None:
    """The head says how long the body would be."""
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = ()
    elif isinstance(response, HttpResponse):
        response["Content-Length"] = str(len(response.content))
        response.content = b""


def _refused_length(request: HttpRequest) -> SomaError | None:
    """Judge the body by its headers, before a byte of it is read."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        return LengthRequired("send the body with a Content-Length, not chunked")
    length = request.headers.get("Content-Length") or "0"
    if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
        return MalformedRequest("Content-Length must be a number")
    if int(length) > settings.MAX_BODY_BYTES:
        return PayloadTooLarge(f"the body has {length} bytes; at most {settings.MAX_BODY_BYTES} are taken")
    return None


class _MethodNotAllowed(SomaError):
    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


def _as_error(status: int) -> SomaError:
    known: dict[int, type[SomaError]] = {
        400: MalformedRequest,
        404: NotFound,
        405: _MethodNotAllowed,
        413: PayloadTooLarge,
    }
    return known.get(status, SomaError)()

"""The outermost middleware: request id, client address, security headers, log line, metrics, and HEAD."""

from __future__ import annotations

import logging
import re
import time
import uuid
from http import HTTPStatus

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from somamemory import deadline
from somamemory.db import tenant_scope
from somamemory.telemetry import metrics
from somamemory.web import client_address, request_stats, security_headers
from somamemory.web.handler import Handler
from somamemory.web.request_state import state_of

request_log = logging.getLogger("soma.requests")

_SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_API_PREFIX = "api/v1/"


class RequestContext:
    """Give each request an id, and record its outcome."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        _identify(request)
        method = request.method
        metrics.in_flight.inc()
        try:
            with deadline.within(settings.REQUEST_DEADLINE_S), tenant_scope.request():
                response = self._respond(request)
                if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
                    response.streaming_content = deadline.stream(tenant_scope.stream(iter(response)))
        finally:
            metrics.in_flight.dec()
        response["X-Request-ID"] = state_of(request).request_id
        security_headers.add(response)
        _set_length(response)
        _record(request, method, response.status_code, time.perf_counter() - started)
        return response

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        if request.method != "HEAD":
            return self.get_response(request)
        request.method = "GET"
        response = self.get_response(request)
        _strip_body(response)
        return response


def _identify(request: HttpRequest) -> None:
    state = state_of(request)
    sent = request.META.get("HTTP_X_REQUEST_ID", "")
    state.request_id = sent if _SAFE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    state.client_address = client_address.client(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES
    )


def _record(request: HttpRequest, method: str | None, status: int, duration_s: float) -> None:
    state = state_of(request)
    # Not the path, which may contain user data
    route = request.resolver_match.route if request.resolver_match else None
    route_label, method_label = route or "none", metrics.method_label(method)
    tier = state.tenant.tier if state.tenant else "none"
    metrics.request_served(route_label, method_label, status, tier, duration_s)
    if route_label.startswith(_API_PREFIX):
        request_stats.stats.record(status, duration_s * 1000)
    request_log.info(
        "request",
        extra={
            "request_id": state.request_id,
            **({"trace_id": state.trace_id} if state.trace_id else {}),
            "method": method,
            "path": route,
            "status": status,
            "duration_ms": round(duration_s * 1000, 1),
            "tenant": state.tenant.slug if state.tenant else None,
            "ip": state.client_address,
        },
    )


def _set_length(response: HttpResponseBase) -> None:
    """Set Content-Length if it is known. Otherwise, gunicorn uses chunked encoding, which costs more on both sides."""
    if isinstance(response, HttpResponse) and response.status_code not in _WITHOUT_BODY:
        response.headers.setdefault("Content-Length", str(len(response.content)))


def _strip_body(response: HttpResponseBase) -> None:
    """Remove the body from a response to HEAD. Content-Length still states the body size for GET."""
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = ()
    elif isinstance(response, HttpResponse):
        response["Content-Length"] = str(len(response.content))
        response.content = b""

"""Small middleware classes, and the order of all middleware.

Outermost first: `Tracing` (if traces are collected), `request_context.RequestContext`, `Compression`,
`problems.Problems`, `RootAliases`, `console_middleware.ConsoleMiddleware`.
"""

from __future__ import annotations

import re

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from somamemory.telemetry import metrics, tracing
from somamemory.web.handler import Handler
from somamemory.web.request_state import state_of

# Below this size, gzip costs more than it saves.
COMPRESS_FROM_BYTES = 1024
_REFUSES_GZIP = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)", re.IGNORECASE)
_ROOT_ALIASES = re.compile(r"/(?:memories|graph|stats|health|healthz|readyz|ping|metrics)(?:/|$)")


class Tracing:
    """Record each request as a span named after its route."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not tracing.is_on():  # in a command, or before the process serves requests
            return self.get_response(request)
        with tracing.served(request.headers.get(tracing.TRACEPARENT, "")) as span:
            state = state_of(request)
            state.trace_id = tracing.number(span)
            method = metrics.method_label(request.method)
            response = self.get_response(request)
            route = request.resolver_match.route if request.resolver_match else "none"
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": response.status_code,
                    "soma.tenant": state.tenant.slug if state.tenant else "",
                }
            )
            if response.status_code >= 500:
                tracing.failed(span)
            return response


class Compression(GZipMiddleware):
    """Compress responses of 1 KiB and more."""

    get_response: Handler

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.process_response(request, self.get_response(request))

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.streaming and len(getattr(response, "content", b"")) < COMPRESS_FROM_BYTES:
            return response
        if _REFUSES_GZIP.search(request.META.get("HTTP_ACCEPT_ENCODING", "")):
            request.META["HTTP_ACCEPT_ENCODING"] = "identity"  # because Django ignores weights
        compressed: HttpResponseBase = super().process_response(request, response)
        return compressed


class RootAliases:
    """Also serve the memory, search, graph, stats and health routes at the root."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _ROOT_ALIASES.match(request.path_info):
            request.path_info = "/api/v1" + request.path_info
        return self.get_response(request)

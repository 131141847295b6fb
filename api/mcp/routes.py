"""Send a tool's request to an API route.

A tool has no permissions of its own: each of its requests carries the headers of the MCP message and is subject to the
route's authentication, scopes, limits, quotas, validation, idempotency, audit and deadline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import orjson
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import Resolver404, resolve
from django_mcpz.server import ToolError

from api.auth import MCP_PATH
from api.mcp.message import PASSED_ON, message_of
from somamemory.web.request_state import state_of

MAX_STREAM_BYTES = 8 * 1024 * 1024
_PREFIX = "/api/v1"
_IDEMPOTENCY_KEY = "HTTP_IDEMPOTENCY_KEY"
# What the model can do next, for errors whose messages do not already say so.
_ADVICE = {
    "not_found": "Use the search tool to find the id of an existing memory.",
    "forbidden": "Tell the user; another key or another /mcp/{namespace} URL is needed.",
    "quota_exceeded": "Tell the user. Deleting memories makes room.",
    "idempotency_key_reused": "Call the tool again; the client must send a new Idempotency-Key.",
}


class RouteError(ToolError):
    """An error that a route returned, worded for the model. `code` is the route's error code."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


def send(
    request: HttpRequest,
    method: str,
    path: str,
    body: object = None,
    query: Mapping[str, object] | None = None,
    if_match: int | None = None,
    if_absent: bool = False,
) -> Any:
    """Send a request to a route, and return the JSON of its response. Raises RouteError if the route returns an error.

    request: the MCP message.
    path: the path under /api/v1, not percent-encoded.
    if_match: the version that the memory must have.
    if_absent: whether the memory must not exist yet.
    """
    environ = _environ(request, method, path, body, query or {})
    if if_match is not None:
        environ["HTTP_IF_MATCH"] = f'"{if_match}"'
    if if_absent:
        environ["HTTP_IF_NONE_MATCH"] = "*"
    response = _response(request, WSGIRequest(environ))
    content = _content(response)
    if response.status_code >= 400:
        problem = orjson.loads(content)
        raise RouteError(_explain(problem, response.get("Retry-After")), problem["code"])
    return orjson.loads(content)


def _response(request: HttpRequest, route_request: WSGIRequest) -> HttpResponse | StreamingHttpResponse:
    """Return the route's response.

    The request to the route gets the request id of the MCP message, and the response to the message gets the route's
    rate limit headers.
    """
    vars(route_request)["state"] = state_of(request)
    try:
        match = resolve(route_request.path_info)
    except Resolver404:
        raise ToolError("A key or name must not be empty or contain line breaks.") from None
    response: HttpResponse | StreamingHttpResponse = match.func(route_request, *match.args, **match.kwargs)
    message_of(request).headers.update({name: response[name] for name in PASSED_ON if response.has_header(name)})
    return response


def _environ(request: HttpRequest, method: str, path: str, body: object, query: Mapping[str, object]) -> dict[str, Any]:
    message = message_of(request)
    content = b"" if body is None else orjson.dumps(body)
    query_string = urlencode(query)
    environ = {
        **request.META,
        "REQUEST_METHOD": method,
        "PATH_INFO": f"{_PREFIX}{path}".encode().decode("latin-1"),  # as WSGI passes it
        "QUERY_STRING": query_string,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": BytesIO(content),
        MCP_PATH: request.path,
    }
    for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
        environ.pop(name, None)
    sent = hashlib.sha256(f"{method} {path}?{query_string}\n".encode() + content).hexdigest()
    message.requests[sent] += 1
    if message.requests.total() > 1 and (key := environ.get(_IDEMPOTENCY_KEY)):
        # Each request needs its own key. A repeated call may omit requests that have already taken effect, so the keys
        # do not depend on the order of the requests. The first request keeps the call's key, so that a different call
        # with this key is rejected.
        environ[_IDEMPOTENCY_KEY] = hashlib.sha256(f"{message.requests[sent]} {sent} {key}".encode()).hexdigest()
    return environ


def _content(response: HttpResponse | StreamingHttpResponse) -> bytes:
    if not isinstance(response, StreamingHttpResponse):
        return response.content
    content = bytearray()
    for piece in response:
        content += piece
        if len(content) > MAX_STREAM_BYTES:
            raise ToolError("The result is too large to return at once. Request only part of it.")
    return bytes(content)


def _explain(problem: Mapping[str, Any], retry_after: str | None) -> str:
    sentences = [f"{problem['title']}: {problem['detail']}."]
    if retry_after:
        sentences.append(f"Retry after {retry_after} seconds.")
    if problem["code"] in _ADVICE:
        sentences.append(_ADVICE[problem["code"]])
    return " ".join(sentences)

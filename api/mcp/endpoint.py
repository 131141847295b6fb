"""The Model Context Protocol (MCP) endpoints: `POST /mcp` and `POST /mcp/{namespace}`.

django-mcpz implements the protocol. This view identifies the caller, parses the message strictly, and selects the
tools.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_mcpz.jsonrpc import INVALID_REQUEST, PARSE_ERROR, error_response
from django_mcpz.server import MCPServer

from api import throttle
from api.app import api
from api.auth import identify
from api.json import PRIVATE, StrictParser
from api.mcp import chatgpt_tools, graph_tools, memory_tools, sekha_tools
from api.mcp.message import Message, attach
from api.request import Admission, Policy, as_api
from somamemory.errors import InvalidInput, MalformedRequest

PROFILES: dict[str, MCPServer] = {
    "default": memory_tools.server,
    "chatgpt": chatgpt_tools.server,
    "knowledge-graph": graph_tools.server,
    "sekha": sekha_tools.server,
}
_NAMESPACE = re.compile(r"[A-Za-z0-9._:/-]{1,255}")
# A message that calls no route, such as tools/list, counts as a read.
_READ = Policy(kind="read", writes=False, conditional=False, idempotent=False, limited=True)


def endpoint(request: HttpRequest, namespace: str = "default") -> HttpResponse:
    try:
        return _respond(request, namespace)
    except Exception as error:  # noqa: BLE001 - rendered like any route's error
        response = api.on_exception(request, error)
        if response.status_code == HTTPStatus.UNAUTHORIZED and settings.OAUTH_URL:
            response["WWW-Authenticate"] = _challenge(request.path)
        return response


def _challenge(path: str) -> str:
    """Return the WWW-Authenticate header that directs an app to the authorization server (RFC 9728)."""
    known = path if _NAMESPACE.fullmatch(path) else "/mcp"
    return f'Bearer resource_metadata="{settings.OAUTH_URL}/.well-known/oauth-protected-resource{known}"'


def _respond(request: HttpRequest, namespace: str) -> HttpResponse:
    if request.method != "POST":
        return PROFILES["default"](request)
    admission = as_api(request).admission = Admission(_READ, takes_body=True)
    message = Message(namespace)
    attach(request, message)
    response = throttle.released(admission, lambda: _serve(request, message))
    for name, value in {**PRIVATE, **message.headers}.items():
        response[name] = value
    return response


def _serve(request: HttpRequest, message: Message) -> HttpResponse:
    api_request = as_api(request)
    caller = identify(api_request)
    request.body  # noqa: B018 - reads it before the request is charged; see `api.auth`
    throttle.charge(api_request, int(request.META.get("CONTENT_LENGTH") or 0), per=throttle.BODY_BYTES_PER_TOKEN)
    try:
        return _answer(request, message)
    finally:
        if not message.requests:  # otherwise, the routes have admitted the tool's requests
            throttle.admit(api_request.admission, caller)


def _answer(request: HttpRequest, message: Message) -> HttpResponse:
    server = _selected(request, message.namespace)
    refusal = _refuse_malformed(request)
    return server(request) if refusal is None else refusal


def _selected(request: HttpRequest, namespace: str) -> MCPServer:
    """Return the MCP server for the requested profile. Raises InvalidInput if a parameter in the URL is invalid."""
    if _NAMESPACE.fullmatch(namespace) is None:
        raise InvalidInput("namespace", "must match the pattern " + _NAMESPACE.pattern)
    for name, values in request.GET.lists():
        if name != "profile":
            raise InvalidInput(name[:200], "unknown query parameter")
        if len(values) > 1:
            raise InvalidInput(name, "must not be given more than once")
    profile = request.GET.get("profile", "default")
    if profile not in PROFILES:
        raise InvalidInput("profile", "must be one of " + ", ".join(PROFILES))
    return PROFILES[profile]


def _refuse_malformed(request: HttpRequest) -> HttpResponse | None:
    """Return an error response if the body is not strict JSON, and None otherwise.

    django-mcpz itself accepts duplicate names and NUL characters.
    """
    try:
        StrictParser().parse_body(request)
    except MalformedRequest as error:
        return error_response(None, PARSE_ERROR, error.detail, status=HTTPStatus.BAD_REQUEST)
    except InvalidInput as error:
        return error_response(None, INVALID_REQUEST, error.detail, status=HTTPStatus.BAD_REQUEST)
    return None

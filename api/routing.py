"""The router for all routes. A route is declared together with its policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from http.client import responses
from types import MethodType
from typing import Any, Protocol, Required, TypedDict, TypeVar, Unpack, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import register_converter
from django.urls.converters import StringConverter
from ninja import Router
from ninja.constants import NOT_SET
from ninja.decorators import decorate_view
from ninja.openapi.schema import REF_TEMPLATE
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from api import idempotency, throttle
from api.contract.operation_ids import operation_id
from api.request import Admission, Kind, Policy, as_api
from api.schemas import Problem
from somamemory.db import tenant_scope
from somamemory.errors import InvalidInput
from somamemory.web.problems import PROBLEM
from somamemory.web.turns import TURNS

ANY_PROBLEM = (400, 401, 403, 404, 405, 409, 410, 411, 412, 413, 415, 422, 429, 500, 503)
# Errors that are sent before the route is known: an invalid host, a timeout, or a request line or headers that are too
# long.
SERVER_PROBLEMS = (400, 408, 414, 431)
_CONVERTER = re.compile(r"\{\w+:")  # in `{text:key}`, which OpenAPI calls `{key}`
_MAX_SHOWN = 200  # maximum number of characters shown from a parameter name in an error message


class _AnyText(StringConverter):
    """The rest of a path, even if it is empty or contains line breaks, so that a validator can reject it and name the
    field.
    """

    regex = "(?s:.*)"


register_converter(_AnyText, "text")

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
Run = Callable[..., HttpResponse]


class Decorator(Protocol):
    def __call__(self, view: View, /) -> View: ...


policies: dict[tuple[str, str], Policy] = {}  # by method and path
without_key: set[str] = set()  # the paths of routes that need no key


class Declaration(TypedDict, total=False):
    """The policy of a route, and the information needed for its documentation.

    out: the schema of a 200 response, or schemas by status.
    kind: by default, `read` for a GET and `write` otherwise.
    writes: by default, true for the kinds `write` and `llm`.
    long: by default, true for the kind `llm`.
    resumable: false by default.
    limited: false by default.
    problems: the statuses for which the route returns a Problem; by default, any.
    """

    out: Required[object]
    kind: Kind
    writes: bool
    conditional: bool
    long: bool
    resumable: bool
    limited: bool
    problems: Iterable[int]
    by_alias: bool
    exclude_unset: bool
    openapi_extra: dict[str, Any]


class PolicyRouter:
    """Declares routes with their policies: `@router.post("/memories", out=StoredOut, conditional=True)`.

    Rejects a request with an unknown or repeated query parameter, with a body that the route does not read, or with a
    condition that the route does not support. If it ignored any of them, the response would not match the request.
    """

    def __init__(self, tag: str, *, auth: object = NOT_SET, crosses: bool = False) -> None:
        self.tag = tag
        self.crosses = crosses
        self.has_caller = auth is not None
        self.ninja = Router(tags=[tag], auth=auth)

    def get(self, path: str, **declaration: Unpack[Declaration]) -> Decorator:
        return self._route("GET", path, declaration)

    def post(self, path: str, **declaration: Unpack[Declaration]) -> Decorator:
        return self._route("POST", path, declaration)

    def put(self, path: str, **declaration: Unpack[Declaration]) -> Decorator:
        return self._route("PUT", path, declaration)

    def patch(self, path: str, **declaration: Unpack[Declaration]) -> Decorator:
        return self._route("PATCH", path, declaration)

    def delete(self, path: str, **declaration: Unpack[Declaration]) -> Decorator:
        return self._route("DELETE", path, declaration)

    def register(self, method: str, path: str, policy: Policy) -> None:
        """Record the policy of a published route."""
        policies[method, path] = policy
        if not self.has_caller:
            without_key.add(path)

    def _route(self, method: str, path: str, declaration: Declaration) -> Decorator:
        policy = _policy(method, declaration, crosses=self.crosses)

        def publish(view: View) -> View:
            self.register(method, _CONVERTER.sub("{", path), policy)
            if policy.idempotent:
                contribute_operation_callback(view, _take_idempotency_key)
            decorate_view(partial(_guarded, policy, has_caller=self.has_caller))(view)
            self.ninja.add_api_operation(
                path,
                [method],
                view,
                response=_success_models(declaration),
                operation_id=operation_id(self.tag, view.__name__),
                by_alias=declaration.get("by_alias"),
                exclude_unset=declaration.get("exclude_unset"),
                openapi_extra=_documentation(declaration),
            )
            return view

        return publish


def _policy(method: str, declaration: Declaration, *, crosses: bool) -> Policy:
    kind = declaration.get("kind", "read" if method == "GET" else "write")
    return Policy(
        kind=kind,
        writes=declaration.get("writes", kind in ("write", "llm")),
        conditional=declaration.get("conditional", False),
        idempotent=method != "DELETE" and kind == "write",
        long=declaration.get("long", kind == "llm"),
        resumable=declaration.get("resumable", False),
        limited=declaration.get("limited", False),
        crosses=crosses,
    )


def _success_models(declaration: Declaration) -> dict[int, object]:
    out = declaration["out"]
    return dict(out) if isinstance(out, Mapping) else {200: out}


def _documentation(declaration: Declaration) -> dict[str, Any]:
    """Return the OpenAPI description of a route, apart from its parameters and success schemas.

    Views raise problems and never return them, so Ninja needs no model for them. Building one for each route and status
    would take a third of a process's startup time.
    """
    extra = declaration.get("openapi_extra", {})
    statuses = sorted({*SERVER_PROBLEMS, *declaration.get("problems", ANY_PROBLEM)})
    problems = {status: _problem(status) for status in statuses}
    return {**extra, "responses": {**extra.get("responses", {}), **problems}}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": REF_TEMPLATE.format(model=Problem.__name__)}
    return {"description": responses[status], "content": {PROBLEM: {"schema": schema}}}


def _take_idempotency_key(operation: Operation) -> None:
    operation.view_func = idempotency.once(operation.view_func)
    operation.openapi_extra = {**(operation.openapi_extra or {}), "parameters": [idempotency.PARAMETER]}


def _guarded(policy: Policy, run: Run, *, has_caller: bool) -> Run:
    operation = cast(Operation, cast(MethodType, run).__self__)
    query_names = _query_names(operation)
    takes_body = _takes_body(operation)
    turns = None if policy.long else TURNS.get(policy.kind)

    @wraps(run)
    def guarded(request: HttpRequest, **path: Any) -> HttpResponse:
        admission = Admission(policy, takes_body, _query_error(request, query_names))
        as_api(request).admission = admission
        if policy.crosses and not has_caller:  # a caller must be an operator: see api.auth
            tenant_scope.cross()
        with turns.turn() if turns and settings.TAKES_TURNS else nullcontext():
            return throttle.released(admission, lambda: run(request, **path))

    return guarded


def _query_names(operation: Operation) -> set[str]:
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    return {name for model in models for name in model.__ninja_flatten_map__}


def _takes_body(operation: Operation) -> bool:
    return (
        operation.methods == ["GET"]
        or "requestBody" in (operation.openapi_extra or {})
        or any(model.__ninja_param_source__ == "body" for model in operation.models)
    )


def _query_error(request: HttpRequest, known: set[str]) -> InvalidInput | None:
    for name in request.GET:
        if name not in known:
            return InvalidInput(name[:_MAX_SHOWN], "unknown query parameter")
        if len(request.GET.getlist(name)) > 1:
            return InvalidInput(name, "must not be given more than once")
    return None

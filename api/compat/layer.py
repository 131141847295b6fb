"""The base of a compatibility layer: a separate API whose routes have policies, as in `api.routing`.

    router = CompatRouter("mem0", prefix="/mem0")

    @router.get("/v1/ping/", out=None, limited=True)
    def ping(request: Request) -> HttpResponse: ...

    mem0 = CompatApi("mem0", render_error)
    mem0.add_router("", router.ninja)

`somamemory/urls.py` then mounts it: `path("mem0/", mem0.urls)`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from ninja.constants import NOT_SET
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from api.app import Api, api
from api.auth import KeyAuth
from api.compat.changes import changes_of
from api.json import StrictParser
from api.request import Policy
from api.routing import Declaration, Decorator, PolicyRouter, Run, View

# By method and full path, such as ("GET", "/mem0/v1/ping/").
policies: dict[tuple[str, str], Policy] = {}
without_key: set[str] = set()


class CompatRouter(PolicyRouter):
    """Declares routes that are not in the OpenAPI document. Their responses report how the request was changed.

    prefix: the path at which the routes are mounted
    """

    def __init__(self, tag: str, *, prefix: str, auth: object = NOT_SET) -> None:
        super().__init__(tag, auth=auth, crosses=auth is None)
        self.prefix = prefix

    def register(self, method: str, path: str, policy: Policy) -> None:
        policies[method, self.prefix + path] = policy
        if not self.has_caller:
            without_key.add(self.prefix + path)

    def _route(self, method: str, path: str, declaration: Declaration) -> Decorator:
        publish = super()._route(method, path, declaration)

        def publish_reporting(view: View) -> View:
            contribute_operation_callback(view, _report_changes)
            return publish(view)

        return publish_reporting


def _report_changes(operation: Operation) -> None:
    operation.view_func = _reporting(operation.view_func)


def _reporting(view: Run) -> Run:
    @wraps(view)
    def reporting(request: HttpRequest, **values: Any) -> HttpResponse:
        response = view(request, **values)
        changes_of(request).report(response)
        return response

    return reporting


def with_400(problem: HttpResponse, **members: object) -> HttpResponse:
    """Add members to a problem response in place. Change status 422 to 400, as older products do."""
    if problem.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        problem.status_code = HTTPStatus.BAD_REQUEST
    body = {**orjson.loads(problem.content), "status": problem.status_code, **members}
    problem.content = orjson.dumps(body)
    return problem


class CompatApi(Api):
    """An API without an OpenAPI document.

    render: converts one of our problem+json responses to the product's error format.
    """

    def __init__(self, name: str, render: Callable[[HttpResponse], HttpResponse]) -> None:
        super().__init__(parser=StrictParser(), auth=KeyAuth(), urls_namespace=name, docs_url=None, openapi_url=None)
        self.render = render

    def on_exception(self, request: HttpRequest, exc: Exception | type[Exception]) -> HttpResponse:
        return self.render(api.on_exception(request, exc))

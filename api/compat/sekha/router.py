"""Routes that accept what Sekha's server accepts, and report what they changed."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from api.auth import KeyAuth
from api.compat.layer import CompatRouter
from api.compat.sekha.changes import changes_of
from api.request import as_api
from api.routing import Declaration, Decorator, Run, View
from tenants.caller import Caller

PREFIX = "/sekha"


class LenientAuth(KeyAuth):
    """Accepts unknown and repeated query parameters. `requests.parameters` reports them."""

    def __call__(self, request: HttpRequest) -> Caller:
        as_api(request).admission.query_error = None
        return super().__call__(request)


class SekhaRouter(CompatRouter):
    """Declares routes whose responses report the changes to the request."""

    def __init__(self, *, has_key: bool = True) -> None:
        super().__init__("sekha", prefix=PREFIX, auth=LenientAuth() if has_key else None)

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

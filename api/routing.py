"""The router that every route is declared on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router
from ninja.utils import contribute_operation_callback

from api import idempotency, throttle
from api.idempotency import View
from api.schemas import Problem

# Every status that any route may answer with, for the published contract.
_STATUSES = (400, 401, 403, 404, 405, 409, 411, 412, 413, 415, 422, 429, 500, 503)
PROBLEMS: dict[int, type[Problem]] = dict.fromkeys(_STATUSES, Problem)


Kind = Literal["read", "write", "search", "llm"]
AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase])


def kind(of: Kind) -> Callable[[AnyView], AnyView]:
    """What a route does, where its method does not say it. Stands below the route's declaration."""

    def marked(view: AnyView) -> AnyView:
        view.soma_kind = of  # type: ignore[attr-defined]
        return view

    return marked


class StrictRouter(Router):
    """A router that knows what its routes do, and which query parameters they take.

    A GET reads and anything else writes, unless `kind` says otherwise: that decides what a request costs, and a POST
    that writes takes an Idempotency-Key. A parameter that nobody reads is a filter that is silently ignored, and one
    that stands twice is half ignored; so is a body that nobody reads.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_decorator(_admitted, mode="view")

    def add_api_operation(self, path: str, methods: list[str], view_func: View, **options: Any) -> None:
        what: Kind = getattr(view_func, "soma_kind", "read" if methods == ["GET"] else "write")
        kind(what)(view_func)
        if methods == ["POST"] and what == "write":
            contribute_operation_callback(view_func, _taking_idempotency_key)
        super().add_api_operation(path, methods, view_func, **options)


def _taking_idempotency_key(operation: Any) -> None:
    operation.view_func = idempotency.once(operation.view_func)
    operation.openapi_extra = {**(operation.openapi_extra or {}), "parameters": [idempotency.PARAMETER]}


def _admitted(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    operation = run.__self__  # type: ignore[attr-defined]
    what = operation.view_func.soma_kind
    known = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    }
    reads_body = (
        operation.methods == ["GET"]
        or "requestBody" in (operation.openapi_extra or {})
        or any(model.__ninja_param_source__ == "body" for model in operation.models)
    )

    @wraps(run)
    def checked(request: HttpRequest, **path: Any) -> HttpResponse:
        for name in request.GET:
            if name not in known:
                request.refused_query = (name[:200], "unknown query parameter")  # type: ignore[attr-defined]
            elif len(request.GET.getlist(name)) > 1:
                request.refused_query = (name, "stands twice")  # type: ignore[attr-defined]
        request.kind = what  # type: ignore[attr-defined]
        request.takes_no_body = not reads_body  # type: ignore[attr-defined]
        return throttle.released(request, lambda: run(request, **path))

    return checked

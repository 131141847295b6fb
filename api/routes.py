"""The router that every route is declared on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from api.schemas import Problem

# Every status that any route may answer with, for the published contract.
_STATUSES = (400, 401, 403, 404, 405, 409, 411, 412, 413, 415, 422, 500, 503)
PROBLEMS: dict[int, type[Problem]] = dict.fromkeys(_STATUSES, Problem)


class StrictRouter(Router):
    """A router that knows which query parameters its routes take.

    A parameter that nobody reads is a filter that is silently ignored, and one that stands twice is half ignored.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_decorator(_note_refused_query, mode="view")


def _note_refused_query(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    operation = run.__self__  # type: ignore[attr-defined]
    known = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    }

    @wraps(run)
    def checked(request: HttpRequest, **path: Any) -> HttpResponse:
        for name in request.GET:
            if name not in known:
                request.refused_query = (name[:200], "unknown query parameter")  # type: ignore[attr-defined]
            elif len(request.GET.getlist(name)) > 1:
                request.refused_query = (name, "stands twice")  # type: ignore[attr-defined]
        return run(request, **path)

    return checked

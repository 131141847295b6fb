"""Views that return JSON to the pages' scripts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from api.json import reply
from console import staff
from somamemory.errors import InvalidInput, SomaError
from somamemory.web.problems import problem
from tenants.caller import Caller


def json_view(view: Callable[[HttpRequest, Caller], Any]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that acts for the tenant named in the query and returns the same errors as the API.

    Only users who may view memories can use it.
    """

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        require_memories(request)
        try:
            caller = staff.caller(request, staff.tenant_named(request, request.GET.get("tenant", "")))
            return reply(view(request, caller))
        except SomaError as error:
            return problem(request, error)

    return answer


def require_memories(request: HttpRequest) -> None:
    """Raise PermissionDenied for a user who may not view memories."""
    user: Any = request.user
    if not user.has_perm("memories.view_memory"):
        raise PermissionDenied


def memory_id(request: HttpRequest) -> UUID:
    """Return the memory id in the query. Raises InvalidInput if it is not a UUID."""
    try:
        return UUID(request.GET.get("id", ""))
    except ValueError:
        raise InvalidInput("id", "must be a UUID") from None

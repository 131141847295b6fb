"""Errors in the form that mem0's clients expect: JSON with `detail`, and status 400 for invalid input."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpResponse

from api.compat.layer import with_400
from somamemory.errors import SomaError


class NotSupported(SomaError):
    """A mem0 feature that SomaMemory does not have."""

    status = HTTPStatus.NOT_IMPLEMENTED
    code = "not_supported"
    title = "Not supported"


def rendered(problem: HttpResponse) -> HttpResponse:
    """Convert a problem response in place. It already contains `detail`, and clients ignore its other members."""
    problem["Content-Type"] = "application/json"
    return with_400(problem)

"""Errors in the form that Sekha's clients expect: `error`, `success`, and status 400 for invalid input."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.layer import with_400


def rendered(problem: HttpResponse) -> HttpResponse:
    """Convert a problem response in place. It already contains `error` and `message`."""
    return with_400(problem, success=False)

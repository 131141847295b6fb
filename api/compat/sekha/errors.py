"""Errors as Sekha's clients read them: `error`, `success`, and 400 for invalid input."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.layer import with_400


def rendered(problem: HttpResponse) -> HttpResponse:
    """Convert a problem in place. Its members include `error` and `message`."""
    return with_400(problem, success=False)

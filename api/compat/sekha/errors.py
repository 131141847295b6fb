"""Errors as Sekha's clients read them: `error`, `success`, and 400 for invalid input."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from django.http import HttpResponse


def rendered(problem: HttpResponse) -> HttpResponse:
    """Convert a problem in place. Its members include `error` and `message`."""
    if problem.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        problem.status_code = HTTPStatus.BAD_REQUEST
    body = {**orjson.loads(problem.content), "status": problem.status_code, "success": False}
    problem.content = orjson.dumps(body)
    return problem

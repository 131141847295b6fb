"""The cases of the isolation check, for tests that walk every route."""

from __future__ import annotations

from api.app import api
from operations.isolation.cases import CASES, NEEDS, Case, Needs, Route

__all__ = ["CASES", "NEEDS", "Case", "Needs", "Route", "published"]


def published() -> set[Route]:
    """Return every method and path of the OpenAPI document."""
    return {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
    }

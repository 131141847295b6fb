"""The isolation check's cases, for tests that walk every route."""

from __future__ import annotations

from api.app import api
from operations.isolation.cases import CASES, Case
from operations.isolation.needs import NEEDS, Needs, Route

__all__ = ["CASES", "NAMES", "NEEDS", "Case", "Needs", "Route", "published"]

# Values for the placeholders of the cases. Nothing needs to exist under these names.
NAMES = {
    "coord": "1,2,3",
    "deleted": "4",
    "expired": "5",
    "text": "text",
    "key": "vault/aardvark",
    "id": "6f1c1f0e-0000-4000-8000-000000000004",
    "deleted_id": "6f1c1f0e-0000-4000-8000-000000000005",
    "slug": "acme",
    "prefix": "none",
    "message": "6f1c1f0e-0000-4000-8000-000000000003",
    "proposal": "6f1c1f0e-0000-4000-8000-000000000006",
    "accepted": "6f1c1f0e-0000-4000-8000-000000000007",
    "cursor": "",
    "mem0": "6f1c1f0e-0000-4000-8000-000000000008",
    "mem0_event": "6f1c1f0e-0000-4000-8000-000000000009",
    "deleted_conversation": "6f1c1f0e-0000-4000-8000-000000000010",
    "conversation": "6f1c1f0e-0000-4000-8000-000000000001",
}


def published() -> set[Route]:
    """Return every method and path of the OpenAPI document."""
    return {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
    }

"""Namespaces that another part of the service keeps: their memories mean something together.

The turns of a conversation are counted, and each is indexed with the one before it; a write to one of them alone would
break that. Everybody may read and search there; only the keeper writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from somamemory.errors import InvalidInput

CONVERSATIONS = "conversations"
SUMMARIES = "summaries"
FACTS = "facts"
_ROUTES = {
    CONVERSATIONS: "/api/v1/conversations and /api/v1/conversations/{id}/messages",
    SUMMARIES: "/api/v1/conversations/{id}/summary",
    FACTS: "/api/v1/conversations/{id}/facts",
}


def refuse(namespaces: Iterable[str]) -> None:
    """For writers that are not the keeper. Raises InvalidInput."""
    for namespace in namespaces:
        if route := _ROUTES.get(namespace):
            raise InvalidInput("namespace", f"'{namespace}' can be read here, but is written through {route}")

"""Reserved namespaces: every caller can read and search them, but only the conversations code can write to them.

Messages are numbered, and each message is indexed together with the previous one. Writing to a single message directly
would break the numbering and the index. Links in these namespaces connect summaries to their messages, and facts to
their entities. An entity is kept for as long as a fact mentions it.
"""

from __future__ import annotations

from somamemory.errors import InvalidInput
from tenants.caller import Caller

CONVERSATIONS = "conversations"
SUMMARIES = "summaries"
FACTS = "facts"
_ROUTES = {
    CONVERSATIONS: "/api/v1/conversations and /api/v1/conversations/{id}/messages",
    SUMMARIES: "/api/v1/conversations/{id}/summary",
    FACTS: "/api/v1/conversations/{id}/facts",
}


def is_reserved(namespace: str) -> bool:
    return namespace in _ROUTES


def check_writable(caller: Caller, namespace: str) -> None:
    """Raise InvalidInput if the namespace is reserved, unless the caller comes from `caller.writing_reserved()`."""
    if not caller.writes_reserved and (route := _ROUTES.get(namespace)):
        raise InvalidInput(
            "namespace", f"namespace '{namespace}' is reserved and cannot be written to directly; use {route}"
        )

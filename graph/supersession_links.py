"""Link memories to those that they supersede, and record the reason."""

from __future__ import annotations

from collections.abc import Sequence

from graph import services
from graph.services import NewLink
from memories.supersession import Replacement
from tenants.caller import Caller

SUPERSEDES = "supersedes"


def link(caller: Caller, replacements: Sequence[Replacement]) -> None:
    """Link each memory to the one that it supersedes. Must be called in the transaction that supersedes it."""
    services.link_many(caller, [_link(replacement) for replacement in replacements])


def unlink(caller: Caller, replacement: Replacement) -> None:
    """Remove the link between two memories when a supersession is undone. Must be called in a transaction."""
    newer, older = replacement.newer, replacement.older
    services.remove(caller, newer.namespace, newer.coordinate, older.coordinate, SUPERSEDES)


def _link(replacement: Replacement) -> NewLink:
    newer, older = replacement.newer, replacement.older
    return NewLink(
        newer.coordinate,
        older.coordinate,
        SUPERSEDES,
        namespace=newer.namespace,
        metadata={"reason": replacement.reason} if replacement.reason else {},
        user_id=newer.user_id,
    )

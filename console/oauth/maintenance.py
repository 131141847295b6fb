"""Scheduled removal of ended grants and unused clients."""

from __future__ import annotations

from console.oauth import clients, grants
from somamemory.scheduling import periodic

EVERY_S = 600.0


@periodic("console.prune_grants", every_s=lambda: EVERY_S, thread="maintenance")
def prune() -> None:
    grants.remove_ended()
    clients.remove_unused()

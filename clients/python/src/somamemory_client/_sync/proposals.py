# Written by scripts/client_sync.py from _async/proposals.py. Do not edit: run `make reference`.
"""Proposals to supersede facts."""

from __future__ import annotations

from typing import Unpack

from somamemory_client import types
from somamemory_client._sync.caller import Caller
from somamemory_client._sync.pages import Pages


class Proposals:
    """Decide on proposals to supersede facts."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(self, **options: Unpack[types.ProposalsListOptions]) -> Pages[types.ProposalOut]:
        """Return the proposals in a given state, newest first. By default, return the open proposals."""
        return Pages(self._caller, "proposals.list", {**options})

    def accept(self, id: str) -> types.ProposalOut:
        """Let the newer fact supersede the older one."""
        return self._caller.fetch(types.ProposalOut, "proposals.accept", {"id": id})

    def reject(self, id: str) -> types.ProposalOut:
        """Keep both facts."""
        return self._caller.fetch(types.ProposalOut, "proposals.reject", {"id": id})

    def undo(self, id: str) -> types.ProposalOut:
        """Reopen a proposal that was accepted or rejected."""
        return self._caller.fetch(types.ProposalOut, "proposals.undo", {"id": id})

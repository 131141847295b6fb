"""Proposals to supersede facts."""

from __future__ import annotations

from typing import Unpack

from somamemory_client import types
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._async.pages import AsyncPages


class AsyncProposals:
    """Decide on proposals to supersede facts."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    def list(self, **options: Unpack[types.ProposalsListOptions]) -> AsyncPages[types.ProposalOut]:
        """Return the proposals in a given state, newest first. By default, return the open proposals."""
        return AsyncPages(self._caller, "proposals.list", {**options})

    async def accept(self, id: str) -> types.ProposalOut:
        """Let the newer fact supersede the older one."""
        return await self._caller.fetch(types.ProposalOut, "proposals.accept", {"id": id})

    async def reject(self, id: str) -> types.ProposalOut:
        """Keep both facts."""
        return await self._caller.fetch(types.ProposalOut, "proposals.reject", {"id": id})

    async def undo(self, id: str) -> types.ProposalOut:
        """Reopen a proposal that was accepted or rejected."""
        return await self._caller.fetch(types.ProposalOut, "proposals.undo", {"id": id})

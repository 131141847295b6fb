"""Links between addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from somamemory_client import types
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._operation import Fields
from somamemory_client._results import Results, several


class AsyncGraph:
    """Link addresses and follow the links."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def link(self, **ends: Unpack[types.GraphLinkOptions]) -> types.LinkOut:
        """Link two addresses, as in `link(from_key="ada", to_coord="1,2", link_type="knows")`."""
        return await self._caller.fetch(types.LinkOut, "graph.link", {**ends})

    async def unlink(self, **ends: Unpack[types.GraphUnlinkOptions]) -> bool:
        """Delete a link. Return whether it existed."""
        return (await self._caller.fetch(types.UnlinkedOut, "graph.unlink", {**ends}))["deleted"]

    async def link_many(self, links: Sequence[types.NamedLinkBody], *, atomic: bool = False) -> types.BulkLinkedOut:
        """Create up to 1,000 links in one request. With `atomic`, create all or none."""
        items = [self._caller.config.scoped_item(link, ["namespace"]) for link in several("links", links)]
        fields: Fields = {"links": items, "atomic": atomic}
        return await self._caller.fetch(types.BulkLinkedOut, "graph.link_many", fields)

    async def neighbors(self, **options: Unpack[types.GraphNeighborsOptions]) -> Results[types.NeighborOut]:
        """Return the neighbours of the address with this `coord`, `key` or `id`."""
        body = await self._caller.fetch(types.NeighborsOut, "graph.neighbors", {**options})
        return Results(body["neighbors"], body)

    async def path(self, **ends: Unpack[types.GraphPathOptions]) -> types.PathOut:
        """Return the shortest path between two addresses or, with `weighted`, the cheapest."""
        return await self._caller.fetch(types.PathOut, "graph.path", {**ends})

    async def export(self, **options: Unpack[types.GraphExportOptions]) -> str:
        """Return all links in a namespace as JSON, or as GraphML with `format="graphml"`."""
        return await self._caller.text("graph.export", {**options})

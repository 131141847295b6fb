"""The route for the density map of memories."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api.json import JsonObject, reply
from api.map import presenters
from api.map.schemas import MapOut, MapParams
from api.request import Request
from api.routing import PolicyRouter
from memories import density_map
from memories.selectors import Narrowing
from tenants.caller import Caller

router = PolicyRouter("memories")


@router.get("/memories/map", out=MapOut, exclude_unset=True, kind="search", limited=True)
def map_memories(request: Request, query: Query[MapParams]) -> HttpResponse:
    """Count memories in the cells of a grid (`axes`), or at the coordinates below a prefix (`depth`)."""
    return reply(density(request.caller, query))


def density(caller: Caller, query: MapParams) -> JsonObject:
    query.check()
    narrowing = Narrowing(memory_type=query.memory_type, prefix=query.prefix, **query.ids)
    if query.axes is None:
        depth = query.depth or 1
        places = density_map.places(
            caller, query.namespace, narrowing, depth, limit=query.limit or 50, cursor=query.cursor
        )
        return presenters.places(query.namespace, depth, places)
    region = (query.box.low, query.box.high) if query.box else None
    grid = density_map.grid(
        caller, query.namespace, narrowing, query.axes, region=region, resolution=query.resolution or 48
    )
    return presenters.grid(query.namespace, grid)

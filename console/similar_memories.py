"""The memories closest in meaning to a given memory, for the memory page's script."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from console.admin.memories import link
from console.json_views import json_view, memory_id
from memories import density_map, selectors
from memories.search.similar import similar
from tenants.caller import Caller

NEIGHBOURS = 8


@json_view
def answer(request: HttpRequest, caller: Caller) -> Any:
    """Return `neighbours`: the memories closest in meaning to the requested one, or None if it has no vector."""
    neighbours = similar(caller, selectors.inspect(caller, memory_id(request)), NEIGHBOURS)
    if neighbours is None:
        return {"neighbours": None}
    return {
        "neighbours": [
            {
                "coord": memory.coordinate.text,
                "text": density_map.excerpt(memory),
                "similarity": round(similarity, 4),
                "link": link(caller.tenant.slug, memory.id),
            }
            for memory, similarity in neighbours
        ]
    }

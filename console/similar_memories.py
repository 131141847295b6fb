"""The neighbours of a memory in the vector space, for the script of its page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest

from console.admin.memories import link
from console.json_views import json_view
from memories import density_map, selectors
from memories.search.similar import similar
from somamemory.errors import InvalidInput
from tenants.caller import Caller

NEIGHBOURS = 8


@json_view
def answer(request: HttpRequest, caller: Caller) -> Any:
    """Return the nearest memories by meaning, or None for a memory that has no vector."""
    try:
        id = UUID(request.GET.get("id", ""))
    except ValueError:
        raise InvalidInput("id", "must be a UUID") from None
    neighbours = similar(caller, selectors.inspect(caller, id), NEIGHBOURS)
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

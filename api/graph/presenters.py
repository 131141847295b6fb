"""Present links, neighbours and paths as JSON."""

from __future__ import annotations

from api.json import JsonObject
from api.memories import presenters as memories
from graph.models import Link
from graph.selectors import Neighbourhood, Path
from graph.services import Linked
from graph.walks import Neighbour
from memories import coordinates
from memories.coordinates import Coordinate
from somamemory.times import rfc3339_or_none


def linked(linked: Linked) -> JsonObject:
    link = linked.link
    return {
        "ok": True,
        **_ends(link),
        "link_type": link.link_type,
        "strength": link.strength,
        "namespace": link.namespace,
        "valid_from": rfc3339_or_none(link.valid_from),
        "valid_to": rfc3339_or_none(link.valid_to),
        "created": linked.created,
    }


def bulk_linked(index: int, linked: Linked) -> JsonObject:
    return {
        "index": index,
        "status": 201 if linked.created else 200,
        **_ends(linked.link),
        "link_type": linked.link.link_type,
    }


def neighbourhood(start: Coordinate, neighbourhood: Neighbourhood) -> JsonObject:
    neighbours = [_neighbour(neighbour) for neighbour in neighbourhood.neighbours]
    if neighbourhood.memories is not None:
        for neighbour, memory in zip(neighbours, neighbourhood.memories, strict=True):
            neighbour["memory"] = memory and memories.memory(memory)
    return {
        "coord": start.text,
        "neighbors": neighbours,
        "truncated": neighbourhood.truncated,
        "next_offset": neighbourhood.next_offset,
    }


def path(start: Coordinate, goal: Coordinate, path: Path) -> JsonObject:
    steps = path.steps or ()
    found = path.steps is not None
    return {
        "from_coord": start.text,
        "to_coord": goal.text,
        "found": found,
        "path": [start.text, *(coordinate_text(step.after) for step in steps)] if found else [],
        "link_types": [step.link_type for step in steps],
        "length": len(steps) if found else None,
        "cost": round(path.cost, 9) if found else None,
        "truncated": path.truncated,
    }


def coordinate_text(key: str) -> str:
    return coordinates.from_key(key).text


def _neighbour(neighbour: Neighbour) -> JsonObject:
    last = neighbour.path[-1]
    return {
        **memories.address(coordinates.from_key(neighbour.key)),
        "link_type": last.link_type,
        "strength": last.strength,
        "hops": len(neighbour.path),
        "direction": "in" if last.backwards else "out",
        "path": [
            coordinate_text(neighbour.path[0].before),
            *(coordinate_text(step.after) for step in neighbour.path),
        ],
    }


def _ends(link: Link) -> JsonObject:
    return {"from_coord": link.start.text, "to_coord": link.end.text}

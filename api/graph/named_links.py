"""Convert links whose ends are named by coordinates, keys or ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.graph.schemas import EndParams, NamedLinkBody
from graph import services
from graph.services import NewLink
from memories import lookup
from memories.addresses import Address
from memories.coordinates import Coordinate
from somamemory.errors import SomaError
from tenants.caller import Caller

Named = tuple[NamedLinkBody, Address, Address]


def ends(caller: Caller, named: NamedLinkBody | EndParams) -> tuple[Coordinate, Coordinate]:
    """Return the coordinates of both ends. Raises NotFound if there is no memory with a given key or id."""
    start, end = (lookup.coordinate(caller, named.namespace, name) for name in named.ends())
    return start, end


def named(body: NamedLinkBody) -> Named:
    """Return a link with the names of its ends. Raises InvalidInput unless each end has exactly one name."""
    return body, *body.ends()


def new_links(caller: Caller, items: Sequence[Named | SomaError]) -> list[NewLink | SomaError]:
    """For each item, return the link between the coordinates of its ends, or an error if the item is invalid."""
    names: dict[str, list[Address]] = {}
    for item in items:
        if not isinstance(item, SomaError):
            names.setdefault(item[0].namespace, []).extend(item[1:])
    places = {namespace: lookup.coordinates(caller, namespace, ends) for namespace, ends in names.items()}
    return [item if isinstance(item, SomaError) else _new_link(caller, item, places) for item in items]


def _new_link(caller: Caller, named: Named, places: Mapping[str, lookup.Places]) -> NewLink | SomaError:
    body, start, end = named
    begins, ends = places[body.namespace][start], places[body.namespace][end]
    if isinstance(begins, SomaError):
        return begins
    if isinstance(ends, SomaError):
        return ends
    try:
        return services.checked(caller, new_link(body, begins, ends))
    except SomaError as error:
        return error


def new_link(body: NamedLinkBody, start: Coordinate, end: Coordinate) -> NewLink:
    return NewLink(
        start=start,
        end=end,
        link_type=body.link_type,
        strength=body.strength,
        namespace=body.namespace,
        metadata=body.metadata,
        valid_from=body.valid_from,
        valid_to=body.valid_to,
    )

"""Read links: neighbours, paths, networks for drawing, statistics and exports."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from django.db.models import Q, QuerySet
from django.utils import timezone

import memories.counts
import memories.point_in_time
import memories.selectors
from graph import link_history, walks
from graph.models import Link
from graph.query_conditions import Beyond
from graph.walks import Neighbour, Row, Step
from memories import coordinates
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.selectors import Narrowing
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

MAX_HOPS = 5
MAX_LENGTH = 20
# The maximum number of links that one request can read: enough for several hubs with 10,000 links each. Reading takes
# about 2 µs per link.
MAX_READ = 50_000
EXPORT_PAGE = 1_000
MAX_DRAWN = 300
Direction = Literal["out", "in", "both"]


@dataclass(frozen=True)
class LinkFilter:
    """Selects the links that a traversal can follow.

    as_of: follow the links that existed at this time, instead of the current ones.
    valid_at: the time at which the links must be valid; None means `as_of`, or now.
    """

    direction: Direction = "out"
    link_types: tuple[str, ...] = ()  # empty means all types
    min_strength: float = 0.0
    as_of: datetime | None = None
    valid_at: datetime | None = None

    def apply(self, links: QuerySet[Any]) -> QuerySet[Any]:
        at = self.valid_at or self.as_of or timezone.now()
        links = links.filter(
            Q(valid_from__isnull=True) | Q(valid_from__lte=at), Q(valid_to__isnull=True) | Q(valid_to__gt=at)
        )
        if self.link_types:
            links = links.filter(link_type__in=self.link_types)
        return links.filter(strength__gte=self.min_strength) if self.min_strength else links


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbours of an address.

    memories: the memory (or None) at each neighbour, if requested.
    truncated: whether there were too many links to read, in which case addresses may be missing.
    read: the number of links that were read.
    """

    neighbours: Sequence[Neighbour]
    memories: Sequence[Memory | None] | None
    truncated: bool
    read: int
    next_offset: int | None = None  # set if the page is incomplete because its memories are too large for one response


@dataclass(frozen=True)
class Path:
    """The result of a path search. `steps` is None if no path was found.

    truncated: whether a limit was reached. If so, a path may exist even if none was found and, if `weighted`, a cheaper
      path may exist.
    """

    steps: Sequence[Step] | None
    truncated: bool
    read: int

    @property
    def cost(self) -> float:
        return walks.total(self.steps or ())


@dataclass
class Reader:
    """Reads the links for a traversal: at most `most` links in total, with one statement per hop and direction.

    links: queries that together return each link exactly once.
    """

    links: Sequence[QuerySet[Any]]
    link_filter: LinkFilter
    most: int
    truncated: bool = field(default=False, init=False)
    read: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        # The filter is applied only once, so that "now" is the same time for the whole traversal.
        self.links = [self.link_filter.apply(links) for links in self.links]

    def __call__(self, keys: Collection[str], *, reverse: bool = False) -> list[tuple[bool, list[Row]]]:
        by_direction: list[tuple[bool, list[Row]]] = []
        for backwards in (False, True):
            if self.link_filter.direction == ("out" if backwards else "in"):
                continue
            near, far = ("to_key", "from_key") if backwards != reverse else ("from_key", "to_key")
            there = Q(**{f"{near}__among": keys})
            rows, *more = (links.filter(there).values_list(near, far, "link_type", "strength") for links in self.links)
            left = self.most - self.read
            page: list[Row] = list((rows.union(*more, all=True) if more else rows)[: left + 1])
            if len(page) > left:
                self.truncated = True
                page.pop()
            self.read += len(page)
            by_direction.append((backwards, page))
        return by_direction


def links_in(caller: Caller, namespace: str) -> QuerySet[Link]:
    """Return the caller's links in a namespace."""
    caller.require("read", [namespace])
    return Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)


def read_links(caller: Caller, namespace: str, link_filter: LinkFilter, most: int) -> Reader:
    """Return a reader for the caller's links in a namespace.

    Raises InvalidInput if `as_of` is in the future, and HistoryGone if it is before the tenant's history begins.
    """
    if link_filter.as_of is None:
        return Reader([links_in(caller, namespace)], link_filter, most)
    return Reader(link_history.at(caller, namespace, link_filter.as_of), link_filter, most)


@may_read_replica
def neighbours(
    caller: Caller,
    namespace: str,
    start: Coordinate,
    link_filter: LinkFilter,
    *,
    hops: int = 1,
    limit: int = 50,
    offset: int = 0,
    include_memory: bool = False,
) -> Neighbourhood:
    """Return a page of the addresses within `hops` links. See `walks.neighbours`."""
    read = read_links(caller, namespace, link_filter, MAX_READ)
    page = walks.neighbours(read, start.key, hops, limit, offset)
    if not include_memory:
        return Neighbourhood(page, None, read.truncated, read.read)
    there = [coordinates.from_key(neighbour.key) for neighbour in page]
    stored = _memories_at(caller, namespace, there, link_filter.as_of)
    next_offset = offset + len(stored) if len(stored) < len(page) else None
    return Neighbourhood(page[: len(stored)], stored, read.truncated, read.read, next_offset)


def _memories_at(
    caller: Caller, namespace: str, there: Sequence[Coordinate], as_of: datetime | None
) -> Sequence[Memory | None]:
    if as_of is None:
        return memories.selectors.get_many(caller, namespace, there)
    rows = memories.point_in_time.at(caller, [namespace], as_of, Narrowing())
    return memories.point_in_time.in_order(caller, rows, "coordinate_key", [coordinate.key for coordinate in there])


@dataclass(frozen=True)
class Network:
    """The addresses around a given one, with their memories and the links between them, for drawing.

    nodes: (key, hops, memory or None), starting with the address itself.
    links: the links between these nodes, at most MAX_DRAWN.
    truncated: whether there are more nodes or links.
    """

    nodes: Sequence[tuple[str, int, Memory | None]]
    links: Sequence[Link]
    truncated: bool


@may_read_replica
def network(caller: Caller, namespace: str, start: Coordinate, *, hops: int = 2, limit: int = 40) -> Network:
    """Return up to `limit` addresses nearest to `start`, for drawing. Links are followed in both directions.

    The memories at these addresses do not count as read.
    """
    link_filter = LinkFilter(direction="both")
    read = read_links(caller, namespace, link_filter, MAX_READ)
    near = walks.neighbours(read, start.key, hops, limit + 1)
    keys = {start.key: 0, **{neighbour.key: len(neighbour.path) for neighbour in near[:limit]}}
    there = memories.selectors.live(caller, [namespace]).filter(coordinate_key__among=keys)
    stored = {memory.coordinate_key: memory for memory in there}
    among = link_filter.apply(links_in(caller, namespace)).filter(from_key__among=keys, to_key__among=keys)
    links = list(among.order_by("from_key", "to_key", "link_type")[: MAX_DRAWN + 1])
    return Network(
        [(key, far, stored.get(key)) for key, far in keys.items()],
        links[:MAX_DRAWN],
        read.truncated or len(near) > limit or len(links) > MAX_DRAWN,
    )


@may_read_replica
def shortest_path(
    caller: Caller,
    namespace: str,
    start: Coordinate,
    goal: Coordinate,
    link_filter: LinkFilter,
    *,
    max_length: int = MAX_LENGTH,
    weighted: bool = False,
) -> Path:
    """Return the path with the fewest hops or, if `weighted`, the cheapest path.

    Only paths of at most `max_length` hops are considered.
    """
    read = read_links(caller, namespace, link_filter, MAX_READ)
    steps = (walks.cheapest if weighted else walks.shortest)(read, start.key, goal.key, max_length)
    # A shortest path that was found is valid even if some links were not read.
    return Path(steps, read.truncated and (weighted or steps is None), read.read)


@may_read_replica
def stats(caller: Caller) -> dict[str, Any]:
    """Return the memory counts (see `memories.counts.stats`) and the number of links."""
    counted = memories.counts.stats(caller)
    links = Link.objects.for_tenant(caller.tenant)
    if caller.namespaces:
        links = links.filter(namespace__in=caller.namespaces)
    return {**counted, "links": links.count()}


@dataclass(frozen=True)
class Subgraph:
    """The links between addresses below a prefix or in a whole namespace, as of the time when this object was created.

    Links are read page by page, which needs little memory and no long transaction. A link that exists until the
    last page has been read is returned exactly once. A link that is removed in the meantime may be missing, and a
    link that is created in the meantime is left out.
    """

    rows: QuerySet[Link]

    def addresses(self) -> Iterator[Coordinate]:
        """Yield each address that has a link, once, ordered by key."""
        last = ""
        while True:
            page = sorted({key for column in ("from_key", "to_key") for key in self._keys(column, last)})
            page = page[:EXPORT_PAGE]
            yield from map(coordinates.from_key, page)
            if len(page) < EXPORT_PAGE:
                return
            last = page[-1]

    def links(self) -> Iterator[Link]:
        """Yield the links, ordered by start, end and type."""
        columns = ["from_key", "to_key", "link_type"]
        rows = self.rows.order_by(*columns)
        page = list(rows[:EXPORT_PAGE])
        while page:
            yield from page
            last = page[-1]
            after = Beyond(columns, [last.from_key, last.to_key, last.link_type])
            page = list(rows.filter(after)[:EXPORT_PAGE]) if len(page) == EXPORT_PAGE else []

    def _keys(self, column: str, last: str) -> QuerySet[Link, str]:
        rows = self.rows.filter(**{f"{column}__gt": last}).order_by(column)
        return rows.values_list(column, flat=True).distinct()[:EXPORT_PAGE]


def subgraph(
    caller: Caller, namespace: str, prefix: Coordinate | None = None, ends: Sequence[Coordinate] = ()
) -> Subgraph:
    """Return the links in a namespace.

    With `prefix`, return only links with both ends below it; with `ends`, only links that begin or end at one of these
    addresses.
    """
    rows = links_in(caller, namespace)
    if ends:
        keys = [end.key for end in ends]
        rows = rows.filter(Q(from_key__among=keys) | Q(to_key__among=keys))
    if prefix is not None:
        low, high = prefix.subtree
        rows = rows.filter(from_key__gte=low, from_key__lt=high, to_key__gte=low, to_key__lt=high)
    return Subgraph(rows.filter(created_at__lte=timezone.now()))

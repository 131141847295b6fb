"""Traverse links to find neighbours and paths. This module is pure: it does no I/O.

The links come from a `Read`, which is called once per hop for all addresses that the traversal has reached. Reading is
the only significant cost. If several links lead to the same address, only the *best* one counts: the strongest, with
ties broken by link type, then by source address, then by direction (forward before backward). The result therefore does
not depend on how, or in which order, the links are stored.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

# Each hop costs this much in addition to 1 - strength, so that the shorter of two equally strong paths is cheaper.
STEP_COST = 0.01
# Costs that differ by no more than this are treated as equal, because sums are rounded.
_ROUNDING = 1e-9
# The fraction of a score that remains after each hop of `spread`.
DAMPING = 0.5

Row = tuple[str, str, str, float]  # (given address, address at the other end, link type, strength)
Arrival = tuple[float, str, str, bool]  # (-strength, link type, previous address, backwards); the smallest is best


class Read(Protocol):
    """Reads the links of given addresses.

    `truncated` is set if there are more links than may be read; in that case, the remaining links are unknown.
    """

    truncated: bool

    def __call__(self, keys: Collection[str], *, reverse: bool = False) -> Iterable[tuple[bool, Iterable[Row]]]:
        """Return `(backwards, rows)` pairs with the links that lead from `keys` or, if `reverse`, to `keys`."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One hop of a traversal. `backwards` is set if the link is followed against its direction."""

    before: str
    after: str
    link_type: str
    strength: float
    backwards: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour. `path` contains the steps that lead to it, the last of which is shown in the response."""

    key: str
    path: tuple[Step, ...]


# A path search: (read, start, goal, maximum number of hops) -> the steps, or None if no path was found.
Walk = Callable[[Read, str, str, int], "list[Step] | None"]


def cost(strength: float) -> float:
    """Return the cost of a hop, from 0.01 for the strongest link to 1.01 for the weakest."""
    return 1.0 - strength + STEP_COST


def neighbours(read: Read, start: str, most_hops: int, limit: int, offset: int = 0) -> list[Neighbour]:
    """Return a page of the addresses within `most_hops`, each with its smallest number of hops.

    The neighbours are ordered by hops, then by the strength of the last link (strongest first), then by address. The
    traversal stops after the hop that fills the page.
    """
    enough = offset + limit
    seen: dict[str, Arrival | None] = {start: None}
    page: list[str] = []
    frontier: Collection[str] = [start]
    for _ in range(most_hops):
        level = _arrivals(read(frontier), seen)
        seen.update(level)
        page += heapq.nsmallest(enough - len(page), level, key=lambda key: (level[key][0], key))
        if not level or len(page) >= enough or read.truncated:
            break
        frontier = level
    return [Neighbour(key, tuple(_steps_to(key, seen))) for key in page[offset:]]


def shortest(read: Read, start: str, goal: str, most_hops: int) -> list[Step] | None:
    """Return a path with the fewest hops, at most `most_hops`.

    Returns None if there is no path, or if too many links would have to be read.
    """
    return _meet(read, start, goal, most_hops).path


def cheapest(read: Read, start: str, goal: str, most_hops: int) -> list[Step] | None:
    """Return the cheapest path of at most `most_hops` hops or, if several cost the same, the shortest of them.

    This uses rounds, as in the Bellman-Ford algorithm, instead of Dijkstra's queue. After round n, the cheapest path of
    n hops is known, so the limit on hops is exact. Each round reads the links of all its addresses at once.

    A bidirectional shortest-path search runs first. It shows whether there is a path, and gives an upper bound
    for the cost and a lower bound for the distance to the goal. Hops that cannot lead to a cheaper path are skipped.
    """
    meeting = _meet(read, start, goal, most_hops)
    if not meeting.path:
        return meeting.path
    return _CheapestWalk(read, start, goal, most_hops, meeting, meeting.path).run()


def total(path: Iterable[Step]) -> float:
    """Return the cost of a path, summed from its start."""
    return sum((cost(step.strength) for step in path), 0.0)


def spread(read: Read, scores: Mapping[str, float], hops: int) -> dict[str, float]:
    """Spread scores (0 to 1) to other addresses. Each hop halves a score and multiplies it by the link's strength.

    An address gets the highest of the scores that arrive on the hop that first reaches it. An address that is already
    in `scores` receives scores only through direct links from other addresses, and never its own score back.
    """
    reached: dict[str, float] = {}
    seen = set(scores)
    frontier = dict(scores)
    for hop in range(1, hops + 1):
        level: dict[str, float] = {}
        for _, rows in read(frontier):
            for before, after, _, strength in rows:
                if after == before or (hop > 1 and after in seen):
                    continue
                level[after] = max(level.get(after, 0.0), frontier[before] * strength * DAMPING)
        reached.update(level)
        frontier = {key: score for key, score in level.items() if key not in seen}
        seen.update(frontier)
        if not frontier or read.truncated:
            break
    return {key: score for key, score in reached.items() if score > 0}


def _arrivals(read: Iterable[tuple[bool, Iterable[Row]]], seen: Collection[str]) -> dict[str, Arrival]:
    """Return the best link to each address that is not in `seen`."""
    level: dict[str, Arrival] = {}
    for backwards, rows in read:
        for before, after, link_type, strength in rows:
            if after in seen:
                continue
            arrival = (-strength, link_type, before, backwards)
            known = level.get(after)
            if known is None or arrival < known:
                level[after] = arrival
    return level


def _steps_to(key: str, seen: Mapping[str, Arrival | None]) -> list[Step]:
    """Return the steps from the start of a traversal to `key`. `seen` contains the best link to each address."""
    steps = []
    while (arrival := seen[key]) is not None:
        strength, link_type, before, backwards = arrival
        steps.append(Step(before, key, link_type, -strength, backwards))
        key = before
    return steps[::-1]


def _steps_from(key: str, seen: Mapping[str, Arrival | None]) -> list[Step]:
    """Return the steps from `key` to the goal, where the reverse traversal started."""
    steps = []
    while (arrival := seen[key]) is not None:
        strength, link_type, after, backwards = arrival
        steps.append(Step(key, after, link_type, -strength, backwards))
        key = after
    return steps


def _steps_back(rounds: list[dict[str, tuple[float, Arrival]]], goal: str) -> list[Step]:
    """Return the steps from the start to `goal`, going back through the rounds. The last round reached the goal."""
    steps = []
    for improved in reversed(rounds):
        strength, link_type, before, backwards = improved[goal][1]
        steps.append(Step(before, goal, link_type, -strength, backwards))
        goal = before
    return steps[::-1]


class _Meeting:
    """The path through the point where the traversals from both ends meet, and the levels around the goal.

    levels: the addresses at each number of hops from the goal, for the levels that have been completely read.
    """

    def __init__(self, path: list[Step] | None, levels: list[dict[str, Arrival]]) -> None:
        self.path = path
        self._hops = {key: hops for hops, level in enumerate(levels) for key in level}
        # Every path to the goal crosses each level, so its cost is at least that of the best link from each level to
        # the next.
        self._floors = [0.0]
        for level in levels[1:]:
            self._floors.append(self._floors[-1] + cost(-min(level.values())[0]))

    def at_least(self, key: str) -> tuple[int, float]:
        """Return lower bounds for the number of hops and for the cost from an address to the goal."""
        beyond = len(self._floors)
        hops = self._hops.get(key, beyond)
        return hops, self._floors[hops] if hops < beyond else self._floors[-1] + STEP_COST


def _meet(read: Read, start: str, goal: str, most_hops: int) -> _Meeting:
    """Search breadth-first from both ends, always extending the side with fewer addresses (if equal, fewer hops).

    If m hops from the start and n hops from the goal have not met, there is no path of m + n or fewer hops. The first
    meeting is therefore on a shortest path.
    """
    ahead: dict[str, Arrival | None] = {start: None}
    behind: dict[str, Arrival | None] = {goal: None}
    levels: list[dict[str, Arrival]] = [{goal: (0.0, "", goal, False)}]  # completed levels around the goal
    frontier: Collection[str] = [start]
    if start == goal:
        return _Meeting([], levels)
    for hop in range(most_hops):
        hops_behind = len(levels) - 1
        reverse = (len(levels[-1]), hops_behind) < (len(frontier), hop - hops_behind)
        seen, other = (behind, ahead) if reverse else (ahead, behind)
        level = _arrivals(read(levels[-1] if reverse else frontier, reverse=reverse), seen)
        seen.update(level)
        if reverse and level and not read.truncated:
            levels.append(level)
        if met := [key for key in level if key in other]:
            key = min(met)
            return _Meeting(_steps_to(key, ahead) + _steps_from(key, behind), levels)
        if not level or read.truncated:
            break
        if not reverse:
            frontier = level
    return _Meeting(None, levels)


class _CheapestWalk:
    """The state of `cheapest`: the best path so far, and the improvements made in each round."""

    def __init__(
        self, read: Read, start: str, goal: str, most_hops: int, meeting: _Meeting, shortest_path: list[Step]
    ) -> None:
        self.read, self.goal, self.most_hops, self.meeting = read, goal, most_hops, meeting
        self.best, self.limit = shortest_path, total(shortest_path)
        self.costs = {start: 0.0}
        self.rounds: list[dict[str, tuple[float, Arrival]]] = []
        self.links = _Remembering(read)

    def run(self) -> list[Step]:
        frontier = self.costs.copy()
        for hop in range(1, self.most_hops + 1):
            improved = self._improved(frontier, hop)
            self.rounds.append(improved)
            self.costs.update({key: spent for key, (spent, _) in improved.items()})
            if self.goal in improved:
                self.limit, self.best = self.costs[self.goal], _steps_back(self.rounds, self.goal)
            frontier = {key: spent for key, (spent, _) in improved.items() if key != self.goal}
            if not frontier or self.read.truncated:
                break
        return self.best

    def _improved(self, frontier: Mapping[str, float], hop: int) -> dict[str, tuple[float, Arrival]]:
        """Return the addresses that one more hop reaches at a lower cost and that may be on a cheaper path."""
        improved: dict[str, tuple[float, Arrival]] = {}
        for before, after, price, arrival in self.links.of(frontier):
            spent = frontier[before] + price
            if spent >= self.costs.get(after, self.limit):
                continue
            hops_left, cost_left = self.meeting.at_least(after)
            if hop + hops_left > self.most_hops or spent + cost_left > self.limit - _ROUNDING:
                continue
            known = improved.get(after)
            if known is None or (spent, arrival) < known:
                improved[after] = spent, arrival
        return improved


class _Remembering:
    """Reads each address's links only once."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.known: dict[str, list[tuple[str, str, float, Arrival]]] = {}

    def of(self, keys: Collection[str]) -> Iterator[tuple[str, str, float, Arrival]]:
        """Yield (address, address at the other end, cost, arrival) for every link of these addresses."""
        new = [key for key in keys if key not in self.known]
        self.known.update((key, []) for key in new)
        if new:
            for backwards, rows in self.read(new):
                for before, after, link_type, strength in rows:
                    arrival = (-strength, link_type, before, backwards)
                    self.known[before].append((before, after, cost(strength), arrival))
        for key in keys:
            yield from self.known[key]

"""Walks along links: neighbours and paths. Pure.

The links come from a `Read`, which is asked once a hop for all addresses that the walk has come to; what it has read
is all that a walk costs. Of several links to one address the *best* counts: the strongest, then by the name of its
type, by the address it comes from, and forwards before backwards. So every answer is the same wherever the links are
kept, and in whatever order they come.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

# A step costs 1 - strength, and this: of two equally strong ways the shorter one is cheaper.
STEP_COST = 0.01
# Costs that differ by no more than this are equal: adding them up rounds.
_ROUNDING = 1e-9
# Half of a score is left after each hop of `spread`.
DAMPING = 0.5

Row = tuple[str, str, str, float]  # (an address asked for, the address at the other end, link type, strength)
Arrival = tuple[float, str, str, bool]  # (-strength, link type, the address before, backwards): the smallest is best


class Read(Protocol):
    """The links of addresses. `truncated` once there were more than may be read; the rest is then unknown."""

    truncated: bool

    def __call__(self, keys: Collection[str], *, reverse: bool = False) -> Iterable[tuple[bool, Iterable[Row]]]:
        """`(backwards, rows)`: in the direction of the walk, or with `reverse` against it."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a walk; `backwards` when the walk goes against its direction."""

    before: str
    after: str
    link_type: str
    strength: float
    backwards: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """`path`: the steps to it, the last of which is the link that the answer tells of."""

    key: str
    path: tuple[Step, ...]


Walk = Callable[[Read, str, str, int], "list[Step] | None"]  # from one address to another, of so many steps at most


def cost(strength: float) -> float:
    """Of one step: from 0.01 for the strongest link to 1.01 for the weakest."""
    return 1.0 - strength + STEP_COST


def neighbours(read: Read, start: str, most_hops: int, limit: int, offset: int = 0) -> list[Neighbour]:
    """A page of the addresses within `most_hops`, each at its smallest number of hops.

    In the order of hops, then strength (of the last link, strongest first), then address. Hops that come after the end
    of the page are not walked.
    """
    enough = offset + limit
    seen: dict[str, Arrival | None] = {start: None}
    found: list[str] = []
    frontier: Collection[str] = [start]
    for _ in range(most_hops):
        level = _arrivals(read(frontier), seen)
        seen.update(level)
        found += heapq.nsmallest(enough - len(found), level, key=lambda key: (level[key][0], key))
        if not level or len(found) >= enough or read.truncated:
            break
        frontier = level
    return [Neighbour(key, tuple(_steps_to(key, seen))) for key in found[offset:]]


def shortest(read: Read, start: str, goal: str, most_hops: int) -> list[Step] | None:
    """A path with the fewest steps, `most_hops` at most; None when there is none, or when too much had to be read."""
    return _meet(read, start, goal, most_hops).path


def cheapest(read: Read, start: str, goal: str, most_hops: int) -> list[Step] | None:
    """The path of `most_hops` steps at most whose costs add up to the least; of equals the one with fewer steps.

    Bellman and Ford's rounds instead of Dijkstra's queue: after round n the cheapest path of n steps is known, so the
    limit is exact, and each round reads the links of all its addresses at once. A shortest path, found from both ends,
    comes first: it says whether there is anything to be found, what that costs at most, and how far the goal is at
    least; what cannot be better any more is not walked.
    """
    meeting = _meet(read, start, goal, most_hops)
    best = meeting.path
    if best is None or not best:
        return best
    limit = total(best)
    costs = {start: 0.0}
    rounds: list[dict[str, tuple[float, Arrival]]] = []
    links = _Remembering(read)
    frontier = costs.copy()
    for hop in range(1, most_hops + 1):
        improved: dict[str, tuple[float, Arrival]] = {}
        for before, after, price, arrival in links.of(frontier):
            spent = frontier[before] + price
            if spent >= costs.get(after, limit):
                continue
            hops_left, cost_left = meeting.at_least(after)
            if hop + hops_left > most_hops or spent + cost_left > limit - _ROUNDING:
                continue
            known = improved.get(after)
            if known is None or (spent, arrival) < known:
                improved[after] = spent, arrival
        rounds.append(improved)
        costs.update({key: spent for key, (spent, _) in improved.items()})
        if goal in improved:
            limit, best = costs[goal], _steps_back(rounds, goal)
        frontier = {key: spent for key, (spent, _) in improved.items() if key != goal}
        if not frontier or read.truncated:
            break
    return best


def total(path: Iterable[Step]) -> float:
    """The costs of a path, added up from its start."""
    return sum((cost(step.strength) for step in path), 0.0)


def spread(read: Read, scores: Mapping[str, float], hops: int) -> dict[str, float]:
    """What reaches other addresses of the scores (0 to 1) of some: half after each hop, times the link's strength.

    An address gets the most of what comes at its first hop; one of those in `scores` only from direct links of others,
    and never its own back.
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
    """The best link to each address that has not been seen."""
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
    """From the address that nothing arrived at, to `key`."""
    steps = []
    while (arrival := seen[key]) is not None:
        strength, link_type, before, backwards = arrival
        steps.append(Step(before, key, link_type, -strength, backwards))
        key = before
    return steps[::-1]


def _steps_from(key: str, seen: Mapping[str, Arrival | None]) -> list[Step]:
    """From `key` to where a walk against the direction began."""
    steps = []
    while (arrival := seen[key]) is not None:
        strength, link_type, after, backwards = arrival
        steps.append(Step(key, after, link_type, -strength, backwards))
        key = after
    return steps


def _steps_back(rounds: list[dict[str, tuple[float, Arrival]]], goal: str) -> list[Step]:
    """From the first round's start to `goal`, which the last round has reached."""
    steps = []
    for improved in reversed(rounds):
        strength, link_type, before, backwards = improved[goal][1]
        steps.append(Step(before, goal, link_type, -strength, backwards))
        goal = before
    return steps[::-1]


class _Meeting:
    """Where two walks met, one from the start and one from the goal, and what the latter has seen on its way."""

    def __init__(self, path: list[Step] | None, levels: list[dict[str, Arrival]]) -> None:
        self.path = path
        self._hops = {key: hops for hops, level in enumerate(levels) for key in level}
        # Every way to the goal crosses each level, so it costs at least the best link from each to the next.
        self._floors = [0.0]
        for level in levels[1:]:
            self._floors.append(self._floors[-1] + cost(-min(level.values())[0]))

    def at_least(self, key: str) -> tuple[int, float]:
        """How many hops, and what cost, it takes from here to the goal at least."""
        beyond = len(self._floors)
        hops = self._hops.get(key, beyond)
        return hops, self._floors[hops] if hops < beyond else self._floors[-1] + STEP_COST


def _meet(read: Read, start: str, goal: str, most_hops: int) -> _Meeting:
    """Breadth first from both ends, always on the narrower side, of equals on the one that has come less far.

    When m hops from the start and n from the goal have not met, no path has m + n steps or fewer. So the first meeting
    is on a shortest path.
    """
    ahead: dict[str, Arrival | None] = {start: None}
    behind: dict[str, Arrival | None] = {goal: None}
    levels: list[dict[str, Arrival]] = [{goal: (0.0, "", goal, False)}]  # complete ones behind
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


class _Remembering:
    """Reads the links of each address once."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.known: dict[str, list[tuple[str, str, float, Arrival]]] = {}

    def of(self, keys: Collection[str]) -> Iterator[tuple[str, str, float, Arrival]]:
        """Every link of these addresses, and what it costs to take it."""
        new = [key for key in keys if key not in self.known]
        self.known.update((key, []) for key in new)
        if new:
            for backwards, rows in self.read(new):
                for before, after, link_type, strength in rows:
                    arrival = (-strength, link_type, before, backwards)
                    self.known[before].append((before, after, cost(strength), arrival))
        for key in keys:
            yield from self.known[key]

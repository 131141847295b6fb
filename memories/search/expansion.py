"""How a search may go on from its best hits to what lies near them by other knowledge, such as links.

The search knows nothing of that knowledge: it hands out the addresses and scores of its best hits, and gets addresses
and scores back. Those are candidates like all others, to be confirmed by the database with every filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenants.caller import Caller

# So many of the best hits are gone on from, whatever page is asked for; so many addresses join at most.
MAX_SEEDS = 10
MAX_REACHED = 200

Address = tuple[str, str]  # namespace, coordinate key


@dataclass(frozen=True)
class Seed:
    address: Address
    score: float  # in [0, 1]


@dataclass(frozen=True)
class Reached:
    """`scores`, in (0, 1], of MAX_REACHED addresses at most; not `complete` when there was too much to look at."""

    scores: Mapping[Address, float]
    complete: bool


class Expansion(Protocol):
    @property
    def weight(self) -> float:
        """What the score counts beside the others (`ranking.Weights`), above 0."""

    def reach(self, caller: Caller, seeds: Sequence[Seed]) -> Reached:
        """What lies near the seeds."""

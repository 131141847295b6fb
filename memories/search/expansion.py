"""The interface for expanding the best hits of a search to related memories, for example along links.

The search does not depend on how memories are related. It passes the addresses and scores of its best hits to an
expansion, and receives related addresses with scores. Like all candidates, they are then confirmed in the database
with every filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenants.caller import Caller

# The number of best hits that are expanded, whatever the page, and the maximum number of addresses that this adds.
MAX_SEEDS = 10
MAX_REACHED = 200

Address = tuple[str, str]  # namespace, coordinate key


@dataclass(frozen=True)
class Seed:
    address: Address
    score: float  # in [0, 1]


@dataclass(frozen=True)
class Reached:
    """At most MAX_REACHED addresses, with scores in (0, 1]. `complete` is False if a limit was reached."""

    scores: Mapping[Address, float]
    complete: bool


class Expansion(Protocol):
    @property
    def weight(self) -> float:
        """Return the weight (greater than 0) of the expansion's scores; see `scoring.Weights`."""

    def reach(self, caller: Caller, seeds: Sequence[Seed]) -> Reached:
        """Return the addresses that are related to the seeds, with their scores."""

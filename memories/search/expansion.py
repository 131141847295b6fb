"""The interface that lets a search expand its best hits to related memories, for example along links.

The search knows nothing about the relation: it passes the addresses and scores of its best hits, and gets addresses
and scores back. These are candidates like all others, which the database confirms with every filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenants.caller import Caller

# The number of best hits that are expanded, for every page; the maximum number of addresses that join.
MAX_SEEDS = 10
MAX_REACHED = 200

Address = tuple[str, str]  # namespace, coordinate key


@dataclass(frozen=True)
class Seed:
    address: Address
    score: float  # in [0, 1]


@dataclass(frozen=True)
class Reached:
    """`scores`, in (0, 1], of MAX_REACHED addresses at most; not `complete` when a limit was reached."""

    scores: Mapping[Address, float]
    complete: bool


class Expansion(Protocol):
    @property
    def weight(self) -> float:
        """Return the weight of the score (see `scoring.Weights`), greater than 0."""

    def reach(self, caller: Caller, seeds: Sequence[Seed]) -> Reached:
        """Return the addresses related to the seeds."""

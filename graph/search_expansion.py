"""Expand a search along links: addresses linked to the best hits become candidates."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from graph import walks
from graph.selectors import LinkFilter, read_links
from memories.search.expansion import MAX_REACHED, Address, Reached, Seed
from tenants.caller import Caller

# The maximum number of links that one search may read.
MAX_READ = 5_000


@dataclass(frozen=True)
class Neighbourhood:
    """Follows links of the given types, or of any type if none are given, in both directions for up to `hops` hops.

    See `walks.spread`.
    """

    hops: int = 1
    link_types: tuple[str, ...] = ()
    weight: float = 0.25

    def reach(self, caller: Caller, seeds: Sequence[Seed]) -> Reached:
        by_namespace: dict[str, dict[str, float]] = {}
        for seed in seeds:
            namespace, key = seed.address
            by_namespace.setdefault(namespace, {})[key] = seed.score
        scores: dict[Address, float] = {}
        left, complete = MAX_READ, True
        for namespace, keys in sorted(by_namespace.items()):
            read = read_links(caller, namespace, LinkFilter("both", self.link_types), left)
            for key, score in walks.spread(read, keys, self.hops).items():
                scores[namespace, key] = score
            left -= read.read
            complete = complete and not read.truncated
        best = heapq.nsmallest(MAX_REACHED, scores.items(), key=lambda item: (-item[1], item[0]))
        return Reached(dict(best), complete and len(best) == len(scores))

"""Random graphs, and NetworkX's results for them.

The graphs have cycles, parallel links and self-loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import networkx
from hypothesis import strategies as st

from graph.selectors import LinkFilter
from graph.walks import STEP_COST

TYPES = ("cites", "follows", "related")
NODES = 8
Edge = tuple[int, int, str, float]

edges = st.lists(
    st.tuples(
        st.integers(0, NODES - 1),
        st.integers(0, NODES - 1),
        st.sampled_from(TYPES),
        st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]),
    ),
    unique_by=lambda edge: edge[:3],
    max_size=28,
)
whiches = st.builds(
    LinkFilter,
    st.sampled_from(["out", "in", "both"]),
    st.sampled_from([(), (), ("cites",), ("follows", "related")]),
    st.sampled_from([0.0, 0.0, 0.3]),
)
nodes = st.integers(0, NODES - 1)


@dataclass(frozen=True)
class Question:
    edges: list[Edge]
    link_filter: LinkFilter
    start: int
    goal: int
    most: int  # maximum number of hops, or maximum length of a path

    @property
    def graph(self) -> Any:
        """Return the links that a walk can follow, all in the direction of the walk."""
        graph = networkx.MultiDiGraph()
        graph.add_nodes_from(range(NODES))
        for start, end, kind, strength in self.edges:
            if strength < self.link_filter.min_strength or kind not in (self.link_filter.link_types or TYPES):
                continue
            if self.link_filter.direction in ("out", "both"):
                graph.add_edge(start, end, kind=kind, strength=strength)
            if self.link_filter.direction in ("in", "both"):
                graph.add_edge(end, start, kind=kind, strength=strength)
        return graph

    def hops(self) -> dict[int, int]:
        """Return the number of hops to each reachable node, except for the start."""
        lengths = networkx.single_source_shortest_path_length(self.graph, self.start, cutoff=self.most)
        return {node: length for node, length in lengths.items() if node != self.start}

    def length(self) -> int | None:
        try:
            length: int = networkx.shortest_path_length(self.graph, self.start, self.goal)
        except networkx.NetworkXNoPath:
            return None
        return length if length <= self.most else None

    def cost(self) -> float | None:
        """Return the cost of the cheapest path with at most that many steps.

        Uses Dijkstra's algorithm on a graph with one layer per step.
        """
        layers = networkx.DiGraph()
        layers.add_node((self.start, 0))
        for start, end, data in self.graph.edges(data=True):
            for step in range(self.most):
                ends = (start, step), (end, step + 1)
                price = 1 - data["strength"] + STEP_COST
                if not layers.has_edge(*ends) or layers.edges[ends]["price"] > price:
                    layers.add_edge(*ends, price=price)
        costs = networkx.single_source_dijkstra_path_length(layers, (self.start, 0), weight="price")
        return min((cost for (node, _), cost in costs.items() if node == self.goal), default=None)

    def strongest(self, before: int, after: int) -> tuple[float, str]:
        """Return the link that a step must use: the strongest, and of equally strong links the first by type."""
        links = self.graph.get_edge_data(before, after).values()
        return min((-link["strength"], link["kind"]) for link in links)


questions = st.builds(Question, edges, whiches, nodes, nodes, st.integers(1, 5))


def steps_are_real(question: Question, steps: Iterable[tuple[int, int, str]]) -> bool:
    """Check that each step (before, after, type) exists, continues the previous one, and is the best of the parallel
    links.
    """
    at = question.start
    for before, after, kind in steps:
        if before != at or question.strongest(before, after)[1] != kind:
            return False
        at = after
    return True

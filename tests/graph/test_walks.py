"""Walks along links in memory, compared with NetworkX. `test_graph.py` tests the databases in the same way."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given, settings

from graph import walks
from graph.selectors import LinkFilter
from graph.walks import Row
from tests.support.graphs import Edge, Question, questions, steps_are_real


class Memory:
    """Reads links from a list, at most `most` in total."""

    def __init__(self, edges: list[Edge], link_filter: LinkFilter, most: int = 1_000_000) -> None:
        self.edges, self.link_filter, self.left = edges, link_filter, most
        self.truncated = False
        self.requested: list[list[str]] = []

    def __call__(self, keys: Collection[str], *, reverse: bool = False) -> list[tuple[bool, list[Row]]]:
        self.requested.append(list(keys))
        found: list[tuple[bool, list[Row]]] = [(False, []), (True, [])]
        for start, end, kind, strength in self.edges:
            if strength < self.link_filter.min_strength or (
                self.link_filter.link_types and kind not in self.link_filter.link_types
            ):
                continue
            for backwards, rows in found:
                if self.link_filter.direction == ("out" if backwards else "in"):
                    continue
                near, far = (end, start) if backwards != reverse else (start, end)
                if str(near) in keys:
                    if not self.left:
                        self.truncated = True
                        return found
                    self.left -= 1
                    rows.append((str(near), str(far), kind, strength))
        return found


def read(question: Question) -> Memory:
    return Memory(question.edges, question.link_filter)


def numbered(steps: Collection[walks.Step]) -> list[tuple[int, int, str]]:
    return [(int(step.before), int(step.after), step.link_type) for step in steps]


@settings(max_examples=150, deadline=None)
@given(questions)
def test_neighbours_and_their_hops_are_those_of_networkx(question: Question) -> None:
    found = walks.neighbours(read(question), str(question.start), question.most, 1000)

    assert {int(result.key): len(result.path) for result in found} == question.hops()
    assert len(found) == len(question.hops())
    for result in found:
        assert steps_are_real(question, numbered(result.path)[:1])
        assert result.path[-1].after == result.key
    order = [(len(result.path), -result.path[-1].strength, result.key) for result in found]
    assert order == sorted(order)


@settings(max_examples=100, deadline=None)
@given(questions)
def test_fewer_neighbours_are_the_first_of_all(question: Question) -> None:
    every = walks.neighbours(read(question), str(question.start), question.most, 1000)

    for enough in (1, 2, 5):
        some = walks.neighbours(read(question), str(question.start), question.most, enough)
        assert some == every[:enough]


@settings(max_examples=150, deadline=None)
@given(questions)
def test_a_shortest_path_has_the_length_that_networkx_says(question: Question) -> None:
    path = walks.shortest(read(question), str(question.start), str(question.goal), question.most)

    assert (None if path is None else len(path)) == question.length()
    assert steps_are_real(question, numbered(path or []))


@settings(max_examples=150, deadline=None)
@given(questions)
def test_a_weighted_path_costs_the_same_as_in_networkx_within_the_length(question: Question) -> None:
    path = walks.cheapest(read(question), str(question.start), str(question.goal), question.most)

    assert (None if path is None else walks.total(path)) == pytest.approx(question.cost())
    assert path is None or len(path) <= question.most
    assert steps_are_real(question, numbered(path or []))


CHAIN: list[Edge] = [(n, n + 1, "related", 1.0) for n in range(7)]
DETOUR: list[Edge] = [(0, 3, "related", 0.5), *((n, n + 1, "cites", 1.0) for n in range(3))]


@pytest.mark.parametrize("walk", [walks.shortest, walks.cheapest])
def test_a_path_of_the_greatest_length_is_found_and_one_longer_is_not(walk: walks.Walk) -> None:
    assert len(walk(Memory(CHAIN, LinkFilter()), "0", "5", 5) or []) == 5
    assert walk(Memory(CHAIN, LinkFilter()), "0", "5", 4) is None


def test_a_detour_over_strong_links_is_cheaper_when_it_is_short_enough() -> None:
    far = walks.cheapest(Memory(DETOUR, LinkFilter()), "0", "3", 3)
    near = walks.cheapest(Memory(DETOUR, LinkFilter()), "0", "3", 2)

    assert [step.link_type for step in far or []] == ["cites"] * 3
    assert walks.total(far or []) == pytest.approx(0.03)
    assert [step.link_type for step in near or []] == ["related"]
    assert walks.total(near or []) == pytest.approx(0.51)


@pytest.mark.parametrize("walk", [walks.shortest, walks.cheapest])
def test_from_an_address_to_itself_there_is_nothing_to_walk(walk: walks.Walk) -> None:
    memory = Memory(CHAIN, LinkFilter())

    assert walk(memory, "3", "3", 1) == []
    assert memory.requested == []


def test_the_shorter_of_equally_cheap_paths_is_returned() -> None:
    even: list[Edge] = [(0, 1, "related", 1.0), (1, 2, "related", 1.0), (0, 2, "related", 0.99)]

    assert len(walks.cheapest(Memory(even, LinkFilter()), "0", "2", 5) or []) == 1


def test_a_walk_asks_once_a_hop() -> None:
    fan: list[Edge] = [(0, n, "related", 1.0) for n in range(1, 50)] + [(n, n + 100, "cites", 1.0) for n in range(50)]
    memory = Memory(fan, LinkFilter())

    walks.neighbours(memory, "0", 2, 1000)

    assert [len(keys) for keys in memory.requested] == [1, 50]


def test_hops_beyond_the_page_are_not_walked() -> None:
    memory = Memory(CHAIN, LinkFilter())

    walks.neighbours(memory, "0", 5, 2)

    assert memory.requested == [["0"], ["1"]]


def test_a_path_is_sought_from_both_ends() -> None:
    """A hub at one end is not expanded if the other end has few links."""
    hub: list[Edge] = [*CHAIN, *((0, n, "related", 1.0) for n in range(100, 200))]
    memory = Memory(hub, LinkFilter())

    assert len(walks.shortest(memory, "0", "7", 20) or []) == 7
    assert max(len(keys) for keys in memory.requested) == 1


@pytest.mark.parametrize("most", range(8))
def test_a_walk_that_reaches_the_limit_is_truncated(most: int) -> None:
    memory = Memory(CHAIN, LinkFilter(), most)

    found = walks.neighbours(memory, "0", 5, 1000)

    assert [result.key for result in found] == [str(n) for n in range(1, min(most, 5) + 1)]
    assert memory.truncated is (most < 5)


def test_a_cheaper_path_may_be_missed_when_too_much_had_to_be_read() -> None:
    memory = Memory(DETOUR, LinkFilter(), 3)

    path = walks.cheapest(memory, "0", "3", 3)

    assert [step.link_type for step in path or []] == ["related"]
    assert memory.truncated


# --- Scores that spread ------------------------------------------------------------------------------------------


def test_half_of_a_score_is_left_after_each_hop_times_the_strength() -> None:
    edges: list[Edge] = [(0, 1, "related", 0.5), (1, 2, "related", 1.0), (2, 3, "related", 1.0)]

    assert walks.spread(Memory(edges, LinkFilter("both")), {"0": 0.8}, 2) == {"1": 0.2, "2": 0.1}


def test_best_hits_pass_scores_to_each_other_but_not_back_to_themselves() -> None:
    edges: list[Edge] = [(0, 1, "related", 1.0), (1, 2, "related", 1.0), (0, 0, "related", 1.0)]

    assert walks.spread(Memory(edges, LinkFilter("both")), {"0": 0.8, "1": 0.4}, 3) == {"0": 0.2, "1": 0.4, "2": 0.2}
    assert walks.spread(Memory(edges, LinkFilter("both")), {"0": 0.8}, 3) == {"1": 0.4, "2": 0.2}


def test_a_link_without_strength_gives_nothing() -> None:
    assert walks.spread(Memory([(0, 1, "related", 0.0)], LinkFilter("both")), {"0": 1.0}, 2) == {}

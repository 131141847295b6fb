"""Walks along links in the database, compared with NetworkX: results, cost and access."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings

from graph import selectors, services
from graph.models import Link
from graph.selectors import LinkFilter
from graph.services import NewLink
from graph.walks import Step
from memories import coordinates
from memories.coordinates import Coordinate
from memories.index import generations
from memories.models import EmbeddingGeneration
from somamemory.errors import Forbidden
from tenants.caller import SCOPES, Caller
from tenants.models import Tenant
from tests.support.graphs import Question, questions, steps_are_real

on_this_database = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def new_caller() -> Caller:
    tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:20]}")
    return Caller(tenant=tenant, actor="key:test", scopes=frozenset(SCOPES))


def at(*numbers: float) -> Coordinate:
    return coordinates.of(numbers)


def number(key: str) -> int:
    return int(coordinates.decode(key)[0])


def numbered(steps: Any) -> list[tuple[int, int, str]]:
    return [(number(step.before), number(step.after), step.link_type) for step in steps]


def caller_with_links(question: Question) -> Caller:
    """Create a tenant with these links."""
    caller = new_caller()
    links = [NewLink(at(start), at(end), kind, strength) for start, end, kind, strength in question.edges]
    if links:
        services.link_many(caller, links)
    return caller


@on_this_database
@given(question=questions)
def test_neighbours_are_those_of_networkx(db: None, question: Question) -> None:
    caller, start = caller_with_links(question), at(question.start)

    def page(limit: int, offset: int = 0) -> list[tuple[int, int]]:
        found = selectors.neighbours(
            caller, "default", start, question.link_filter, hops=question.most, limit=limit, offset=offset
        )
        assert not found.truncated
        assert all(steps_are_real(question, numbered(neighbour.path)) for neighbour in found.neighbours)
        return [(number(neighbour.key), len(neighbour.path)) for neighbour in found.neighbours]

    every = page(1000)

    assert dict(every) == question.hops()
    assert len(every) == len(question.hops())
    assert page(2) + page(2, 2) + page(1000, 4) == every


@on_this_database
@given(question=questions)
def test_paths_are_those_of_networkx(db: None, question: Question) -> None:
    caller, start, goal = caller_with_links(question), at(question.start), at(question.goal)

    def path(weighted: bool) -> selectors.Path:
        return selectors.shortest_path(
            caller, "default", start, goal, question.link_filter, max_length=question.most, weighted=weighted
        )

    short, cheap = path(False), path(True)

    assert (None if short.steps is None else len(short.steps)) == question.length()
    assert (None if cheap.steps is None else cheap.cost) == pytest.approx(question.cost())
    assert (short.truncated, cheap.truncated) == (False, False)
    assert steps_are_real(question, numbered(short.steps or []))
    assert steps_are_real(question, numbered(cheap.steps or []))


# --- Cost --------------------------------------------------------------------------------------------------------

HUB = 300
CROWD = 30_000


CROWDED = uuid.UUID(int=81)


@pytest.fixture(scope="module")
def crowded(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A hub, a chain, and ten times as many unrelated links, created once."""
    ends = [(at(1), at(1, n)) for n in range(HUB)]
    ends += [(at(2, n), at(2, n + 1)) for n in range(25)]
    ends += [(at(3, n), at(3, (n * 7919 + 1) % CROWD)) for n in range(CROWD)]
    with django_db_blocker.unblock():
        tenant = Tenant.objects.create(id=CROWDED, slug="crowd")
        Link.all_tenants.bulk_create(
            [
                Link(tenant=tenant, namespace="default", from_key=start.key, to_key=end.key, link_type="related")
                for start, end in ends
            ],
            batch_size=2_000,
        )
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("VACUUM (ANALYZE) sfm_graph_links")
        yield
        Link.all_tenants.filter(tenant=tenant).delete()
        tenant.delete()
        connection.close()


@pytest.fixture
def crowd(crowded: None, generation: EmbeddingGeneration) -> Caller:
    return Caller(tenant=Tenant.objects.get(id=CROWDED), actor="key:test", scopes=frozenset(SCOPES))


def plans(ask: Callable[[], object]) -> list[str]:
    """Return the plan of each statement about links that `ask` sends.

    PostgreSQL also reports the rows it actually read.
    """
    explained: list[str] = []
    how = "EXPLAIN (ANALYZE, TIMING OFF) " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "

    def explain(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if re.match(r"SELECT|DELETE", sql) and "sfm_graph_links" in sql:
            execute(how + sql, params, many, context)
            explained.append("\n".join(str(row[-1])[:300] for row in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        ask()
    assert explained
    return explained


def near(caller: Caller, start: Coordinate, direction: Any = "out", hops: int = 1) -> Callable[[], object]:
    return lambda: selectors.neighbours(caller, "default", start, LinkFilter(direction), hops=hops, limit=10_000)


def between(caller: Caller, length: int, weighted: bool = False, **link_filter: Any) -> Callable[[], object]:
    return lambda: selectors.shortest_path(
        caller, "default", at(2, 0), at(2, length), LinkFilter(**link_filter), max_length=20, weighted=weighted
    )


WALKS: dict[str, list[Callable[[Caller], Callable[[], object]]]] = {
    "sfm_links_out": [
        lambda caller: near(caller, at(1)),
        lambda caller: near(caller, at(3, 7), hops=5),
        lambda caller: between(caller, 5, weighted=True),
    ],
    "sfm_links_in": [
        lambda caller: near(caller, at(1, 7), "in"),
        lambda caller: near(caller, at(3, 7), "in", hops=5),
        lambda caller: near(caller, at(3, 7), "both", hops=3),
        lambda caller: between(caller, 5),
    ],
    # Any of them is suitable, because both ends are known.
    "": [
        lambda caller: lambda: list(selectors.subgraph(caller, "default", at(2)).links()),
        lambda caller: lambda: services.link(caller, NewLink(at(2, 0), at(2, 1))),
        lambda caller: lambda: services.unlink(caller, "default", at(2, 0), at(2, 1)),
    ],
}


@pytest.mark.parametrize(("index", "number"), [(index, n) for index, walks in WALKS.items() for n in range(len(walks))])
def test_a_walk_reads_the_links_it_visits_and_not_the_table(crowd: Caller, index: str, number: int) -> None:
    explained = plans(WALKS[index][number](crowd))

    alone = rf"(COVERING INDEX|Index Only Scan using) {index}"
    assert not index or any(re.search(alone, plan) for plan in explained), explained
    for plan in explained:
        assert "Seq Scan" not in plan, plan
        assert not re.search(r"SCAN sfm_graph_links", plan), plan
        # SQLite: both columns of the range, not only the tenant's.
        assert "SEARCH" not in plan or re.search(r"(from|to)_key[=><]|rowid=", plan), plan
        # PostgreSQL: rows that were read and discarded.
        assert not re.search(r"Rows Removed by Filter: \d{3,}", plan), plan


def statements(ask: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_neighbours_take_one_statement_per_hop(crowd: Caller, hops: int) -> None:
    assert statements(near(crowd, at(2, 0), hops=hops)) == hops
    assert statements(near(crowd, at(2, 0), "both", hops=hops)) == 2 * hops
    assert statements(near(crowd, at(1), hops=hops)) == min(hops, 2)  # the second one finds nothing


def test_a_path_is_one_statement_a_step_at_most(crowd: Caller) -> None:
    assert statements(between(crowd, 20)) == 20
    assert statements(between(crowd, 3)) == 3


def test_the_memories_of_all_neighbours_are_one_statement(
    crowd: Caller, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # a generation is cached after its commit
        generations.active()

    def ask() -> object:
        return selectors.neighbours(crowd, "default", at(1), LinkFilter(), limit=1000, include_memory=True)

    assert statements(ask) == 2


def test_a_hub_is_paged_to_its_end(crowd: Caller) -> None:
    def page(offset: int) -> list[str]:
        found = selectors.neighbours(crowd, "default", at(1), LinkFilter(), limit=100, offset=offset)
        assert not found.truncated
        return [neighbour.key for neighbour in found.neighbours]

    pages = [page(offset) for offset in range(0, 400, 100)]

    assert [len(page) for page in pages] == [100, 100, 100, 0]
    assert [key for page in pages for key in page] == [at(1, n).key for n in range(HUB)]


def test_too_many_links_are_not_read_and_the_response_is_truncated(crowd: Caller) -> None:
    reader = selectors.read_links(crowd, "default", LinkFilter(), 100)

    [(_, rows)] = reader([at(1).key])

    assert (len(rows), reader.truncated, reader.read) == (100, True, 100)


def test_exactly_as_many_links_as_may_be_read_are_not_too_many(crowd: Caller) -> None:
    reader = selectors.read_links(crowd, "default", LinkFilter(), HUB)

    [(_, rows)] = reader([at(1).key])

    assert (len(rows), reader.truncated) == (HUB, False)


# --- Access -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "do"),
    [
        ("read", lambda caller: near(caller, at(1))()),
        ("read", lambda caller: between(caller, 3)()),
        ("read", lambda caller: selectors.subgraph(caller, "default")),
        ("read", lambda caller: selectors.stats(caller)),
        ("write", lambda caller: services.link(caller, NewLink(at(1), at(2)))),
        ("delete", lambda caller: services.unlink(caller, "default", at(1), at(2))),
    ],
)
def test_each_needs_its_scope(caller: Caller, scope: str, do: Callable[[Caller], object]) -> None:
    do(caller)

    with pytest.raises(Forbidden):
        do(replace(caller, scopes=frozenset(SCOPES) - {scope}))


@pytest.mark.parametrize(
    "do",
    [
        lambda caller: near(caller, at(1))(),
        lambda caller: between(caller, 3)(),
        lambda caller: selectors.subgraph(caller, "default"),
        lambda caller: services.link_many(caller, [NewLink(at(1), at(2), namespace=n) for n in ("mine", "default")]),
        lambda caller: services.unlink(caller, "default", at(1), at(2)),
    ],
)
def test_a_key_for_some_namespaces_reaches_no_other(caller: Caller, do: Callable[[Caller], object]) -> None:
    with pytest.raises(Forbidden):
        do(replace(caller, namespaces=frozenset(["mine"])))
    assert not Link.objects.for_tenant(caller.tenant).exists()


def test_a_key_for_some_namespaces_counts_their_links_only(caller: Caller) -> None:
    services.link_many(caller, [NewLink(at(1), at(2), namespace=name) for name in ("mine", "theirs", "theirs2")])

    assert selectors.stats(caller)["links"] == 3
    assert selectors.stats(replace(caller, namespaces=frozenset(["mine"])))["links"] == 1


def test_walks_stay_in_their_namespace(caller: Caller) -> None:
    services.link_many(caller, [NewLink(at(1), at(2), namespace="a"), NewLink(at(2), at(3), namespace="b")])

    found = selectors.neighbours(caller, "a", at(1), LinkFilter("both"), hops=5)

    assert [neighbour.key for neighbour in found.neighbours] == [at(2).key]
    assert selectors.shortest_path(caller, "a", at(1), at(3), LinkFilter("both")).steps is None


def test_a_stranger_cannot_walk_through_links_of_others(caller: Caller) -> None:
    """Not even between two of the stranger's own links."""
    stranger = new_caller()
    services.link(caller, NewLink(at(2), at(3)))
    services.link_many(stranger, [NewLink(at(1), at(2)), NewLink(at(3), at(4))])

    found = selectors.neighbours(stranger, "default", at(1), LinkFilter("both"), hops=5)

    assert [neighbour.key for neighbour in found.neighbours] == [at(2).key]
    for weighted in (False, True):
        assert selectors.shortest_path(stranger, "default", at(1), at(4), LinkFilter(), weighted=weighted).steps is None
    assert [link.start for link in selectors.subgraph(stranger, "default").links()] == [at(1), at(3)]
    assert not services.unlink(stranger, "default", at(2), at(3))
    assert Link.objects.for_tenant(caller.tenant).count() == 1


def test_a_step_is_reported_in_the_direction_of_the_walk(caller: Caller) -> None:
    services.link_many(caller, [NewLink(at(1), at(2), "a", 0.5), NewLink(at(3), at(2), "b", 0.25)])

    path = selectors.shortest_path(caller, "default", at(1), at(3), LinkFilter("both"))

    assert path.steps == [
        Step(at(1).key, at(2).key, "a", 0.5, backwards=False),
        Step(at(2).key, at(3).key, "b", 0.25, backwards=True),
    ]
    assert path.cost == pytest.approx(0.51 + 0.76)

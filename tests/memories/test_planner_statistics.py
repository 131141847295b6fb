"""SQLite reaches memories by the narrowest index, whatever has been stored and analysed before."""

from __future__ import annotations

from uuid import uuid4

from django.db import connection

from memories import planner_statistics
from memories.models import Memory
from tenants.models import Tenant


def test_statistics_say_how_far_each_leading_column_narrows() -> None:
    assert (
        planner_statistics.estimate(["tenant_id", "namespace", "coordinate_key"], unique=True)
        == "1000000 100000 25000 1"
    )


def test_statistics_of_a_nearly_unique_column_say_so() -> None:
    assert planner_statistics.estimate(["memory_id"], unique=False) == "1000000 1"


def test_memories_with_known_ids_are_not_looked_for_in_the_whole_namespace(tenant: Tenant) -> None:
    few = Memory.objects.for_tenant(tenant).filter(namespace__in=["n"], deleted_at=None, id__in=[uuid4(), uuid4()])

    plan = few.explain()

    # PostgreSQL has real statistics, and an empty table: there any index will do.
    assert connection.vendor != "sqlite" or "(id=?)" in plan, plan


def test_statistics_know_that_hardly_any_memory_of_a_namespace_is_deleted() -> None:
    columns = ["tenant_id", "namespace", "memory_type", "deleted_at"]

    assert planner_statistics.estimate(columns, unique=False) == "1000000 100000 25000 12500 12500"
    assert planner_statistics.estimate(["deleted_at"], unique=False) == "1000000 1"

"""Queries use the narrowest index, with any data and statistics."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection

from memories import planner_statistics
from memories.models import Memory
from tenants.models import Tenant
from tests.conftest import Api


def test_statistics_say_how_far_each_leading_column_narrows() -> None:
    assert (
        planner_statistics.estimate(["tenant_id", "namespace", "coordinate_key"], unique=True)
        == "1000000 100000 25000 1"
    )


def test_statistics_describe_a_nearly_unique_column() -> None:
    assert planner_statistics.estimate(["memory_id"], unique=False) == "1000000 1"


def test_memories_with_known_ids_are_not_looked_for_in_the_whole_namespace(tenant: Tenant) -> None:
    few = Memory.objects.for_tenant(tenant).filter(namespace__in=["n"], deleted_at=None, id__in=[uuid4(), uuid4()])

    plan = few.explain()

    # PostgreSQL has real statistics. For an empty table, any index is suitable.
    assert connection.vendor != "sqlite" or "(id=?)" in plan, plan


def test_statistics_assume_that_few_memories_are_deleted() -> None:
    columns = ["tenant_id", "namespace", "memory_type", "deleted_at"]

    assert planner_statistics.estimate(columns, unique=False) == "1000000 100000 25000 12500 12500"
    assert planner_statistics.estimate(["deleted_at"], unique=False) == "1000000 1"


def counted_changes() -> None:
    """Make PostgreSQL count this session's changes now, instead of within a second."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_table_that_has_doubled_is_analysed_once(api: Api) -> None:
    planner_statistics.analyze_grown()
    items = [{"coord": [at], "payload": {"text": "word"}} for at in range(600)]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    counted_changes()

    first = planner_statistics.analyze_grown()
    counted_changes()

    assert {"sfm_memories", "sfm_vector_embeddings"} <= set(first)
    assert not {"sfm_memories", "sfm_vector_embeddings"} & set(planner_statistics.analyze_grown())


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_small_changes_are_left_to_autovacuum(api: Api) -> None:
    planner_statistics.analyze_grown()
    api.store("1")
    counted_changes()

    assert "sfm_memories" not in planner_statistics.analyze_grown()

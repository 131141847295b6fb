"""The `among` lookup: one parameter for any number of values, with the same results as `in`."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.models import AuditEvent, Tenant

pytestmark = pytest.mark.django_db

SLUGS = ("ada", "grace", "ünï\"cödé\\'")


@pytest.fixture
def tenants() -> list[Tenant]:
    return [Tenant.objects.create(slug=slug, name=slug) for slug in SLUGS]


def slugs(**conditions: Any) -> list[str]:
    return sorted(Tenant.objects.filter(slug__in=SLUGS).filter(**conditions).values_list("slug", flat=True))


@pytest.mark.parametrize("chosen", [[0], [0, 2], [0, 1, 2], []])
@pytest.mark.parametrize("field", ["id", "slug"])
def test_rows_with_one_of_the_values_are_found(tenants: list[Tenant], field: str, chosen: Collection[int]) -> None:
    values = {getattr(tenants[number], field) for number in chosen}

    assert slugs(**{f"{field}__among": values}) == sorted(SLUGS[number] for number in chosen)


def test_unknown_values_match_nothing(tenants: list[Tenant]) -> None:
    assert slugs(id__among=[uuid.uuid4()], slug__among=["nobody"]) == []


def test_all_rows_are_kept_if_no_value_is_excluded(tenants: list[Tenant]) -> None:
    kept = Tenant.objects.filter(slug__in=SLUGS).exclude(slug__among=[])

    assert kept.count() == len(SLUGS)


def test_whole_numbers_and_foreign_keys_are_looked_up(tenants: list[Tenant]) -> None:
    events = [AuditEvent.objects.create(tenant=tenant, actor="test", action="test") for tenant in tenants]

    found = AuditEvent.objects.filter(
        tenant_id__among=[tenant.id for tenant in tenants[:2]], id__among=[event.id for event in events[1:]]
    )

    assert list(found) == [events[1]]


def test_the_statement_does_not_depend_on_the_number_of_values(tenants: list[Tenant]) -> None:
    statements = set()
    for count in (1, 2, 500):
        with CaptureQueriesContext(connection) as queries:
            list(Tenant.objects.filter(id__among=[uuid.UUID(int=number) for number in range(count)]))
        statements.add(queries[0]["sql"].partition("json_each" if connection.vendor == "sqlite" else "ANY")[0])

    assert len(statements) == 1

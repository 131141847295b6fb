"""Tenants are isolated by construction; these tests verify the isolation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import Model, UniqueConstraint

from graph.models import Link
from memories.models import Memory, VectorEmbedding
from tenants import row_level_security
from tenants.models import Tenant
from tenants.scoping import TenantOwned, UnscopedQuery

# Files that may query all tenants at once, with the reason.
MAY_QUERY_ALL_TENANTS = {
    "tenants/scoping.py",  # defines `for_tenant`
    "operations/migrate_database.py",  # migrates the whole database
    "tenants/idempotency.py",  # removes expired responses
    "tenants/audit/progress.py",  # the progress of the only sealer
    "tenants/audit/publishing.py",  # the heads of all chains
    "tenants/audit/pruning.py",  # all tenants share one retention period
    "tenants/audit/sealing.py",  # one sealer seals the logs of all tenants
    "tenants/audit/verification.py",  # chains of tenants that no longer exist
    "memories/retention.py",  # the purge
    "memories/index/drain.py",  # the drain
    "memories/index/immediate.py",  # settles what this process has indexed
    "memories/index/outbox.py",  # rows for memories that lack one
    "memories/index/rebuild.py",  # a generation contains the vectors of all tenants
    "memories/index/comparison.py",  # compares two generations
    "memories/index/reconcile.py",  # compares index and database, tenant by tenant
    "memories/counts.py",  # counts memories that await indexing, for operators
    "operations/collectors.py",  # the number of memories that await indexing
    "operations/statistics.py",  # estimates for all tenants, for operators
    "operations/jobs.py",  # an estimate of the number of memories
    "graph/services.py",  # inserts and upserts, whose rows name their tenant
    "graph/link_history.py",  # inserts, whose rows name their tenant
    "conversations/enrichment/queue.py",  # due chores of all tenants
    "conversations/restoring.py",  # conversations whose retention period has ended
    "conversations/lifecycle/tiers.py",  # removes unused files
    "conversations/lifecycle/cold_backup.py",  # a backup covers all tenants
    "conversations/lifecycle/policy.py",  # due tenants
    "conversations/enrichment/schedule.py",  # due conversations of all tenants
    "memories/read_counts.py",  # writes read counts back, by ids from tenants' reads
}
# Files that may use raw SQL on a table, with the reason.
MAY_USE_ROWS = {
    "tenants/audit/__init__.py",  # inserts, whose rows name their tenant
    "memories/row_locks.py",  # reads at addresses of the caller's tenant; inserts and upserts, whose rows name theirs
    "memories/search/vectors.py",  # vectors of the caller's tenant, by memory
    "memories/services.py",  # inserts, whose rows name their tenant
    "memories/index/outbox_leases.py",  # rows leased by the drain, by id
    "memories/index/outbox.py",  # upserts, whose rows name their tenant
}
# Files that may cross row-level security inside a request, with the reason.
MAY_CROSS = {
    "somamemory/db/tenant_scope.py",  # the scope itself
    "somamemory/db/postgresql/base.py",  # applies it
    "somamemory/web/console_middleware.py",  # staff users may see several tenants
    "api/auth.py",  # an operator on a route for operators
    "api/routing.py",  # routes without a caller, which report on the installation
    "tenants/keys.py",  # the caller and its tenant are not known yet
    "console/oauth/endpoints.py",  # a code or token determines the tenant
}
OURS = ("api", "console", "conversations", "graph", "memories", "operations", "somamemory", "tenants")


def owned() -> list[type[Model]]:
    return [model for model in apps.get_models() if issubclass(model, TenantOwned)]


def test_models_of_tenants_are_found() -> None:
    assert {Memory, VectorEmbedding, Link} <= set(owned())


@pytest.mark.parametrize("model", owned())
@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows.all(),
        lambda rows: rows.filter(pk=1),
        lambda rows: rows.get(pk=1),
        lambda rows: rows.count(),
        lambda rows: rows.create(),
        lambda rows: rows.bulk_create([]),
        lambda rows: rows.update(pk=1),
        lambda rows: rows.first(),
        lambda rows: rows.raw("SELECT 1"),
        lambda rows: rows.none(),
        lambda rows: rows.in_bulk([1]),
        lambda rows: list(rows.iterator()),
    ],
)
def test_rows_cannot_be_queried_without_a_tenant(model: Any, use: Any) -> None:
    with pytest.raises(UnscopedQuery):
        use(model.objects)


@pytest.mark.parametrize("model", owned())
@pytest.mark.parametrize("missing", [None, "", "acme", 0, object(), Tenant], ids=lambda missing: type(missing).__name__)
def test_a_missing_tenant_is_rejected(model: Any, missing: Any) -> None:
    with pytest.raises(UnscopedQuery):
        model.objects.for_tenant(missing)


@pytest.mark.parametrize("model", owned())
def test_a_query_for_a_tenant_names_the_tenant(model: Any) -> None:
    tenant = Tenant(slug="acme")

    sql, parameters = model.objects.for_tenant(tenant).query.sql_with_params()

    assert '"tenant_id" = ' in sql.partition("WHERE")[2]
    assert str(tenant.id).replace("-", "") in [str(parameter).replace("-", "") for parameter in parameters]


@pytest.mark.parametrize("model", owned())
def test_django_bypasses_scoping_only_through_the_explicit_manager(model: Any) -> None:
    assert model._default_manager.name == "all_tenants"
    assert model._base_manager.name == "all_tenants"


@pytest.mark.parametrize("model", owned())
def test_every_unique_constraint_contains_the_tenant(model: Any) -> None:
    constraints = [constraint for constraint in model._meta.constraints if isinstance(constraint, UniqueConstraint)]

    assert constraints
    assert all("tenant" in constraint.fields for constraint in constraints)
    assert not model._meta.unique_together


@pytest.mark.parametrize("model", owned())
def test_only_random_ids_are_unique_across_tenants(model: Any) -> None:
    """If callers chose a unique value, it would reveal to one tenant which values another tenant has."""
    unique = {field.name for field in model._meta.fields if field.unique}

    assert unique - {"id", "seq"} == set()


def sources() -> list[Path]:
    root = Path(settings.BASE_DIR)
    paths = [path for name in OURS for path in (root / name).rglob("*.py")]
    return [path for path in paths if "migrations" not in path.parts]


def test_only_listed_files_query_all_tenants() -> None:
    querying = {
        path.relative_to(settings.BASE_DIR).as_posix() for path in sources() if "all_tenants" in path.read_text()
    }

    assert querying == MAY_QUERY_ALL_TENANTS


def test_only_listed_files_may_use_raw_sql_on_a_table() -> None:
    imports = re.compile(r"from somamemory\.db(?:\.rows import|  *import .*\brows\b)")
    using = {path.relative_to(settings.BASE_DIR).as_posix() for path in sources() if imports.search(path.read_text())}

    assert using == MAY_USE_ROWS


def test_no_file_bypasses_scoping() -> None:
    for path in sources():
        text = path.read_text()
        for bypass in ("_base_manager", "_default_manager", ".raw(", ".extra("):
            assert bypass not in text, f"{path.name} uses {bypass}"


def test_only_listed_files_may_cross_row_level_security() -> None:
    crossing = re.compile(r"tenant_scope\.cross|CROSSING\b|set_config|SET ROLE")
    there = {path.relative_to(settings.BASE_DIR).as_posix() for path in sources() if crossing.search(path.read_text())}

    assert there == MAY_CROSS


def test_row_level_security_covers_every_table_with_a_tenant() -> None:
    owned = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if any(field.remote_field and field.remote_field.model is Tenant for field in model._meta.concrete_fields)
    }

    assert owned | {"sfm_tenants"} == {table.name for table in row_level_security.tables()}

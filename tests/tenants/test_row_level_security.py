"""Row-level security hides other tenants' rows even from a query that names no tenant."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, models, transaction

from memories.models import Memory
from operations.backup import backups
from somamemory.db import tenant_scope, vector_tables
from somamemory.errors import ConfigurationError
from somamemory.telemetry import metrics
from tenants import row_level_security
from tenants.models import ApiKey, Tenant
from tenants.scoping import TenantManager
from tests.conftest import Api, drain
from tests.console import test_console as console
from tests.contract import test_stranger as strangers
from tests.operations import test_isolation_check as isolation_checks

pytestmark = [pytest.mark.postgresql, pytest.mark.row_level_security, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _walled(walled: None) -> None:
    """Enable row-level security for every test, before there are any rows."""


@pytest.fixture
def unfiltered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate the bug that row-level security protects against: queries without a tenant."""
    monkeypatch.setattr(TenantManager, "for_tenant", lambda manager, tenant: models.QuerySet(manager.model))


def rows_in(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}"')
        return int(cursor.fetchone()[0])


def visible() -> set[str]:
    """Return the tables with rows that are visible in the current scope."""
    tables = {table.name for table in row_level_security.tables()} - {"sfm_oauth_grants", "sfm_staff_tenants"}
    return {name for name in tables if rows_in(name)}


def run(action: str) -> str:
    out = io.StringIO()
    call_command("row_level_security", action, stdout=out)
    return out.getvalue()


def test_a_query_without_a_tenant_sees_the_rows_of_the_caller_alone(api: Api, stranger: Api) -> None:
    strangers.store_data(api)
    everything = visible()
    assert {"sfm_memories", "sfm_vector_embeddings", "sfm_graph_links", "sfm_conversations"} <= everything

    tenant_scope.enter(api.tenant.id)
    assert visible() == everything
    tenant_scope.enter(stranger.tenant.id)
    assert visible() == {"sfm_tenants", "sfm_api_keys", "sfm_audit_log"}
    assert Memory.all_tenants.count() == 0
    assert list(Tenant.objects.values_list("slug", flat=True)) == ["stranger"]
    assert list(ApiKey.objects.values_list("tenant__slug", flat=True)) == ["stranger"]


def test_without_a_tenant_there_is_nothing(api: Api) -> None:
    strangers.store_data(api)

    with tenant_scope.request():
        assert visible() == set()


@pytest.mark.usefixtures("unfiltered")
def test_a_route_whose_query_lost_its_filter_still_shows_nothing(api: Api, stranger: Api) -> None:
    api.store("1,2,3", "the secret aardvark")
    api.post("/graph/link", {"from_coord": "1,2,3", "to_coord": "4,5,6", "link_type": "related"})
    drain()
    stranger.store("9,9,9", "my own aardvark")

    listed = stranger.get("/memories").json()["items"]
    assert [memory["payload"]["text"] for memory in listed] == ["my own aardvark"]
    assert stranger.get("/memories/1,2,3").status_code == 404
    assert stranger.get("/graph/neighbors?coord=1,2,3").json()["neighbors"] == []
    for mode in ("keyword", "hybrid", "semantic"):
        assert "secret" not in str(stranger.search("secret aardvark", mode=mode))
    assert stranger.delete("/memories/1,2,3?purge=true").json()["deleted"] is False
    assert api.get("/memories/1,2,3").json()["memory"]["payload"] == {"text": "the secret aardvark"}


def test_a_write_without_a_tenant_changes_the_rows_of_the_caller_alone(api: Api, stranger: Api) -> None:
    api.store("1", "acme's")
    stranger.store("1", "the stranger's")

    tenant_scope.enter(stranger.tenant.id)
    assert Memory.all_tenants.update(importance=9) == 1
    assert Memory.all_tenants.all()._raw_delete(connection.alias) == 1

    tenant_scope.cross()
    assert list(Memory.all_tenants.values_list("tenant__slug", "importance")) == [("acme", 0)]


def test_a_row_of_another_tenant_cannot_be_written(api: Api, stranger: Api) -> None:
    api.store("1")
    row = Memory.all_tenants.get()
    row.seq, row.id, row.coordinate_key = row.seq + 1, uuid.uuid4(), "f" * 16
    tenant_scope.enter(stranger.tenant.id)

    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        row.save(force_insert=True)


def test_the_role_of_requests_can_do_nothing_but_serve_a_tenant(api: Api) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'soma_tenant'")
        assert cursor.fetchone() == (False, False, False)

    tenant_scope.enter(api.tenant.id)
    for statement in ("ALTER TABLE sfm_memories DISABLE ROW LEVEL SECURITY", "SELECT * FROM auth_user"):
        with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_rollback_does_not_take_the_tenant_back(api: Api, stranger: Api) -> None:
    api.store("1")
    sid = transaction.savepoint()
    tenant_scope.enter(stranger.tenant.id)
    assert Memory.all_tenants.count() == 0

    transaction.savepoint_rollback(sid)

    assert Memory.all_tenants.count() == 0


def test_a_failed_statement_that_crossed_can_be_rolled_back(stranger: Api) -> None:
    tenant_scope.enter(stranger.tenant.id)
    with pytest.raises(ProgrammingError), transaction.atomic(), tenant_scope.crossing(), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")

    assert list(Tenant.objects.values_list("slug", flat=True)) == ["stranger"]


def test_a_request_begins_without_a_tenant_and_ends_with_all(api: Api) -> None:
    with tenant_scope.request():
        assert tenant_scope.current() == tenant_scope.NO_TENANT
        tenant_scope.enter(api.tenant.id)

    assert tenant_scope.current() == tenant_scope.CROSSING


def test_an_export_is_streamed_under_the_wall(api: Api) -> None:
    api.post("/api/v1/conversations", {"label": "Vault", "messages": [{"role": "user", "content": "of acme"}]})

    assert b"of acme" in api.get("/api/v1/export").getvalue()


def test_a_strangers_answers_do_not_depend_on_acme(api: Api) -> None:
    strangers.test_a_strangers_answers_do_not_depend_on_acme(api)


def test_a_stranger_changes_nothing_and_sees_nothing(api: Api) -> None:
    strangers.test_a_stranger_changes_nothing_and_sees_nothing(api)


def test_the_isolation_check_passes_under_the_wall(operator: Api) -> None:
    isolation_checks.test_a_sound_installation_passes_and_is_left_as_it_was(operator)


@pytest.mark.parametrize("path", ["/api/v1/metrics", "/sekha/metrics", "/metrics"])
def test_metrics_count_the_rows_of_all_tenants_under_the_wall(api: Api, path: str) -> None:
    api.post("/api/v1/conversations", {"label": "Vault"})
    metrics.forget_cached()

    text = api.get(path).content.decode()

    assert "soma_scrape_failed 0.0" in text
    assert 'soma_conversations{status="active"} 1.0' in text


def test_sekhas_route_starts_a_rebuild_under_the_wall(operator: Api) -> None:
    assert operator.post("/sekha/api/v1/rebuild-embeddings").status_code == 202


def test_the_estimate_of_a_large_installation_still_names_its_tenants(
    api: Api, stranger: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.test_the_estimate_of_a_large_installation_names_its_tenants(api, stranger, monkeypatch)


def test_a_table_without_policies_is_reported_and_protected_again() -> None:
    assert row_level_security.missing() == []
    with connection.cursor() as cursor:
        cursor.execute("DROP POLICY soma_tenant_rows ON sfm_graph_links")
        cursor.execute("ALTER TABLE sfm_memories NO FORCE ROW LEVEL SECURITY")

    with pytest.raises(SystemExit):
        run("status")
    assert len(row_level_security.missing()) == 2
    assert sorted(row_level_security.install()) == ["sfm_graph_links", "sfm_memories"]
    assert row_level_security.install() == []


def test_a_server_without_the_policies_is_not_ready(api: Api) -> None:
    assert api.get("/readyz").status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("DROP POLICY soma_tenant_rows ON sfm_graph_links")

    response = api.get("/readyz")

    assert (response.status_code, response.json()["reason"].partition(";")[0]) == (
        503,
        "row-level security is incomplete",
    )


def test_the_policies_can_be_removed_once_no_request_needs_them(settings: Any) -> None:
    with pytest.raises(CommandError, match="SOMA_ROW_LEVEL_SECURITY is on"):
        run("off")
    settings.ROW_LEVEL_SECURITY = False

    run("off")

    tables = len(row_level_security.tables()) + len(vector_tables.names(connection))
    assert len(row_level_security.missing()) == tables


def test_a_database_that_no_superuser_has_prepared_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_level_security, "MATCHING", ("ts_match_qv(tsquery, tsvector)",))

    with pytest.raises(
        ConfigurationError, match=r"ALTER FUNCTION pg_catalog.ts_match_qv\(tsquery, tsvector\) LEAKPROOF"
    ):
        row_level_security.install()


@pytest.mark.django_db(transaction=True)
def test_a_backup_has_every_row_and_needs_neither_role_nor_policies(api: Api, stranger: Api, tmp_path: Path) -> None:
    api.store("1")
    stranger.store("1")
    try:
        manifest = backups.verify(backups.create(tmp_path))
    finally:
        row_level_security.remove()

    assert manifest.tables["sfm_memories"]["rows"] == 2


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_lost_before_its_tenant_is_set_is_an_outage(api: Api) -> None:
    row_level_security.remove()
    other = connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    other.close()

    with pytest.raises(OperationalError), tenant_scope.request():
        Memory.all_tenants.count()

    connection.close()
    assert Memory.all_tenants.count() == 0


def test_a_role_that_is_missing_is_a_database_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_scope, "ROLE", "soma_nobody")

    with pytest.raises(DatabaseError, match="soma_nobody"), tenant_scope.request(), transaction.atomic():
        Memory.all_tenants.count()

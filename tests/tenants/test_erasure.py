"""Erasing one tenant of three leaves none of its data anywhere, and does not affect the others."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from memories import index
from memories.index import generations
from memories.models import Memory, VectorEmbedding
from somamemory import caching
from somamemory.errors import IndexUnavailable
from tenants import erasure, keys, maintenance, registry, usage
from tenants.audit import erasures, sealing, verification
from tenants.caller import Caller
from tenants.models import AuditEvent, ErasedTenant, IdempotencyKey, Tenant
from tests.conftest import Api, drain, issue_key, problem_of

V1 = "/api/v1"
PLANTED = "xyzzyplugh"
# Tables that belong to no tenant.
OF_THE_INSTALLATION = {
    "sfm_tenants", "sfm_embedding_generations", "sfm_audit_sealer", "sfm_erased_tenants", "sfm_second_factors",
    "sfm_oauth_clients",
}  # fmt: skip


@pytest.fixture
def planted(api: Api, operator: Api) -> Api:
    """Acme with data in every store, all of which contains a unique word."""
    api.store("1,2", f"{PLANTED} sleeps", metadata={PLANTED: PLANTED}, context=PLANTED, namespace=PLANTED)
    api.store("3", f"{PLANTED} is deleted", expires_at="2999-01-01T00:00:00Z")
    api.delete("/memories/3")
    api.post("/memories", {"coord": "4", "payload": {"text": PLANTED}}, idempotency_key=PLANTED)
    operator.post(f"{V1}/tenants/acme/keys", {"name": PLANTED})
    operator.patch(f"{V1}/tenants/acme", {"name": PLANTED, "quotas": {"memories": 10}})
    keys.forget_cached()
    api.store("5", f"{PLANTED} has a quota")
    drain()
    usage.flush()
    sealing.seal()
    caching.set(api.tenant.id, "test", PLANTED, value=PLANTED, lifetime_s=60)
    return api


@pytest.fixture
def others(stranger: Api) -> list[Api]:
    third = Tenant.objects.create(slug="third")
    found = [stranger, Api(issue_key(third), third)]
    for result in found:
        result.store("1,2", "mine", namespace="n")
        result.post("/memories", {"coord": "4", "payload": {}}, idempotency_key="k")
    drain()
    return found


def erase(operator: Api, slug: str = "acme") -> dict[str, Any]:
    response = operator.delete(f"{V1}/tenants/{slug}")
    assert response.status_code == 200, response.getvalue()
    receipt: dict[str, Any] = response.json()
    return receipt


def everything(tenant: Tenant) -> dict[str, list[Any]]:
    return {
        model._meta.db_table: list(registry.rows(model, tenant).order_by("pk").values())
        for model in registry.tenant_models()
    }


def tables_that_hold(word: str) -> list[str]:
    """Return every table with this word in any column, as text or bytes."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table in ("sfm_memory_terms", "sfm_memory_terms_scoped"):
                # They have no rows of their own; the tables behind them are read as well.
                continue
            cursor.execute(f'SELECT * FROM "{table}"')
            if any(_holds(value, word) for row in cursor.fetchall() for value in row):
                found.append(table)
    return found


def _holds(value: Any, word: str) -> bool:
    raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
    return word.encode() in raw


def vectors(tenant: Tenant) -> int:
    return len(list(index.of(generations.active()).scan(tenant.id)))


def test_every_model_has_a_tenant_or_is_listed_as_global() -> None:
    ours = [model for model in apps.get_models() if model._meta.db_table.startswith("sfm_")]

    without = {model._meta.db_table for model in ours} - {model._meta.db_table for model in registry.tenant_models()}

    assert without == OF_THE_INSTALLATION


def test_nothing_of_an_erased_tenant_is_left(planted: Api, operator: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    assert {"sfm_memories", "sfm_audit_log", "sfm_api_keys", "sfm_tenants"} <= set(tables_that_hold(PLANTED))
    assert vectors(planted.tenant) == 3

    erase(operator)

    assert tables_that_hold(PLANTED) == []
    assert everything(planted.tenant) == {model._meta.db_table: [] for model in registry.tenant_models()}
    assert vectors(planted.tenant) == 0
    assert caching.get(planted.tenant.id, "test", PLANTED) is None
    assert PLANTED not in caplog.text
    for file in Path(settings.DATA_DIR).rglob("*"):
        assert not file.is_file() or file.suffix.startswith((".sqlite3", ".db")) or not _file_holds(file)
    problem_of(planted.get("/memories/1,2"), 401)


def _file_holds(file: Path) -> bool:
    return PLANTED.encode() in file.read_bytes()


def test_the_receipt_counts_the_rows_and_a_second_run_confirms_zero(planted: Api, operator: Api) -> None:
    there = {table: len(rows) for table, rows in everything(planted.tenant).items()}

    receipt = erase(operator)
    again = erase(operator)

    assert receipt["rows"] == {**there, "sfm_tenants": 1}
    assert receipt["elsewhere"] == {"cache_entries": 1, "cold_files": 0, "vectors": 3, "words": 0}
    assert receipt["total"] == sum(there.values()) + 5
    assert (receipt["complete"], receipt["missing"]) == (True, [])
    assert (again["total"], set(again["rows"].values()), again["complete"]) == (0, {0}, True)
    assert again["id"] == receipt["id"] == str(planted.tenant.id)


def test_the_others_are_untouched(planted: Api, operator: Api, others: list[Api]) -> None:
    before = [everything(other.tenant) for other in others]

    erase(operator)

    assert [everything(other.tenant) for other in others] == before
    assert [vectors(other.tenant) for other in others] == [1, 1]
    assert [other.get("/memories/1,2?namespace=n").status_code for other in others] == [200, 200]


def test_an_erasure_is_recorded_in_the_operators_log(planted: Api, operator: Api) -> None:
    erase(operator)

    actions = AuditEvent.objects.filter(tenant__slug="default", target=str(planted.tenant.id)).order_by("id")

    assert [row.action for row in actions] == ["tenant.erase", "tenant.erased"]
    sealing.seal()
    assert verification.check(Caller.command(operator.tenant)).intact


def test_the_upgrade_signs_only_records_whose_erasure_is_in_the_operators_log(planted: Api, operator: Api) -> None:
    erase(operator)
    ErasedTenant.objects.create(tenant_id=uuid4(), slug_digest=b"")
    ErasedTenant.objects.update(signature=None)

    import_module("tenants.migrations.0014_erasure_signature").sign(apps, None)

    signed = [gone.tenant_id for gone in ErasedTenant.objects.all() if erasures.is_signed(gone)]
    assert signed == [planted.tenant.id]


def test_rows_written_during_an_erasure_are_removed_later(planted: Api, operator: Api) -> None:
    erase(operator)
    Memory.all_tenants.bulk_create(
        [Memory(tenant=planted.tenant, namespace="n", coordinate_key="0" * 16, payload={"text": PLANTED})]
    )
    maintenance.maintain()
    assert tables_that_hold(PLANTED)  # not yet, because a request may still be writing

    ErasedTenant.objects.update(erased_at=timezone.now() - erasure.CONFIRM_AFTER)
    maintenance.maintain()

    assert tables_that_hold(PLANTED) == []
    assert ErasedTenant.objects.get().confirmed_at is not None


def test_an_unreachable_store_is_reported_and_erased_later(
    planted: Api, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(tenant: Tenant) -> int:
        raise IndexUnavailable

    with monkeypatch.context() as outage:
        outage.setitem(erasure._erasers, "vectors", down)
        receipt = erase(operator)
        ErasedTenant.objects.update(erased_at=timezone.now() - erasure.CONFIRM_AFTER)
        maintenance.maintain()
    assert (receipt["complete"], receipt["missing"]) == (False, ["vectors"])
    assert vectors(planted.tenant) == 3

    maintenance.maintain()

    assert vectors(planted.tenant) == 0


def test_a_name_can_be_given_again_and_is_another_tenant(planted: Api, operator: Api) -> None:
    first = erase(operator)
    operator.post(f"{V1}/tenants", {"slug": "acme"})

    second = erase(operator)

    assert second["id"] != first["id"]
    assert second["rows"]["sfm_tenants"] == 1


def test_the_operators_own_tenant_cannot_be_erased_or_suspended(operator: Api) -> None:
    problem_of(operator.delete(f"{V1}/tenants/default"), 409, "conflict")
    problem_of(operator.patch(f"{V1}/tenants/default", {"active": False}), 409, "conflict")


@pytest.mark.parametrize("slug", ["nobody", "ACME", "%00"])
def test_an_unknown_tenant_cannot_be_erased(operator: Api, slug: str) -> None:
    problem_of(operator.delete(f"{V1}/tenants/{slug}"), 404, "not_found")


def test_the_command_says_how_to_erase_without_input(planted: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="use --yes"):
        call_command("erase_tenant", "acme")

    assert Tenant.objects.filter(slug="acme").exists()


def test_the_command_erases_and_asks_first(planted: Api, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError):
        call_command("erase_tenant", "acme")
    assert Tenant.objects.filter(slug="acme").exists()
    monkeypatch.setattr("builtins.input", lambda question: "acme")

    call_command("erase_tenant", "acme")

    assert json.loads(capsys.readouterr().out)["rows"]["sfm_tenants"] == 1
    assert tables_that_hold(PLANTED) == []


# --- Export ------------------------------------------------------------------------------------------------------


def exported(operator: Api) -> list[dict[str, Any]]:
    response = operator.get(f"{V1}/tenants/acme/export")
    assert (response.status_code, response["Content-Type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in response.getvalue().splitlines()]


def test_an_export_has_every_row_and_ends_with_their_number(planted: Api, operator: Api, others: list[Api]) -> None:
    first, *rows, last = exported(operator)

    there = everything(planted.tenant)
    counts = {table: len(found) for table, found in there.items() if found and table != "sfm_idempotency_keys"}
    assert first["tenant"]["slug"] == "acme"
    assert last == {"end": counts}
    assert len(rows) == sum(counts.values())
    memory = next(row["row"] for row in rows if row["row"].get("coord") == "1.0,2.0")
    assert (memory["payload"], memory["namespace"]) == ({"text": f"{PLANTED} sleeps"}, PLANTED)


def test_an_export_contains_no_secrets_and_no_data_of_others(planted: Api, operator: Api, others: list[Api]) -> None:
    tables = exported(operator)

    text = json.dumps(tables)
    assert "digest" not in text
    assert planted.key not in text
    assert IdempotencyKey._meta.db_table not in text
    assert not any(str(other.tenant.id) in text or "mine" in text for other in others)


def test_an_export_pages_through_everything(api: Api, operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.export.BATCH", 3)
    for n in range(7):
        api.store(str(n))

    coords = [row["row"]["coord"] for row in exported(operator) if row.get("table") == "sfm_memories"]

    assert coords == [f"{n}.0" for n in range(7)]


def test_the_command_writes_the_same(planted: Api, operator: Api, tmp_path: Path) -> None:
    call_command("export_tenant", "acme", to=tmp_path / "acme.jsonl")

    lines = (tmp_path / "acme.jsonl").read_bytes().splitlines()
    assert json.loads(lines[-1]) == exported(operator)[-1]
    assert VectorEmbedding._meta.db_table in json.loads(lines[-1])["end"]


def test_the_file_of_the_command_appears_once_it_is_complete(
    planted: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed therefore leaves no file that would make the next attempt fail."""
    existed = []

    def lines(*_: Any) -> Iterator[bytes]:
        for number in range(3):
            existed.append((tmp_path / "acme.jsonl").exists())
            yield b"%d\n" % number

    monkeypatch.setattr("tenants.export.lines", lines)
    call_command("export_tenant", "acme", to=tmp_path / "acme.jsonl")

    assert not any(existed)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("acme.jsonl", "0\n1\n2\n")]


def test_the_head_of_an_export_has_no_body(planted: Api, operator: Api) -> None:
    response = operator.request("HEAD", f"{V1}/tenants/acme/export")

    assert response.status_code == 200
    assert response.getvalue() == b""

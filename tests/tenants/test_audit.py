"""The audit log is append-only and sealed into a chain, and every change to it is detected."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memories import services
from memories.coordinates import parse
from memories.new_memory import NewMemory
from somamemory.telemetry.logs import JsonFormatter
from tenants import audit, erasure, maintenance
from tenants.audit import chain, erasures, progress, pruning, sealing, verification
from tenants.audit.chain import Position
from tenants.caller import Caller
from tenants.models import AuditBlock, AuditCheckpoint, AuditEvent, AuditSealer, ErasedTenant, Tenant
from tests.conftest import Api, issue_key
from tests.support.audit import check, events, heads, kinds, operators, record
from tests.support.unguarded import unguarded

# --- The rows ----------------------------------------------------------------------------------------------------


def test_a_row_names_actor_action_address_and_request(caller: Caller) -> None:
    record(replace(caller, request_id="r-1", address="192.0.2.7"), "1,2")

    row = events(caller).get()

    assert (row.actor, row.action, row.target) == ("key:test", "test.do", "1,2")
    assert (row.request_id, row.address) == ("r-1", "192.0.2.7")


def test_a_request_is_noted_with_its_address_and_id(api: Api) -> None:
    api.post("/memories", {"coord": "1", "payload": {}}, x_request_id="abc")

    row = AuditEvent.objects.get(tenant=api.tenant, action="memory.store")

    assert (row.address, row.actor) == ("127.0.0.1", f"key:{api.key[5:13]}")
    assert row.request_id == "abc"


def test_no_row_without_a_transaction(transactional_db: None) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        audit.record(operators(), "test.do", ["1"])


# --- Append-only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "do",
    [
        lambda: AuditEvent.objects.update(actor="somebody"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.order_by("-id")[0].delete(),
        lambda: AuditBlock.all_tenants.update(hash=b"x"),
        lambda: AuditBlock.all_tenants.all().delete(),
    ],
)
def test_the_database_refuses_to_change_the_log(chained: Caller, do: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        do()

    assert check().intact


# --- The chain ---------------------------------------------------------------------------------------------------


def test_an_unchanged_log_is_intact(chained: Caller) -> None:
    report = check(heads())

    assert report.intact
    assert report.blocks >= 3
    assert report.unsealed == 0


def test_the_blocks_of_a_tenant_are_numbered_and_linked(chained: Caller) -> None:
    blocks = list(AuditBlock.objects.for_tenant(chained.tenant).order_by("number"))

    assert [block.number for block in blocks] == [1, 2, 3]
    assert [bytes(block.previous) for block in blocks[1:]] == [bytes(block.hash) for block in blocks[:-1]]
    assert bytes(blocks[0].previous) == bytes(32)


def test_each_tenant_has_its_own_chain(chained: Caller, stranger: Api) -> None:
    other = replace(chained, tenant=stranger.tenant)
    record(other, "a")
    record(chained, "b")
    record(other, "c")
    sealing.seal()

    assert AuditBlock.objects.for_tenant(stranger.tenant).get().number == 1
    assert check(heads()).intact


def change(rows: Any) -> None:
    rows.filter(id=rows[5].id).update(target="another")


def change_time(rows: Any) -> None:
    rows.filter(id=rows[5].id).update(at=timezone.now() - timedelta(days=1))


def delete(rows: Any) -> None:
    rows.filter(id=rows[5].id).delete()


def delete_the_last(rows: Any) -> None:
    rows.filter(id=rows[11].id).delete()


def swap(rows: Any) -> None:
    one, other = rows[5], rows[6]
    rows.filter(id=one.id).update(target=other.target)
    rows.filter(id=other.id).update(target=one.target)


def swap_numbers(rows: Any) -> None:
    one, other = rows[5].id, rows[6].id
    rows.filter(id=one).update(id=10**9)
    rows.filter(id=other).update(id=one)
    rows.filter(id=10**9).update(id=other)


def insert(rows: Any) -> None:
    row = rows[5]
    row.id = -row.id if connection.vendor == "sqlite" else 0
    row.save(force_insert=True)


def remove_a_block(rows: Any) -> None:
    AuditBlock.all_tenants.filter(tenant=rows[0].tenant, number=2).delete()


def remove_a_block_and_its_rows(rows: Any) -> None:
    block = AuditBlock.all_tenants.get(tenant=rows[0].tenant, number=2)
    rows.filter(id__gte=block.first_id, id__lte=block.last_id).delete()
    block.delete()


def change_a_block(rows: Any) -> None:
    AuditBlock.all_tenants.filter(tenant=rows[0].tenant, number=2).update(sealed_at=timezone.now())


def sign_progress_again(sealed_to: int) -> None:
    """Sign the progress, as someone with the key could."""
    progress.advance(AuditSealer.objects.get(), sealed_to, -1)


def forge(rows: Any) -> None:
    """Change a row and all hashes that depend on it, without the key, which is not in the database."""
    change(rows)
    key, settings.AUDIT_KEY = settings.AUDIT_KEY, "a guess"
    tenant = rows[0].tenant
    AuditBlock.all_tenants.filter(tenant=tenant).delete()
    try:
        sign_progress_again(rows[0].id - 1)
        sealing.seal()
    finally:
        settings.AUDIT_KEY = key


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (change, "changed"),
        (change_time, "changed"),
        (delete, "missing"),
        (delete_the_last, "missing"),
        (swap, "changed"),
        (swap_numbers, "changed"),
        (insert, "inserted"),
        (remove_a_block, "gap"),
        (remove_a_block_and_its_rows, "gap"),
        (change_a_block, "block"),
        (forge, "forged"),
    ],
)
def test_tampering_with_the_log_is_detected(chained: Caller, tamper: Callable[[Any], None], kind: str) -> None:
    with unguarded():
        tamper(events(chained))

    assert kind in kinds(check())


def test_a_changed_row_is_named_and_no_other(chained: Caller) -> None:
    row = events(chained)[5]
    with unguarded():
        change(events(chained))

    (problem,) = check().problems
    assert (problem.tenant, problem.kind) == (chained.tenant.id, "changed")
    assert f"rows {row.id} of block 2" in problem.detail


def test_a_tail_cut_off_with_its_blocks_is_found_by_an_exported_head(chained: Caller) -> None:
    known = heads()
    last = AuditBlock.objects.for_tenant(chained.tenant).get(number=3)
    with unguarded():
        events(chained).filter(id__gte=last.first_id).delete()
        last.delete()

    assert check().intact
    assert kinds(check(known)) == {"truncated"}


def test_a_chain_rebuilt_with_the_key_differs_from_an_exported_head(chained: Caller) -> None:
    known = heads()
    with unguarded():
        change(events(chained))
        sign_progress_again(events(chained)[0].id - 1)
        AuditBlock.all_tenants.filter(tenant=chained.tenant).delete()
        for _ in range(3):
            sealing._seal_batch(events(chained)[11].id)

    assert check().intact
    assert kinds(check(known)) & {"block", "truncated"}


def test_a_tenant_that_vanished_without_an_erasure_is_found(chained: Caller) -> None:
    known = heads()
    with unguarded():
        for model in (AuditBlock.all_tenants, AuditEvent.objects):
            model.filter(tenant=chained.tenant).delete()
        Tenant.objects.filter(id=chained.tenant.id).delete()

    assert kinds(check(known)) == {"truncated"}


def test_a_tenant_that_was_only_noted_as_erased_is_found(chained: Caller) -> None:
    """This record makes the triggers allow deletions, without dropping any trigger."""
    known = heads()
    ErasedTenant.objects.create(tenant_id=chained.tenant.id, slug_digest=b"")
    for model in (AuditBlock.all_tenants, AuditEvent.objects):
        model.filter(tenant=chained.tenant).delete()
    Tenant.objects.filter(id=chained.tenant.id).delete()

    assert kinds(check(known)) == {"forged", "truncated"}


def test_an_unfinished_erasure_is_not_a_problem(chained: Caller) -> None:
    erasure._begin(operators(), chained.tenant.slug)
    erasures.record_chain(chained.tenant)
    AuditBlock.objects.for_tenant(chained.tenant).delete()

    assert check(heads()).intact


def test_an_erasure_that_begins_after_the_tenant_was_read_is_not_a_problem(chained: Caller) -> None:
    tenant = Tenant.objects.get(id=chained.tenant.id)
    erasure._begin(operators(), chained.tenant.slug)

    assert verification.check(operators(), only=tenant).intact


def test_the_unsealed_tail_is_named_and_not_judged(chained: Caller) -> None:
    record(chained, "new", "newer")

    report = check()

    assert report.intact
    assert report.unsealed == 2
    assert report.unsealed_since == events(chained)[12].at


def test_maintenance_seals_the_audit_log(chained: Caller) -> None:
    record(chained, "new")

    maintenance.maintain()

    assert check().unsealed == 0


def test_many_rows_make_blocks_of_bounded_size(chained: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "BATCH", 7)
    record(chained, *map(str, range(20)))

    assert sealing.seal() == 20

    counts = AuditBlock.objects.for_tenant(chained.tenant).filter(number__gt=3).values_list("count", flat=True)
    assert sorted(counts) == [6, 7, 7]
    assert check(heads()).intact


# --- Retention ---------------------------------------------------------------------------------------------------


@pytest.fixture
def aged(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Two sealed blocks of four rows that are older than the retention period, and a newer one."""
    monkeypatch.setattr(settings, "AUDIT_RETENTION_DAYS", 30)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda now=timezone.now: now() - timedelta(days=31))
        sealing.seal()
        for block in range(2):
            record(caller, *(f"{block}.{row}" for row in range(4)))
            sealing.seal()
    record(caller, *(f"2.{row}" for row in range(4)))
    sealing.seal()
    return caller


def targets(caller: Caller) -> list[str]:
    return [row.target for row in events(caller)]


@pytest.fixture
def pruned(aged: Caller) -> Caller:
    old = AuditBlock.all_tenants.filter(tenant=aged.tenant, last_at__lt=timezone.now() - timedelta(days=30))
    last = old.order_by("-number")[0].last_id
    count = AuditEvent.objects.filter(tenant=aged.tenant, id__lte=last).count()
    assert pruning.prune() == count >= 8
    return aged


def test_rows_past_their_retention_are_removed_and_the_rest_is_intact(pruned: Caller) -> None:
    assert targets(pruned) == ["2.0", "2.1", "2.2", "2.3"]
    assert AuditBlock.objects.for_tenant(pruned.tenant).get().number == 3
    assert AuditCheckpoint.objects.for_tenant(pruned.tenant).get().number == 2
    assert check(heads()).intact


def test_the_chain_continues_after_a_checkpoint_and_is_pruned_again(
    pruned: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(pruned, "new")
    sealing.seal()
    monkeypatch.setattr(timezone, "now", lambda now=timezone.now: now() + timedelta(days=31))

    pruning.prune()

    assert targets(pruned) == ["new"]
    assert AuditCheckpoint.objects.for_tenant(pruned.tenant).count() == 2
    assert check(heads()).intact


def test_a_removal_that_was_interrupted_is_intact_and_continues(aged: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "_remove_covered", lambda tenant, should_stop: 0)
        pruning.prune()
    AuditCheckpoint.objects.for_tenant(aged.tenant).get()

    assert check(heads()).intact
    pruning.prune()
    assert targets(aged) == ["2.0", "2.1", "2.2", "2.3"]
    assert check(heads()).intact


def test_a_long_log_is_pruned_in_steps(aged: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BLOCKS", 1)

    pruning.prune()

    checkpoints = AuditCheckpoint.objects.for_tenant(aged.tenant).order_by("number")
    assert [checkpoint.number for checkpoint in checkpoints] == [1, 2]
    assert targets(aged) == ["2.0", "2.1", "2.2", "2.3"]
    assert check(heads()).intact


def test_a_run_that_exceeds_its_time_limit_keeps_its_progress(aged: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BLOCKS", 1)

    pruning.prune(should_stop=AuditCheckpoint.objects.for_tenant(aged.tenant).exists)

    assert AuditCheckpoint.objects.for_tenant(aged.tenant).get().number == 1
    assert check(heads()).intact
    pruning.prune()
    assert targets(aged) == ["2.0", "2.1", "2.2", "2.3"]


def test_a_pruner_that_falls_behind_another_one_writes_no_checkpoint(aged: Caller) -> None:
    first = AuditBlock.objects.for_tenant(aged.tenant).get(number=1)
    pruning.prune()

    pruning._checkpoint(first)

    assert AuditCheckpoint.objects.for_tenant(aged.tenant).get().number == 2
    assert check(heads()).intact


def prune(caller: Caller) -> None:
    pruning.prune()


def erase(caller: Caller) -> None:
    erasure.erase(operators(), caller.tenant.slug)


@pytest.mark.parametrize("remove", [prune, erase])
def test_the_pruner_does_not_mistake_rows_removed_by_another_process_for_tampering(
    aged: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, remove: Callable[[Caller], None]
) -> None:
    require_intact = pruning._require_intact

    def remove_first(block: AuditBlock, earlier: Position, rows: Any) -> None:
        if block.tenant_id == aged.tenant.id:
            monkeypatch.setattr(pruning, "_require_intact", require_intact)
            remove(aged)
        require_intact(block, earlier, rows)

    monkeypatch.setattr(pruning, "_require_intact", remove_first)

    pruning.prune()

    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert not events(aged).filter(target="0.0").exists()


@pytest.mark.parametrize("remove", [prune, erase])
def test_rows_that_the_service_removes_during_a_verification_are_not_reported(
    aged: Caller, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Caller], None]
) -> None:
    known, verify_checkpoints = heads(), verification._Walk._checkpoints

    def then_remove(walk: verification._Walk) -> None:
        verify_checkpoints(walk)
        if walk.tenant == aged.tenant:
            monkeypatch.setattr(verification._Walk, "_checkpoints", verify_checkpoints)
            remove(aged)

    monkeypatch.setattr(verification._Walk, "_checkpoints", then_remove)

    assert check(known).problems == []


def make_new_rows_look_old(caller: Caller) -> None:
    AuditBlock.all_tenants.filter(tenant=caller.tenant).update(last_at=timezone.now() - timedelta(days=31))


def change_an_old_row(caller: Caller) -> None:
    events(caller).filter(target="0.1").update(actor="key:innocent")


def change_an_old_block(caller: Caller) -> None:
    first = AuditBlock.all_tenants.filter(tenant=caller.tenant).order_by("number")[0]
    AuditBlock.all_tenants.filter(id=first.id).update(hash=b"x" * 32)


@pytest.mark.parametrize("attack", [make_new_rows_look_old, change_an_old_row, change_an_old_block])
def test_the_service_never_removes_evidence(
    aged: Caller, stranger: Api, monkeypatch: pytest.MonkeyPatch, attack: Callable[[Caller], None]
) -> None:
    record(aged, "head")
    sealing.seal()
    with unguarded():
        attack(aged)

    assert pruning.prune() == 0

    assert len(events(aged)) == 13
    assert not AuditCheckpoint.objects.for_tenant(aged.tenant).exists()


def test_damage_that_an_operator_has_accepted_is_pruned(aged: Caller) -> None:
    with unguarded():
        change_an_old_row(aged)
    assert pruning.prune() == 0

    progress.accept(operators())
    record(aged, "new")
    sealing.seal()

    pruning.prune()

    assert targets(aged) == ["2.0", "2.1", "2.2", "2.3", "new"]
    assert check(heads()).intact


@pytest.mark.parametrize("id", [-(2**63), 1])
def test_a_row_that_is_older_than_the_pruned_rows_is_found(pruned: Caller, id: int) -> None:
    row = events(pruned)[0]
    row.id = id
    row.save(force_insert=True)

    assert kinds(check()) == {"inserted"}


def test_a_row_with_the_lowest_possible_id_is_found(chained: Caller) -> None:
    row = events(chained)[0]
    row.id = -(2**63)
    row.save(force_insert=True)

    assert kinds(check()) == {"inserted"}


def test_to_prune_again_changes_nothing(pruned: Caller) -> None:
    assert pruning.prune() == 0
    assert AuditCheckpoint.objects.for_tenant(pruned.tenant).count() == 1


def test_nothing_is_pruned_by_default(chained: Caller) -> None:
    with unguarded():
        AuditBlock.all_tenants.update(last_at=timezone.now() - timedelta(days=10_000))

    assert pruning.prune() == 0


def test_a_checkpoint_that_this_installation_has_not_signed_is_found(chained: Caller) -> None:
    block = AuditBlock.objects.for_tenant(chained.tenant).get(number=2)
    AuditCheckpoint.all_tenants.create(
        tenant=chained.tenant,
        number=2,
        last_id=block.last_id,
        hash=block.hash,
        at=timezone.now(),
        previous=chain.NOTHING_BEFORE,
        signature=b"x" * 32,
    )
    events(chained).filter(id__lte=block.last_id).delete()  # the database allows it

    assert kinds(check()) == {"forged", "missing"}


def test_rows_without_a_checkpoint_cannot_be_deleted(pruned: Caller) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        events(pruned).delete()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        AuditCheckpoint.objects.for_tenant(pruned.tenant).delete()


# --- Concurrency -------------------------------------------------------------------------------------------------


def test_eight_writers_at_once_leave_one_unbroken_chain(transactional_db: None) -> None:
    tenant = Tenant.objects.create(slug="acme")
    issue_key(tenant)
    writers, each = 8, 12
    done = threading.Event()

    def write(number: int) -> None:
        for at in range(each):
            services.store(Caller.command(tenant), NewMemory(parse(f"{number},{at}"), {"n": at}))
        connection.close()

    def seal() -> None:
        while not done.is_set():
            sealing.seal()
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    sealer = threading.Thread(target=seal)
    for thread in [sealer, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    sealer.join()
    sealing.seal()

    report = check(heads())
    blocks = AuditBlock.objects.for_tenant(tenant).order_by("number")
    assert report.intact, report.problems
    assert report.unsealed == 0
    assert sum(block.count for block in blocks) == writers * each + 1  # and the key
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))


def test_checkpoints_written_by_concurrent_processes_form_one_chain(transactional_db: None) -> None:
    caller = operators()
    for number in range(9):
        record(caller, str(number))
        sealing.seal()
    *blocks, _ = AuditBlock.objects.for_tenant(caller.tenant).order_by("number")
    ready = threading.Barrier(len(blocks))

    def write(block: AuditBlock) -> None:
        ready.wait()
        pruning._checkpoint(block)
        connection.close()

    threads = [threading.Thread(target=write, args=(block,)) for block in blocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert AuditCheckpoint.objects.for_tenant(caller.tenant).filter(number=blocks[-1].number).exists()
    assert check(heads()).intact


# --- The command -------------------------------------------------------------------------------------------------


def test_the_command_reports_its_findings(chained: Caller, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "heads"
    call_command("verify_audit", export=file)
    assert "OK: the audit log is intact." in capsys.readouterr().out
    with unguarded():
        delete(events(chained))

    with pytest.raises(SystemExit) as raised:
        call_command("verify_audit", heads=file, tenant="acme")

    assert raised.value.code == 1
    assert "missing" in capsys.readouterr().out


HEAD = {"tenant": str(uuid.UUID(int=1)), "number": 1, "last_id": 1, "hash": "00", "signature": "00"}


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", "1",
        *(json.dumps(HEAD | wrong) for wrong in (
            {"tenant": "acme"}, {"tenant": 1}, {"number": "1"}, {"number": -1}, {"number": 2**64}, {"last_id": None},
            {"hash": "xy"}, {"hash": 0}, {"signature": "é"}, {"signature": None},
        )),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_heads_is_refused(chained: Caller, tmp_path: Path, content: str) -> None:
    (tmp_path / "heads").write_text(content)

    with pytest.raises(CommandError):
        call_command("verify_audit", heads=tmp_path / "heads")


def test_the_log_lines_of_the_sealer_are_heads(chained: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "soma.audit")
    record(chained, "new")
    sealing.seal()

    line = next(record for record in caplog.records if record.message == "audit block sealed")

    mine = [head for head in heads() if head.tenant == str(chained.tenant.id)]
    assert verification.load_heads(JsonFormatter().format(line)) == mine

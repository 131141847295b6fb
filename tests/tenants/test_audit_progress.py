"""The sealer does not sign forged rows, and the heads of the chains are published."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from somamemory.errors import Unavailable
from tenants import audit, erasure
from tenants.audit import chain, erasures, progress, pruning, publishing, sealing, verification
from tenants.caller import Caller
from tenants.models import AuditBlock, AuditCheckpoint, AuditEvent, AuditSealer, ErasedTenant, Tenant
from tests.conftest import Api
from tests.support.audit import check, events, kinds, operators, record
from tests.support.unguarded import unguarded

Attack = Callable[[Caller], None]


def forge_from_the_start(caller: Caller) -> None:
    """Change the actors, delete the blocks and reset the progress, so that a restarted sealer would start over."""
    events(caller).update(actor="key:innocent")
    AuditBlock.all_tenants.all().delete()
    AuditSealer.objects.update(sealed_to=0)


def reset_all_progress(caller: Caller) -> None:
    forge_from_the_start(caller)
    AuditSealer.objects.update(signed_to=0, accepted_to=0, chains=0)


def delete_the_progress(caller: Caller) -> None:
    forge_from_the_start(caller)
    AuditSealer.objects.all().delete()


def delete_the_blocks_of_a_tenant(caller: Caller) -> None:
    events(caller).update(actor="key:innocent")
    AuditBlock.all_tenants.filter(tenant=caller.tenant).delete()


def delete_the_last_block(caller: Caller) -> None:
    events(caller).order_by("-id")[:1].get().delete()
    AuditBlock.all_tenants.filter(tenant=caller.tenant, number=3).delete()


def roll_back_the_progress(caller: Caller) -> None:
    """Restore the progress that the sealer signed before the last block, and change the rows of that block."""
    sealer = AuditSealer.objects.get()
    progress.advance(sealer, events(caller)[7].id, 0)
    events(caller).filter(id__gt=sealer.sealed_to).update(actor="key:innocent")


def mark_new_rows_as_sealed(caller: Caller) -> None:
    AuditSealer.objects.update(sealed_to=10**9)


@pytest.mark.parametrize(
    "attack",
    [
        forge_from_the_start, reset_all_progress, delete_the_progress, delete_the_blocks_of_a_tenant,
        delete_the_last_block, roll_back_the_progress, mark_new_rows_as_sealed,
    ],
)  # fmt: skip
def test_forged_rows_are_never_signed_and_always_found(chained: Caller, attack: Attack) -> None:
    with unguarded():
        attack(chained)
    record(chained, "new")

    with pytest.raises(progress.Tampered, match="verify_audit"):
        sealing.seal()

    assert not AuditBlock.all_tenants.filter(tenant=chained.tenant, number__gt=3).exists()
    assert not check().intact


def test_a_chain_that_was_deleted_and_begun_again_with_new_rows_is_found(chained: Caller) -> None:
    rows = list(events(chained))
    with unguarded():
        AuditBlock.all_tenants.filter(tenant=chained.tenant).delete()
        AuditEvent.objects.filter(tenant=chained.tenant).delete()
        for row in rows:
            row.id, row.actor = None, "key:innocent"
            row.save(force_insert=True)
    sealing.seal()

    assert kinds(check()) == {"truncated"}


def test_a_progress_signed_with_another_key_is_refused(chained: Caller, settings: Any) -> None:
    settings.AUDIT_KEY = "another key"

    with pytest.raises(progress.Tampered, match="not signed"):
        sealing.seal()


def test_an_operator_can_accept_a_damaged_log_and_the_damage_stays_visible(chained: Caller) -> None:
    with unguarded():
        forge_from_the_start(chained)

    with pytest.raises(SystemExit):
        call_command("verify_audit", "--accept")
    record(chained, "new")

    assert sealing.seal() > 0
    assert "inserted" in kinds(check())
    assert AuditEvent.objects.filter(action="audit.accept").exists()


def test_a_log_whose_progress_was_rolled_back_can_be_accepted(chained: Caller) -> None:
    with unguarded():
        roll_back_the_progress(chained)
        events(chained).filter(id__gt=AuditSealer.objects.get().sealed_to).delete()  # but not their block
    progress.accept(operators())
    record(chained, "new")

    assert sealing.seal() == 2  # and the row about the decision
    assert kinds(check()) == {"missing"}


def test_rows_that_the_previous_version_sealed_are_accepted_once_their_blocks_are_signed(chained: Caller) -> None:
    signed_to = AuditSealer.objects.get().signed_to
    record(chained, "sealed by the previous version")
    sealing.seal()
    sealer = AuditSealer.objects.get()
    sealer.signed_to = signed_to  # it knows no `signed_to`
    sealer.signature = progress._signature(sealer)
    sealer.save()
    record(chained, "new")

    assert sealing.seal() == 1
    assert check().intact


def test_an_erased_tenant_is_not_missed(chained: Caller, stranger: Api) -> None:
    erasure.erase(operators(), chained.tenant.slug)
    sealing.seal()

    assert ErasedTenant.objects.get().had_chain
    assert check().intact


def test_rows_of_a_tenant_under_erasure_begin_no_chain(caller: Caller) -> None:
    sealing.seal()
    erasure._begin(operators(), caller.tenant.slug)
    record(caller, "written during the erasure")
    sealing.seal()

    assert AuditEvent.objects.filter(tenant=caller.tenant).exists()
    assert not AuditBlock.objects.for_tenant(caller.tenant).exists()


def erase_like_the_service(caller: Caller, **columns: Any) -> None:
    """Delete a tenant with its log, and record this, without the key. The record satisfies the triggers."""
    ErasedTenant.objects.create(tenant_id=caller.tenant.id, slug_digest=b"", confirmed_at=timezone.now(), **columns)
    for model in (AuditBlock.all_tenants, AuditEvent.objects):
        model.filter(tenant=caller.tenant).delete()
    Tenant.objects.filter(id=caller.tenant.id).delete()


def test_a_forged_erasure_is_found_after_the_operators_log_was_pruned(
    chained: Caller, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUDIT_RETENTION_DAYS = 30
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda now=timezone.now: now() - timedelta(days=31))
        record(operators(), "old")
        sealing.seal()
    record(operators(), "new")
    sealing.seal()
    pruning.prune()
    assert AuditCheckpoint.objects.for_tenant(operators().tenant).exists()

    erase_like_the_service(chained, erased_at=timezone.now() - timedelta(days=60), had_chain=True)

    assert kinds(check()) == {"forged", "truncated"}


def test_a_forged_erasure_with_a_forged_row_in_the_operators_log_is_found(chained: Caller) -> None:
    with transaction.atomic():
        audit.record(operators(), "tenant.erase", [str(chained.tenant.id)])
    sealing.seal()

    erase_like_the_service(chained, had_chain=True)

    assert kinds(check()) == {"forged", "truncated"}


def test_a_chain_cannot_be_replaced_by_the_record_of_an_erased_tenant(
    chained: Caller, caller: Caller, stranger: Api
) -> None:
    """The other tenant was erased without a chain. Its record is changed, or blocks are added for it."""
    erasure.erase(operators(), stranger.tenant.slug)
    gone = ErasedTenant.objects.get()
    assert not gone.had_chain
    with unguarded():
        block = AuditBlock.all_tenants.filter(tenant=chained.tenant).latest("number")
        AuditBlock.all_tenants.filter(tenant=chained.tenant).delete()
        AuditEvent.objects.filter(tenant=chained.tenant).delete()
        Tenant.objects.filter(id=chained.tenant.id).delete()
        block.tenant_id = stranger.tenant.id
        block.save(force_insert=True)
    erasures.record_chain(stranger.tenant)
    AuditBlock.all_tenants.filter(tenant_id=stranger.tenant.id).delete()

    assert kinds(check()) == {"truncated"}
    ErasedTenant.objects.update(had_chain=True)
    assert kinds(check()) == {"forged", "truncated"}


def test_an_operator_can_accept_the_record_of_an_erasure_from_an_earlier_version(chained: Caller) -> None:
    erasure.erase(operators(), chained.tenant.slug)
    sealing.seal()
    ErasedTenant.objects.update(signature=None)
    assert kinds(check()) == {"forged", "truncated"}

    progress.accept(operators())

    assert check().intact


# --- Published heads ---------------------------------------------------------------------------------------------


def test_heads_are_appended_to_a_private_file(chained: Caller, settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_HEADS = str(tmp_path / "heads.jsonl")

    assert publishing.publish() == AuditBlock.all_tenants.count()
    record(chained, "new")
    sealing.seal()
    assert publishing.publish() == 1
    assert publishing.publish() == 0

    file = Path(settings.AUDIT_HEADS)
    assert file.stat().st_mode & 0o777 == 0o600
    assert verification.load_heads(file.read_text())[-1] == chain.head(AuditBlock.all_tenants.latest("id"))


def test_a_log_rewritten_with_the_key_differs_from_the_published_heads(
    chained: Caller, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.AUDIT_HEADS = str(tmp_path / "heads.jsonl")
    publishing.publish()
    with unguarded():
        events(chained).update(actor="key:innocent")
        progress.advance(AuditSealer.objects.get(), events(chained)[0].id - 1, -1)
        AuditBlock.all_tenants.filter(tenant=chained.tenant).delete()
    sealing.seal()
    assert check().intact  # without the heads

    with pytest.raises(SystemExit):
        call_command("verify_audit")

    assert "differs from the exported head" in capsys.readouterr().out


def test_progress_that_was_rolled_back_without_its_blocks_differs_from_the_published_heads(
    chained: Caller, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.AUDIT_HEADS = str(tmp_path / "heads.jsonl")
    publishing.publish()
    with unguarded():
        roll_back_the_progress(chained)
        AuditBlock.all_tenants.filter(last_id__gt=AuditSealer.objects.get().sealed_to).delete()
    sealing.seal()
    assert check().intact  # without the heads

    with pytest.raises(SystemExit):
        call_command("verify_audit")

    assert "differs from the exported head" in capsys.readouterr().out


def test_heads_go_to_syslog(chained: Caller, settings: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        settings.AUDIT_HEADS = f"syslog://127.0.0.1:{collector.getsockname()[1]}"
        publishing.publish()
        received = collector.recv(4096).decode().rstrip("\x00")

    priority, _, line = received.partition("somamemory-audit: ")
    assert priority == "<86>"  # authpriv, informational
    assert json.loads(line)["signature"]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes], list[int]]]:
    """An HTTP collector for heads: its URL, the received bodies, and the statuses that it returns."""
    bodies: list[bytes] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", bodies, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_heads_that_a_collector_refused_are_sent_again(chained: Caller, settings: Any, collector: Any) -> None:
    settings.AUDIT_HEADS, bodies, statuses = collector
    statuses.append(500)

    with pytest.raises(Unavailable):
        publishing.publish()
    publishing.publish()

    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert len(bodies[1].splitlines()) == AuditBlock.all_tenants.count()


@pytest.mark.parametrize("response", [b"HTTP/1.1 204 No Content\r\nX-Padding: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_collector_that_never_completes_its_response_does_not_delay_the_sealer(
    chained: Caller, settings: Any, monkeypatch: pytest.MonkeyPatch, response: bytes
) -> None:
    monkeypatch.setattr(publishing, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # the service has given up
                connection.sendall(response)
                for _ in range(200):
                    connection.sendall(b"x")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        settings.AUDIT_HEADS = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        began = time.monotonic()
        with contextlib.suppress(Unavailable):
            publishing.publish()
        took_s = time.monotonic() - began
        thread.join(60)
    assert took_s < 5


def test_without_a_place_nothing_is_published(chained: Caller) -> None:
    assert configured.AUDIT_HEADS == ""
    assert publishing.publish() == 0

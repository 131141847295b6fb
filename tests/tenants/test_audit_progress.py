"""The sealer does not sign forged rows, and the heads of the chains are published."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import call_command

from somamemory.errors import Unavailable
from tenants import erasure
from tenants.audit import chain, progress, publishing, sealing, verification
from tenants.caller import Caller
from tenants.models import AuditBlock, AuditEvent, AuditSealer, ErasedTenant
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


def mark_new_rows_as_sealed(caller: Caller) -> None:
    AuditSealer.objects.update(sealed_to=10**9)


@pytest.mark.parametrize(
    "attack",
    [
        forge_from_the_start, reset_all_progress, delete_the_progress, delete_the_blocks_of_a_tenant,
        delete_the_last_block, mark_new_rows_as_sealed,
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
    """An HTTP collector of heads: its URL, the received bodies, and the statuses that it returns."""
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


def test_without_a_place_nothing_is_published(chained: Caller) -> None:
    assert configured.AUDIT_HEADS == ""
    assert publishing.publish() == 0

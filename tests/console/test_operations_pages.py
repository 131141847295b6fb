"""Operations pages: the audit log, the queue's history, backups, slow searches, and a tenant's usage over time."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console import audit_changes, dashboard
from memories.search import slow_searches
from operations import queue_history, statistics
from operations.backup import backups, manifest
from operations.statistics import Queue
from tenants import usage
from tenants.audit import sealing
from tenants.caller import Caller
from tenants.models import AuditBlock, AuditEvent, DailyUsage
from tests.conftest import Api, page, page_content
from tests.support.staff import sign_in_staff
from tests.support.unguarded import unguarded


@pytest.fixture(autouse=True)
def _nothing_measured() -> Iterator[None]:
    queue_history.forget()
    slow_searches.forget()
    yield
    queue_history.forget()
    slow_searches.forget()


# --- Audit: differences ------------------------------------------------------------------------------------------


def event_page(client: Client, action: str, **filters: Any) -> str:
    event = AuditEvent.objects.filter(action=action, **filters).latest("id")
    return html.unescape(page_content(client, page("tenants_auditevent_change", event.pk)))


def test_an_event_shows_what_it_changed(superuser: Client, api: Api) -> None:
    api.store("1", "Ada lives in Bern")
    api.patch("/memories/1", {"payload": {"text": "Ada lives in Rome"}})
    api.patch("/memories/1", {"payload": {"text": "Ada lives in Paris"}})
    first = AuditEvent.objects.filter(action="memory.patch").earliest("id")

    text = html.unescape(page_content(superuser, page("tenants_auditevent_change", first.pk)))

    assert "<del>Ada lives in Bern</del> <ins>Ada lives in Rome</ins>" in text
    assert "Paris" not in text
    assert re.search(r"API key \w+ changed the memory 1.0 in default", text)


@pytest.mark.parametrize("action", ["memory.store", "memory.delete", "memory.restore"])
def test_every_change_of_a_memory_is_found_in_its_history(superuser: Client, api: Api, action: str) -> None:
    api.store("1", "Ada lives in Bern")
    api.delete("/memories/1")
    api.post("/memories/1/restore")

    assert 'class="console-faint">Version' in event_page(superuser, action)


def test_a_restored_conversation_shows_the_versions_of_its_messages(superuser: Client, api: Api) -> None:
    made = api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "hello"}]}).json()
    api.delete(f"/api/v1/conversations/{made['id']}")
    api.post(f"/api/v1/conversations/{made['id']}/restore")

    assert "Version 3, restore" in event_page(superuser, "memory.restore")


def test_the_differences_of_a_purged_memory_are_not_available(superuser: Client, api: Api) -> None:
    api.store("1", "a secret")
    api.delete("/memories/1?purge=true")

    text = event_page(superuser, "memory.store")

    assert "The differences are not available" in text
    assert "a secret" not in text


def test_other_events_state_that_the_log_contains_only_hashes(superuser: Client, api: Api) -> None:
    assert "contains only hashes" in event_page(superuser, "key.issue", tenant=api.tenant)


def test_a_user_without_permission_to_view_memories_sees_no_content(api: Api, superuser: Client) -> None:
    api.store("1", "a secret")
    api.patch("/memories/1", {"payload": {"text": "none"}})
    auditor = sign_in_staff(api.tenant, "view_auditevent")

    assert "a secret" not in event_page(auditor, "memory.patch")
    assert "a secret" in event_page(superuser, "memory.patch")


def test_an_event_of_another_tenant_is_not_shown(staff: Client, stranger: Api) -> None:
    stranger.store("1", "a secret")
    event = AuditEvent.objects.filter(action="memory.store").latest("id")

    response = staff.get(page("tenants_auditevent_change", event.pk), follow=True)

    assert b"a secret" not in response.content


def test_showing_an_event_takes_a_constant_number_of_statements(superuser: Client, api: Api) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            event_page(superuser, "memory.store")
        return len(captured)

    api.store("1")
    for number in range(2):
        api.patch("/memories/1", {"payload": {"n": number}})
    statements()
    few = statements()
    for number in range(10):
        api.patch("/memories/1", {"payload": {"n": -number}})
    assert statements() == few


# --- Audit: verification -----------------------------------------------------------------------------------------


def verify(client: Client, slug: str = "acme") -> str:
    response = client.post(page("tenants_auditevent_verify"), {"_form_submitted": "on", "tenant": slug})
    if "HX-Redirect" not in response:
        return html.unescape(response.content.decode())
    return html.unescape(page_content(client, response["HX-Redirect"]))


def tampered() -> None:
    """Change a sealed block, as an attacker with access to the database could."""
    with unguarded():
        AuditBlock.all_tenants.update(hash=b"x" * 32)


def test_an_intact_log_is_reported(superuser: Client, api: Api) -> None:
    api.store("1")
    sealing.seal()

    assert re.search(r"The audit log for acme is intact: verified \d+ events in 1 block\.", verify(superuser))


def test_a_changed_log_is_reported(superuser: Client, api: Api) -> None:
    api.store("1")
    sealing.seal()
    tampered()

    assert "The audit log for acme has been changed outside the service" in verify(superuser)


def test_a_long_log_must_be_verified_on_the_server(
    superuser: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.store("1")
    sealing.seal()
    monkeypatch.setattr(audit_changes, "VERIFICATION_TIMEOUT_S", 0.0)

    assert "too long to verify here" in verify(superuser)


def test_opening_the_dialog_does_not_verify(superuser: Client, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_changes, "verify", lambda *given: pytest.fail("verified by GET"))

    assert "Verify an audit log?" in html.unescape(superuser.get(page("tenants_auditevent_verify")).content.decode())


def test_staff_can_verify_only_the_logs_of_their_tenants(staff: Client, api: Api, stranger: Api) -> None:
    stranger.store("1")
    sealing.seal()

    assert "intact" in verify(staff)
    assert "The audit log for stranger" not in verify(staff, "stranger")


def test_a_user_without_permission_to_view_the_log_cannot_verify_it(api: Api) -> None:
    reader = sign_in_staff(api.tenant, "view_memory")

    response = reader.post(page("tenants_auditevent_verify"), {"_form_submitted": "on", "tenant": "acme"})

    assert response.status_code == 403


# --- Queue, backups and slow searches ----------------------------------------------------------------------------


def test_the_history_of_the_queue_covers_the_last_hour(caller: Caller) -> None:
    command = Caller.command(caller.tenant)
    now = 1_800_000_000.0
    for minute in range(queue_history.MINUTES + 5):
        queue_history.add(Queue(minute, 0, 0), now - 60 * minute)
    queue_history.add(Queue(7, 0, 0), now)

    samples = queue_history.last_hour(command, now)

    assert len(samples) == queue_history.MINUTES
    assert samples[-1] == (int(now // 60), Queue(7, 0, 0))
    assert len(queue_history._samples) == queue_history.MINUTES


def test_the_dashboard_draws_the_queue(superuser: Client) -> None:
    assert "The first measurement is due within a minute." in page_content(superuser, page("index"))

    queue_history.sample()

    text = page_content(superuser, page("index"))
    assert 'aria-label="Memories waiting to be indexed in the last hour"' in text
    assert "The first measurement is due" not in text


def test_the_dashboard_shows_the_age_of_the_last_backup(superuser: Client, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    assert "somamemory backup" in page_content(superuser, page("index"))

    for age in (timedelta(days=5), timedelta(hours=3)):
        folder = tmp_path / "backups" / f"soma-{datetime.now(UTC) - age:%Y%m%dT%H%M%SZ}"
        folder.mkdir(parents=True)
        (folder / manifest.FILE_NAME).touch()
    (tmp_path / "backups" / "soma-29990101T000000Z.partial").mkdir()

    text = page_content(superuser, page("index"))
    assert "3.0 h ago" in text
    assert ">recent<" in text


def test_an_old_backup_is_marked(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "backups" / "soma-20260101T000000Z").mkdir(parents=True)

    shown = dashboard._backup(datetime(2026, 1, 4, tzinfo=UTC))

    assert (shown["age"], shown["is_old"]) == ("3.0 d", True)
    assert backups.latest(tmp_path / "nowhere") is None


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_searches, "SLOW_MS", 0.0)


def test_a_slow_search_is_explained_without_its_text(superuser: Client, api: Api, slow: None) -> None:
    api.store("1", "the aardvark digs")
    api.search("aardvark secret", filters={"tag": "covert"}, top_k=7)

    text = page_content(superuser, page("slow_searches"))

    assert "hybrid search by acme in default" in text
    assert "2 words" in text
    assert "with filters, top_k 7" in text
    assert "Most of the time went into" in text
    for secret in ("aardvark", "secret", "covert"):
        assert secret not in text


def test_only_slow_searches_are_recorded_up_to_a_limit(
    api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Caller.command(caller.tenant)
    monkeypatch.setattr(slow_searches, "SLOW_MS", 1e9)
    api.search("aardvark")
    assert slow_searches.recent(command) == []
    monkeypatch.setattr(slow_searches, "SLOW_MS", 0.0)

    for _ in range(slow_searches.MAX_SEARCHES + 3):
        api.search("aardvark", mode="keyword")

    searches = slow_searches.recent(command)
    assert len(searches) == slow_searches.MAX_SEARCHES
    assert [search.took_ms for search in searches] == sorted((search.took_ms for search in searches), reverse=True)
    assert abs(sum(ms for _, ms in searches[0].steps) - searches[0].took_ms) < 1.0


def test_only_superusers_see_slow_searches(staff: Client, api: Api, slow: None) -> None:
    api.search("aardvark")

    assert staff.get(page("slow_searches")).status_code == 403
    assert "Slow searches" not in page_content(staff, page("index"))


# --- A tenant's usage over time ----------------------------------------------------------------------------------


def test_a_tenants_page_shows_its_requests_and_memories_per_day(superuser: Client, api: Api) -> None:
    today = timezone.now().date()
    for days, requests in ((0, 5), (1, 1200), (40, 9)):
        day = today - timedelta(days=days)
        DailyUsage.objects.for_tenant(api.tenant).create(tenant=api.tenant, day=day, requests=requests)
    usage.record_memories(today, {api.tenant.id: 17})

    text = page_content(superuser, page("tenants_tenant_change", api.tenant.pk))

    assert f"<title>{today - timedelta(days=1)}  1,200 requests</title>" in text
    assert "1,205 in 30 days" in text
    assert 'aria-label="Memories per day"' in text


def test_a_tenant_without_measurements_says_when_the_first_one_is_due(superuser: Client, api: Api) -> None:
    assert "The first measurement is due within an hour." in page_content(
        superuser, page("tenants_tenant_change", api.tenant.pk)
    )


def test_measuring_the_memories_of_a_day_preserves_its_requests(api: Api, stranger: Api) -> None:
    today = timezone.now().date()
    api.store("1")
    api.store("2")
    usage.flush()
    before = DailyUsage.objects.for_tenant(api.tenant).get(day=today).requests

    statistics.measure_tenants()
    statistics.measure_tenants()

    row = DailyUsage.objects.for_tenant(api.tenant).get(day=today)
    assert (row.memories, row.requests) == (2, before)
    assert not DailyUsage.objects.for_tenant(stranger.tenant).filter(memories__gt=0).exists()


def test_usage_per_day_contains_exactly_the_given_days(api: Api) -> None:
    today = date(2026, 3, 10)
    DailyUsage.objects.for_tenant(api.tenant).create(tenant=api.tenant, day=date(2026, 3, 9), requests=4, memories=2)

    assert usage.per_day(api.tenant, 3, today) == [
        (date(2026, 3, 8), 0, None),
        (date(2026, 3, 9), 4, 2),
        (today, 0, None),
    ]


def test_staff_of_another_tenant_see_no_usage(staff: Client, stranger: Api) -> None:
    assert staff.get(page("tenants_tenant_change", stranger.tenant.pk)).status_code == 302

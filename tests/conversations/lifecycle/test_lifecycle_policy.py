"""Upkeep: a tenant's lifecycle policy, the effect of a run, and its report."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from conversations.lifecycle import policy, thaw_queue, tiers
from conversations.models import Conversation, Upkeep
from memories import read_counts
from memories.models import Memory
from tenants.models import AuditEvent, Tenant
from tests.conftest import Api, issue_key, problem_of
from tests.conversations.lifecycle.test_tiers import cold_folder, older, put, run, scheduler_caller, tier  # noqa: F401 - a fixture
from tests.support.conversations import ROOT, begin, contents

pytestmark = pytest.mark.django_db

PATH = "/api/v1/upkeep"


def rules(api: Api, **changes: Any) -> dict[str, Any]:
    response = api.patch(PATH, changes)
    assert response.status_code == 200, response.content
    report: dict[str, Any] = response.json()
    return report


def lately_read(api: Api, id: str, days: float) -> None:
    rows = Memory.objects.for_tenant(api.tenant).filter(namespace="conversations")
    low, high = Conversation.all_tenants.get(id=id).root.subtree
    rows.filter(coordinate_key__gte=low, coordinate_key__lt=high).update(
        last_accessed_at=timezone.now() - timedelta(days=days)
    )


# --- Rules -------------------------------------------------------------------------------------------------------


def test_nothing_moves_without_a_policy(api: Api) -> None:
    id = begin(api, "old")["id"]
    older(id, 9_999)

    assert run(api).archived == 0
    assert tier(api, id) == "active"


def test_a_tenant_has_its_own_policy_or_that_of_the_installation(api: Api, settings: Any) -> None:
    settings.ACTIVE_DAYS, settings.ARCHIVED_DAYS = 30, 60

    before = api.get(PATH).json()
    changed = rules(api, active_days=7, pruning={"mode": "report", "threshold_days": 10})
    back = rules(api, active_days=None, archived_days=0, pruning=None)

    assert (before["active_days"], before["archived_days"], before["own"]) == (30, 60, [])
    assert (changed["active_days"], changed["archived_days"], changed["own"]) == (7, 60, ["active_days"])
    assert changed["pruning"] == {"mode": "report", "threshold_days": 10.0, "importance_threshold": 5.0}
    assert (back["active_days"], back["archived_days"], back["own"]) == (30, 0, ["archived_days"])
    assert back["pruning"]["mode"] == "off"
    assert AuditEvent.objects.filter(tenant=api.tenant, action="upkeep.change").count() == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"active_days": -1}, "active_days"),
        ({"active_days": 1.5}, "active_days"),
        ({"active_days": "1"}, "active_days"),
        ({"archived_days": 36_501}, "archived_days"),
        ({"pruning": {"mode": "delete"}}, "pruning.mode"),
        ({"pruning": {"mode": "archive", "importance_threshold": 11}}, "pruning.importance_threshold"),
        ({"cold_days": 1}, "cold_days"),
    ],
)
def test_a_wrong_rule_is_refused(api: Api, body: Any, field: str) -> None:
    problem_of(api.patch(PATH, body), 422, field=field)


def test_nothing_becomes_cold_without_configured_storage(
    api: Api,
    settings: Any,
    cold_folder: Path,  # noqa: F811
) -> None:
    """With PostgreSQL, the data folder may belong to a container and disappear with it."""
    rules(api, archived_days=60)
    id = begin(api, "old")["id"]
    put(api, id, "archive")
    older(id, 61)
    settings.COLD_STORAGE = ""

    problem_of(api.patch(PATH, {"archived_days": 30}), 422, field="archived_days")
    assert api.get(PATH).json()["archived_days"] == 0
    assert (run(api).cooled, tiers.freeze(scheduler_caller(api.tenant), uuid.UUID(id))) == (0, False)
    assert (tier(api, id), contents(api, id), list(cold_folder.glob("*"))) == ("archived", ["old"], [])
    assert rules(api, archived_days=0)["archived_days"] == 0


def test_rules_are_changed_by_admins_and_seen_by_readers(api: Api, stranger: Api) -> None:
    reader = Api(issue_key(api.tenant, ("read", "write")), api.tenant)
    rules(api, active_days=7)

    problem_of(reader.patch(PATH, {"active_days": 1}), 403)
    assert reader.get(PATH).json()["active_days"] == 7
    rules(stranger, active_days=3)
    assert api.get(PATH).json()["active_days"] == 7


# --- A run -------------------------------------------------------------------------------------------------------


def test_unused_conversations_are_archived_and_later_moved_to_a_file(api: Api) -> None:
    rules(api, active_days=30, archived_days=60)
    idle, used, read, pinned = (begin(api, name)["id"] for name in ("idle", "used", "read", "pinned"))
    put(api, pinned, "pin")
    for id in (idle, read, pinned):
        older(id, 31)
    lately_read(api, read, 1)

    first = run(api)
    assert [tier(api, id) for id in (idle, used, read, pinned)] == ["archived", "active", "active", "active"]
    older(idle, 61)
    second = run(api)

    assert tier(api, idle) == "cold"
    assert contents(api, idle) == ["idle"]
    assert [(report.archived, report.cooled, report.finished, report.errors) for report in (first, second)] == [
        (1, 0, True, []),
        (0, 1, True, []),
    ]
    report = api.get(PATH).json()["report"]
    assert (report["archived"], report["cooled"], report["dry_run"]) == (0, 1, False)


def test_reading_an_archived_conversation_counts_as_use(api: Api) -> None:
    rules(api, archived_days=60)
    id = begin(api, "x")["id"]
    put(api, id, "archive")
    older(id, 100)
    lately_read(api, id, 10)

    assert run(api).cooled == 0

    archived_at = Conversation.all_tenants.get(id=id).archived_at
    assert archived_at is not None
    assert timedelta(days=9) < timezone.now() - archived_at < timedelta(days=11)
    lately_read(api, id, 61)
    older(id, 61)
    assert run(api).cooled == 1


def test_reading_a_page_of_messages_counts_as_use(api: Api) -> None:
    rules(api, active_days=30, archived_days=60)
    ids = [begin(api, name)["id"] for name in ("active", "archived")]
    put(api, ids[1], "archive")
    for id in ids:
        older(id, 61)

    assert [contents(api, id) for id in ids] == [["active"], ["archived"]]
    read_counts.write_back()
    report = run(api)

    assert (report.archived, report.cooled) == (0, 0)
    assert [tier(api, id) for id in ids] == ["active", "archived"]


def test_one_that_has_come_back_stays_for_as_long_as_any_other(api: Api) -> None:
    rules(api, archived_days=60)
    id = begin(api, "x")["id"]
    put(api, id, "archive")
    older(id, 100)
    assert run(api).cooled == 1
    contents(api, id)
    thaw_queue.thaw_batch()

    assert run(api).cooled == 0
    assert tier(api, id) == "archived"


def test_a_dry_run_says_the_same_and_changes_nothing(api: Api) -> None:
    rules(api, active_days=30, archived_days=60, pruning={"mode": "archive", "threshold_days": 0})
    idle, old = begin(api, "idle")["id"], begin(api, "old")["id"]
    put(api, old, "archive")
    older(idle, 31)
    older(old, 61)
    before = AuditEvent.objects.count()

    dry = run(api, dry_run=True)

    assert AuditEvent.objects.count() == before
    assert (tier(api, idle), tier(api, old)) == ("active", "archived")
    assert api.get(PATH).json()["report"] == {}
    wet = run(api)
    assert (dry.archived, dry.cooled) == (wet.archived, wet.cooled) == (1, 1)


def test_one_that_fails_does_not_hold_up_the_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from conversations.lifecycle import cold_storage
    from somamemory.errors import ColdUnavailable

    rules(api, archived_days=60)
    ids = [begin(api, f"number {n}")["id"] for n in range(3)]
    for id in ids:
        put(api, id, "archive")
        older(id, 61)
    failing = iter([True, False, False])
    write = cold_storage.write

    def flaky(packed: Any) -> None:
        if next(failing):
            raise ColdUnavailable("cold storage does not answer")
        write(packed)

    with monkeypatch.context() as patch:
        patch.setattr(cold_storage, "write", flaky)
        report = run(api)

    assert (report.cooled, len(report.errors)) == (2, 1)
    assert sorted(tier(api, id) for id in ids) == ["archived", "cold", "cold"]
    assert run(api).cooled == 1


def test_a_run_that_exceeds_its_time_limit_continues_where_it_stopped(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "BATCH", 2)
    rules(api, active_days=30)
    ids = [begin(api, f"number {n}")["id"] for n in range(6)]
    for n, id in enumerate(ids):
        older(id, 50 - n)
    for id in ids[:4]:
        lately_read(api, id, 1)

    reports = [run(api, should_stop=lambda: True) for _ in range(3)]

    assert not any(report.finished for report in reports)
    assert Upkeep.objects.for_tenant(api.tenant).get().positions["idle"]
    assert run(api).archived + sum(report.archived for report in reports) == 2
    assert [tier(api, id) for id in ids] == ["active"] * 4 + ["archived"] * 2


def test_statuses_set_by_an_older_version_are_applied(api: Api) -> None:
    archived, active = begin(api, "a")["id"], begin(api, "b")["id"]
    put(api, active, "archive")
    older(active, 1)
    assert tiers.freeze(scheduler_caller(api.tenant), uuid.UUID(active))
    Conversation.all_tenants.filter(id=archived).update(status="archived")
    Conversation.all_tenants.filter(id=active).update(status="active")

    assert run(api).caught_up == 2

    assert (tier(api, archived), tier(api, active)) == ("archived", "active")
    assert not Memory.objects.for_tenant(api.tenant).filter(archived_at=None, payload__content="a").exists()
    assert Memory.objects.for_tenant(api.tenant).filter(archived_at=None, payload__content="b").exists()
    assert run(api).caught_up == 0


# --- Pruning -----------------------------------------------------------------------------------------------------


def prunable(api: Api) -> str:
    id: str = begin(api, "of no importance", label="Chatter", importance_score=1)["id"]
    older(id, 400)
    return id


def test_a_policy_only_reports_unless_its_mode_is_archive(api: Api) -> None:
    id = prunable(api)
    rules(api, pruning={"mode": "report"})

    run(api)

    report = api.get(PATH).json()["report"]["pruning"]
    assert (report["mode"], report["suggested"], report["archived"]) == ("report", 1, 0)
    assert [(suggestion["conversation_id"], suggestion["label"]) for suggestion in report["conversations"]] == [
        (id, "Chatter")
    ]
    assert report["conversations"][0]["reasons"]
    assert tier(api, id) == "active"
    noted = AuditEvent.objects.get(tenant=api.tenant, action="upkeep.prune")
    assert noted.target == "report: 1 suggested, 0 archived"


def test_a_policy_archives_what_the_suggestions_say_and_that_can_be_undone(api: Api) -> None:
    id, kept = prunable(api), begin(api, "important", importance_score=9)["id"]
    older(kept, 400)
    [suggested] = api.get("/api/v1/prune/suggestions").json()
    rules(api, pruning={"mode": "archive"})

    report = run(api).pruning

    assert report is not None
    assert (report["archived"], report["conversations"][0]["conversation_id"]) == (
        1,
        suggested["conversation_id"],
    )
    assert (tier(api, id), tier(api, kept)) == ("archived", "active")
    assert api.post("/api/v1/prune/undo", {"conversation_ids": [id]}).json()["restored"] == 1
    assert tier(api, id) == "active"


def test_a_policy_is_asked_once_a_day(api: Api) -> None:
    rules(api, pruning={"mode": "archive"})
    run(api)
    prunable(api)

    assert run(api).pruning is None
    later = policy.run(scheduler_caller(api.tenant), timezone.now() + timedelta(days=1))
    assert later.pruning is not None
    assert later.pruning["archived"] == 1


def test_many_that_are_to_be_kept_do_not_hide_those_behind_them(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "BATCH", 2)
    rules(api, pruning={"mode": "report"})
    for n in range(5):
        older(read := begin(api, f"read {n}", importance_score=1)["id"], 500)
        lately_read(api, read, 1)
    id = prunable(api)

    report = run(api).pruning

    assert report is not None
    assert [suggestion["conversation_id"] for suggestion in report["conversations"]] == [id]


# --- On schedule -------------------------------------------------------------------------------------------------


def test_each_tenant_has_its_turn_once_an_interval_by_its_own_rules(api: Api, stranger: Api) -> None:
    rules(api, active_days=30)
    mine, theirs = begin(api, "x")["id"], begin(stranger, "y")["id"]
    older(mine, 31)
    older(theirs, 31)
    Tenant.objects.get_or_create(slug="default")
    active = Tenant.objects.filter(active=True).count()

    assert policy.run_all() == active
    assert policy.run_all() == 0

    assert (tier(api, mine), tier(stranger, theirs)) == ("archived", "active")
    assert api.get(PATH).json()["ran_at"]


def test_a_suspended_tenant_is_left_alone(api: Api, operator: Api) -> None:
    rules(api, active_days=30)
    older(begin(api, "x")["id"], 31)
    operator.patch("/api/v1/tenants/acme", {"active": False})

    policy.run_all()

    assert not Conversation.all_tenants.filter(tier="archived").exists()


def test_the_command_says_what_it_does(api: Api) -> None:
    rules(api, active_days=30, pruning={"mode": "report", "threshold_days": 0})
    id = begin(api, "x", label="Chatter", importance_score=1)["id"]
    older(id, 31)
    dry, wet = io.StringIO(), io.StringIO()

    call_command("upkeep", tenant="acme", dry_run=True, stdout=dry)
    assert tier(api, id) == "active"
    call_command("upkeep", tenant="acme", stdout=wet)

    assert "1 conversations would be archived (unused for 30 days)" in dry.getvalue()
    assert "0 conversations would be moved to cold storage (this rule is off)" in dry.getvalue()
    assert "1 conversations archived (unused for 30 days)" in wet.getvalue()
    assert tier(api, id) == "archived"
    assert api.get(f"{ROOT}/{id}").json()["status"] == "archived"

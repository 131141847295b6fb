"""Earlier versions of memories: recording, retention and cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from memories import archiving, history, retention, storage_usage
from memories.coordinates import parse
from memories.models import Memory, MemoryVersion
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def versions(api: Api) -> list[MemoryVersion]:
    return list(MemoryVersion.objects.for_tenant(api.tenant).order_by("seq"))


def memory(api: Api) -> Memory:
    row: Memory = Memory.objects.for_tenant(api.tenant).get()
    return row


def replaced(api: Api, ago: timedelta) -> None:
    """Make every earlier version appear to have been replaced this long ago."""
    MemoryVersion.objects.for_tenant(api.tenant).update(until=timezone.now() - ago)


def test_a_new_memory_has_no_earlier_version(api: Api) -> None:
    api.store("1", "one")

    assert versions(api) == []


def test_every_kind_of_change_leaves_one_earlier_version(api: Api) -> None:
    api.store("1", "one")
    api.store("1", "two")
    api.patch("/memories/1", {"importance": 3})
    api.delete("/memories/1")
    api.post("/memories/1/restore")

    assert [(row.version, row.payload["text"], row.importance) for row in versions(api)] == [
        (1, "one", 0.0),
        (2, "two", 0.0),
        (3, "two", 3.0),
        (4, "two", 3.0),
    ]
    assert [row.deleted_at is not None for row in versions(api)] == [False, False, False, True]


def test_versions_follow_each_other_without_a_gap(api: Api) -> None:
    for text in ("one", "two", "three"):
        api.store("1", text)

    first, second = versions(api)

    assert first.updated_at < first.until == second.updated_at < second.until == memory(api).updated_at


def test_a_version_begins_after_the_one_before_even_if_the_clock_was_set_back(api: Api) -> None:
    api.store("1", "one")
    ahead = timezone.now() + timedelta(hours=1)
    Memory.objects.for_tenant(api.tenant).update(updated_at=ahead)

    api.store("1", "two")

    assert memory(api).updated_at == ahead + timedelta(microseconds=1)


def test_a_bulk_store_keeps_every_replaced_memory(api: Api) -> None:
    for text in ("old", "new"):
        api.post("/memories/bulk", {"items": [{"coord": f"{n}", "payload": {"text": text}} for n in range(3)]})

    assert [row.payload["text"] for row in versions(api)] == ["old"] * 3


def test_a_version_says_who_wrote_it(api: Api) -> None:
    api.store("1", "one")
    api.store("1", "two")

    assert versions(api)[0].written_by == memory(api).written_by == f"key:{api.key.split('_')[1]}"


def test_a_move_to_the_archive_is_not_a_change(api: Api) -> None:
    api.store("1", "one")
    caller = Caller.command(api.tenant)

    archiving.archive_subtree(caller, "default", parse("1"))
    archiving.wake_subtree(caller, "default", parse("1"))

    assert versions(api) == []


def test_a_purged_memory_leaves_no_history(api: Api) -> None:
    api.store("1", "one")
    api.store("1", "two")

    api.delete("/memories/1?purge=true")

    assert versions(api) == []


def test_versions_are_pruned_after_the_retention_period(api: Api, settings: Any) -> None:
    settings.HISTORY_DAYS = 10
    api.store("1", "one")
    api.store("1", "two")

    replaced(api, timedelta(days=9))
    assert history.prune() == 0
    replaced(api, timedelta(days=11))
    assert history.prune() == 1

    assert versions(api) == []


def test_a_tenant_can_have_its_own_retention_period(api: Api, stranger: Api) -> None:
    for client in (api, stranger):
        client.store("1", "one")
        client.store("1", "two")
        replaced(client, timedelta(days=3))
    Tenant.objects.filter(id=api.tenant.id).update(history_days=2)

    retention.tidy()

    assert (len(versions(api)), len(versions(stranger))) == (0, 1)


def test_an_operator_sets_the_retention_period_of_a_tenant(operator: Api, api: Api) -> None:
    changed = operator.patch("/api/v1/tenants/acme", {"policies": {"history_days": 7}})

    assert changed.json()["policies"]["history_days"] == 7
    api.tenant.refresh_from_db()
    assert history.days(api.tenant) == 7
    assert operator.patch("/api/v1/tenants/acme", {"policies": {"history_days": -1}}).status_code == 422


def test_after_a_prune_the_history_begins_where_it_is_complete(api: Api, settings: Any) -> None:
    settings.HISTORY_DAYS = 10
    api.store("1", "one")
    api.store("1", "two")
    replaced(api, timedelta(days=11))
    history.prune()
    settings.HISTORY_DAYS = 100
    api.tenant.refresh_from_db()

    assert timezone.now() - history.earliest(api.tenant, timezone.now()) < timedelta(days=10, minutes=1)


@pytest.mark.parametrize("change", ["store", "patch", "delete", "restore", "purge", "prune"])
def test_the_recorded_usage_includes_the_history(api: Api, change: str, settings: Any) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=1_000_000)
    api.store("1", "one")
    api.store("1", "twenty-two")
    if change in ("restore", "purge"):
        api.delete("/memories/1")
    if change == "prune":
        settings.HISTORY_DAYS = 0
    {
        "store": lambda: api.store("1", "three"),
        "patch": lambda: api.patch("/memories/1", {"payload": {"a": 1}}),
        "delete": lambda: api.delete("/memories/1"),
        "restore": lambda: api.post("/memories/1/restore"),
        "purge": lambda: api.delete("/memories/1?purge=true"),
        "prune": history.prune,
    }[change]()

    memories, bytes, noted_memories, noted_bytes = storage_usage.count(api.tenant)

    assert (memories, bytes) == (noted_memories, noted_bytes)


def test_a_full_quota_does_not_prevent_a_deletion(api: Api) -> None:
    api.store("1", "one")
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=1)

    assert api.delete("/memories/1").status_code == 200


def test_the_trigger_copies_every_column() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT prosrc FROM pg_proc WHERE proname = 'sfm_keep_version'"
            if connection.vendor == "postgresql"
            else "SELECT sql FROM sqlite_master WHERE name = 'sfm_memories_version'"
        )
        trigger = cursor.fetchone()[0]

    names = {field.column for field in Memory._meta.concrete_fields} - {"seq"}

    assert names | {"seq", "until"} == {field.column for field in MemoryVersion._meta.concrete_fields}
    assert all(f'old."{name}"' in trigger for name in names)

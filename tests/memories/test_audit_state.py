"""Audit log entries for memories, links and conversations: the hashes of consecutive changes match."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from memories import coordinates, retention, services
from memories.models import Memory
from tenants.caller import Caller
from tenants.models import AuditEvent
from tests.conftest import Api


def test_the_hashes_of_a_memorys_history_join(api: Api) -> None:
    api.store("1", payload={"text": "a", "numbers": [1e16, 1.0, 0.1, -0.0, 1e300, 12345678901]}, importance=2)
    api.store("1", "b", metadata={"a": None}, expires_at="2999-01-01T00:00:00Z")
    api.patch("/memories/1", {"payload": {"text": "c"}, "importance": 1.5})
    api.delete("/memories/1")
    api.post("/memories/1/restore")
    api.store("1", "d", metadata={"n": 5e-7})
    api.delete("/memories/1?purge=true")

    rows = list(AuditEvent.objects.filter(tenant=api.tenant, action__startswith="memory.").order_by("id"))

    hashes = [(bytes(row.before_hash or b""), bytes(row.after_hash or b"")) for row in rows]
    done = [row.action.removeprefix("memory.") for row in rows]
    assert done == ["store", "store", "patch", "delete", "restore", "store", "purge"]
    assert hashes[0][0] == hashes[-1][1] == b""
    assert [after for _, after in hashes[:-1]] == [before for before, _ in hashes[1:]]
    assert len({after for _, after in hashes}) == len(hashes)


def test_each_memory_of_a_batch_has_its_hashes(api: Api) -> None:
    items = [{"coord": "1", "payload": {"n": 1}}, {"coord": "1", "payload": {"n": 2}}, {"coord": "2", "payload": {}}]
    api.post("/memories/bulk", {"items": items})

    first, second, other = AuditEvent.objects.filter(tenant=api.tenant, action="memory.store").order_by("id")

    assert bytes(first.after_hash or b"") == bytes(second.before_hash or b"")
    assert (first.before_hash, other.before_hash) == (None, None)


def test_the_hashes_of_a_links_and_a_conversations_history_join(api: Api) -> None:
    link = {"from_coord": "1", "to_coord": "2"}
    api.post("/graph/link", {**link, "strength": 1.0, "metadata": {"n": 1e16}})
    api.post("/graph/link", {**link, "strength": 0.5})
    api.delete("/graph/link?from_coord=1&to_coord=2")
    made = api.post("/api/v1/conversations", {"label": "a", "folder": "b", "messages": [], "metadata": {"n": 1e16}})
    assert made.status_code == 201, made.content
    path = f"/api/v1/conversations/{made.json()['id']}"
    api.patch(path, {"label": "c"})
    api.delete(path)

    for kind in ("graph.", "conversation."):
        rows = list(AuditEvent.objects.filter(tenant=api.tenant, action__startswith=kind).order_by("id"))
        hashes = [
            (row.before_hash and bytes(row.before_hash), row.after_hash and bytes(row.after_hash)) for row in rows
        ]
        assert len(rows) == 3
        assert (hashes[0][0], hashes[-1][1]) == (None, None)
        assert [after for _, after in hashes[:-1]] == [before for before, _ in hashes[1:]]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def test_every_memory_of_a_deleted_subtree_is_audited(caller: Caller, api: Api) -> None:
    for coord in ("1", "1,1", "1,2", "2"):
        api.store(coord)
    api.delete("/memories/1,2")

    services.delete_subtree(caller, "default", coordinates.of([1]))
    services.delete_subtree(caller, "default", coordinates.of([1]), purge=True)

    assert [targets(caller, action) for action in ("memory.delete", "memory.purge")] == [
        ["1.0,2.0", "1.0", "1.0,1.0"],
        ["1.0", "1.0,1.0", "1.0,2.0"],
    ]
    assert_histories_join(caller)


def test_removal_after_the_retention_time_is_audited_without_an_actor(
    caller: Caller, api: Api, stranger: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in (api, stranger):
        who.store("1", namespace="a")
        who.store("2", namespace="b", expires_at="2999-01-01T00:00:00Z")
        who.store("3")
        who.delete("/memories/1?namespace=a")
    Memory.all_tenants.exclude(expires_at=None).update(expires_at=timezone.now())
    monkeypatch.setattr(settings, "RETENTION_DAYS", 0)

    assert retention.purge() == 4

    for tenant in (caller.tenant, stranger.tenant):
        rows = AuditEvent.objects.filter(tenant=tenant, action="memory.purge").order_by("id")
        assert [(row.actor, row.namespace, row.target) for row in rows] == [
            ("retention", "a", "1.0"),
            ("retention", "b", "2.0"),
        ]
        assert all(row.before_hash and not row.after_hash for row in rows)


def test_links_removed_with_a_memory_are_audited(api: Api, caller: Caller) -> None:
    api.store("1")
    api.post("/graph/link", {"from_coord": "1", "to_coord": "2"})
    api.post("/graph/link", {"from_coord": "3", "to_coord": "1", "link_type": "cites"})

    api.delete("/memories/1?purge=true")

    assert targets(caller, "graph.unlink") == ["1.0 -related-> 2.0", "3.0 -cites-> 1.0"]
    assert_histories_join(caller)


def targets(caller: Caller, action: str) -> list[str]:
    rows = AuditEvent.objects.filter(tenant=caller.tenant, action=action).order_by("id")
    return list(rows.values_list("target", flat=True))


def assert_histories_join(caller: Caller) -> None:
    """Check that the hash after each change of a memory or link is the hash before the next one."""
    last: dict[tuple[str, str], bytes | None] = {}
    for row in AuditEvent.objects.filter(tenant=caller.tenant).order_by("id"):
        place = (row.namespace, row.target)
        assert _bytes(row.before_hash) == last.get(place), row
        last[place] = _bytes(row.after_hash)

"""Storage and request quotas, enforced without a row that all writers would wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from api.routing import policies
from conversations.enrichment import proposals
from conversations.models import Conversation, Proposal
from graph.models import Link
from memories import coordinates, retention, services, storage_usage
from memories.coordinates import parse
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.reserved_namespaces import FACTS
from somamemory.db import column_backfill
from somamemory.errors import QuotaExceeded
from tenants import idempotency, keys, maintenance, usage
from tenants.caller import SCOPES, Caller
from tenants.models import DailyUsage, IdempotencyKey, Tenant, UsageStripe
from tests.conftest import Api, problem_of
from tests.support.every_route import CASES, NEEDS, Case, Route

V1 = "/api/v1"


@pytest.fixture
def limit(api: Api, operator: Api) -> Iterator[Callable[..., None]]:
    """Set acme's quotas."""

    def change(**quotas: int | None) -> None:
        response = operator.patch(f"{V1}/tenants/acme", {"quotas": quotas})
        assert response.status_code == 200, response.content

    yield change
    keys.forget_cached()


def reported_usage(operator: Api) -> dict[str, int]:
    answer = operator.get(f"{V1}/tenants/acme/usage").json()
    return {name: part["used"] for name, part in answer.items() if name != "slug"}


def is_exact(tenant: Tenant) -> bool:
    memories, bytes, noted_memories, noted_bytes = storage_usage.count(tenant)
    return (memories, bytes) == (noted_memories, noted_bytes)


# --- Memories and bytes ------------------------------------------------------------------------------------------


def test_a_write_over_the_quota_of_memories_is_rejected_and_changes_nothing(api: Api, limit: Any) -> None:
    api.store("0")
    limit(memories=2)
    api.store("1")

    problem = problem_of(api.post("/memories", {"coord": "2", "payload": {}}), 403, "quota_exceeded")

    assert "stores 2 memories and its quota is 2" in problem["detail"]
    assert api.get("/memories/2").status_code == 404
    assert api.store("1", "may still be replaced")["version"] == 2


def test_a_batch_fits_whole_or_not_at_all(api: Api, limit: Any) -> None:
    limit(memories=2)
    items = [{"coord": [n], "payload": {}} for n in range(3)]

    problem_of(api.post("/memories/bulk", {"items": items}), 403, "quota_exceeded")
    assert api.post("/memories/bulk", {"items": items[:2]}).status_code == 200


def test_a_quota_of_bytes_counts_payload_metadata_and_context(api: Api, operator: Api, limit: Any) -> None:
    limit(bytes=120)
    api.store("1", "x" * 20, metadata={"m": "y" * 10}, context="z" * 10)

    assert reported_usage(operator)["bytes"] == len('[{"text":""},{"m":""}]') + 40
    problem_of(api.post("/memories", {"coord": "2", "payload": {"text": "x" * 60}}), 403, "quota_exceeded")
    problem_of(api.patch("/memories/1", {"payload": {"more": "x" * 60}}), 403, "quota_exceeded")
    assert api.patch("/memories/1", {"payload": {"text": "shorter"}}).status_code == 200


TEXT = "x" * 5000
SOME: dict[str, Any] = {"message": [{"role": "user", "content": TEXT}], "link": {"from_coord": "1", "to_coord": "2"}}
# Requests that store more than before, for each route that can.
GROWING: dict[Route, Case] = {
    ("POST", "/memories"): Case("/memories", {"coord": "9", "payload": {"text": TEXT}}),
    ("POST", "/memories/bulk"): Case("/memories/bulk", {"items": [{"coord": "9", "payload": {"text": TEXT}}]}),
    ("PATCH", "/memories/{coord}"): Case("/memories/1", {"metadata": {"more": TEXT}}),
    ("PATCH", "/memories/by-id/{id}"): Case("/memories/by-id/{id}", {"metadata": {"more": TEXT}}),
    ("PATCH", "/memories/by-key/{key}"): Case("/memories/by-key/{key}", {"metadata": {"more": TEXT}}),
    ("PUT", "/memories/by-key/{key}"): Case("/memories/by-key/{key}", {"payload": {"text": TEXT}}),
    ("POST", "/graph/link"): Case("/graph/link", {**SOME["link"], "metadata": {"more": TEXT}}),
    ("POST", "/graph/links/bulk"): Case("/graph/links/bulk", {"links": [{**SOME["link"], "link_type": "follows"}]}),
    ("POST", "/conversations"): Case("/conversations", {"label": "x", "folder": "/x", "metadata": {"more": TEXT}}),
    ("PATCH", "/conversations/{id}"): Case("/conversations/{conversation}", {"metadata": {"more": TEXT}}),
    ("PUT", "/conversations/{id}/label"): Case("/conversations/{conversation}/label", {"label": TEXT[:500]}),
    ("PUT", "/conversations/{id}/folder"): Case("/conversations/{conversation}/folder", {"folder": "/a/long/folder"}),
    ("POST", "/conversations/{id}/messages"): Case(
        "/conversations/{conversation}/messages", {"messages": SOME["message"]}
    ),
    ("PUT", "/conversations/by-external-id/{external_id}"): Case(
        "/conversations/by-external-id/another", {"label": "x", "metadata": {"more": TEXT}}
    ),
    ("POST", "/conversations/by-external-id/{external_id}/messages"): Case(
        "/conversations/by-external-id/chat-1/messages", {"messages": SOME["message"]}
    ),
    ("POST", "/import"): Case("/import", [{"id": "another", "messages": SOME["message"]}]),
    ("POST", "/proposals/{id}/accept"): Case("/proposals/{proposal}/accept"),
    ("POST", "/summarize"): Case("/summarize", {"conversation_id": "{conversation}", "level": "monthly"}),
    ("POST", "/conversations/{id}/summary"): Case("/conversations/{conversation}/summary?level=weekly"),
}
# Requests of a fixed size: they change a state, queue background work (whose results count), or remove something.
STEADY = {
    ("POST", "/memories/{coord}/restore"),
    ("POST", "/memories/by-id/{id}/restore"),
    ("POST", "/memories/restore"),
    ("POST", "/conversations/{id}/restore"),
    ("POST", "/namespaces/rename"),
    ("DELETE", "/graph/link"),
    ("PUT", "/conversations/{id}/status"),
    ("PUT", "/conversations/{id}/pin"),
    ("PUT", "/conversations/{id}/archive"),
    ("DELETE", "/conversations/{id}"),
    ("POST", "/conversations/{id}/facts"),
    ("POST", "/messages/{id}/importance"),
    ("POST", "/prune/execute"),
    ("POST", "/prune/undo"),
    ("POST", "/proposals/{id}/reject"),
    ("POST", "/proposals/{id}/undo"),
    ("PATCH", "/upkeep"),
}
# A soft deletion keeps the previous version even if the quota is full, because deleting must always be possible.
DELETING = {
    ("DELETE", "/memories/{coord}"),
    ("DELETE", "/memories/by-key/{key}"),
    ("DELETE", "/memories/by-id/{id}"),
    ("POST", "/memories/bulk/delete"),
    ("POST", "/memories/delete"),
    ("POST", "/namespaces/delete"),
}
BACKFILLS = [("graph", "0002_bytes", Link), ("conversations", "0007_bytes", Conversation)]
WRITERS = {route for route, policy in policies.items() if policy.writes and NEEDS[route] != "operator"}


def store_data(api: Api) -> dict[str, str]:
    """Store a memory, a link and a conversation, and return their names for a `Case`."""
    id = api.store("1", key="seat")["id"]
    assert api.post("/graph/link", SOME["link"]).status_code == 200
    body = {"label": "x", "messages": [{"role": "user", "content": "The boiler was repaired. It is warm now."}]}
    conversation = api.post(f"{V1}/conversations", body).json()["id"]
    [message] = api.get(f"{V1}/conversations/{conversation}/messages").json()["items"]
    return {
        "conversation": conversation,
        "message": message["id"],
        "coord": "1",
        "deleted": "2",
        "id": id,
        "key": "seat",
        "proposal": propose(api.tenant, 1, is_certain=False),
        "accepted": propose(api.tenant, 2, is_certain=True),
    }


def propose(tenant: Tenant, number: int, *, is_certain: bool) -> str:
    """Record that one fact supersedes another, and return the id of the proposal."""
    tenant.refresh_from_db()  # with its quotas
    writer = Caller(tenant, "command", frozenset(SCOPES)).writing_reserved()
    fact = {"text": "Ada lives in Bern.", "turn": 1, "entities": []}
    facts = [NewMemory(coordinates.of((number, 1, at)), fact, namespace=FACTS) for at in (1, 2)]
    older, newer = [stored.memory for stored in services.store_many(writer, facts)]
    with transaction.atomic():
        proposals.record(writer, newer, older, "she moved", 1.0, is_certain)
    return str(Proposal.objects.for_tenant(tenant).get(newer_id=newer.id).id)


def test_every_route_that_writes_either_grows_or_keeps_what_is_stored() -> None:
    assert set(GROWING) | STEADY | DELETING == WRITERS
    assert not set(GROWING) & STEADY


@pytest.mark.parametrize("route", sorted(GROWING), ids=str)
def test_every_route_that_stores_more_is_refused_at_the_quota_of_bytes(
    api: Api, operator: Api, limit: Any, route: Route
) -> None:
    case = GROWING[route].filled(store_data(api))
    assert api.request("PUT", f"{V1}/conversations/by-external-id/chat-1", {"label": "x"}).status_code == 201
    before = usage.counted(api.tenant)
    limit(bytes=before[1])

    response = api.request(route[0], V1 + case.path, case.body)

    if route[1] == "/import":
        assert response.status_code == 207
        assert "quota" in response.json()["errors"][0]["reason"]
    else:
        problem_of(response, 403, "quota_exceeded")
    assert usage.counted(api.tenant) == before
    assert is_exact(api.tenant)


@pytest.mark.parametrize("route", sorted(STEADY), ids=str)
def test_no_other_route_stores_more(api: Api, operator: Api, limit: Any, route: Route) -> None:
    names = store_data(api)
    before = usage.counted(api.tenant)
    limit(bytes=before[1])

    for case in CASES[route]:
        filled = case.filled(names)
        api.request(route[0], V1 + filled.path, filled.body)

    assert usage.counted(api.tenant) <= before
    assert is_exact(api.tenant)


@pytest.mark.parametrize("route", sorted(DELETING), ids=str)
def test_a_deletion_adds_at_most_the_version_before_it(api: Api, operator: Api, limit: Any, route: Route) -> None:
    names = store_data(api)
    memories, bytes = usage.counted(api.tenant)
    limit(bytes=bytes)

    for case in CASES[route]:
        filled = case.filled(names)
        api.request(route[0], V1 + filled.path, filled.body)

    assert usage.counted(api.tenant) <= (memories, bytes + len('[{"text":"a memory"},{}]'))
    assert is_exact(api.tenant)


@pytest.mark.parametrize(("app", "name", "model"), BACKFILLS, ids=str)
def test_an_upgrade_measures_what_is_stored_already(
    api: Api, monkeypatch: pytest.MonkeyPatch, app: str, name: str, model: Any
) -> None:
    monkeypatch.setattr(column_backfill, "BATCH", 2)
    for number in range(5):
        metadata = {"metadata": {"more": "é" * number}}
        api.post("/graph/link", {"from_coord": str(number), "to_coord": "2", **metadata})
        api.post(f"{V1}/conversations", {"label": "é", "folder": "/x", **metadata})
    rows = model.objects.for_tenant(api.tenant)
    rows.update(bytes=0)

    _, fill, *_ = import_module(f"{app}.migrations.{name}").Migration.operations
    fill.code(None, connection.schema_editor())

    # The database writes JSON with spaces, and may escape characters.
    assert all(row.size() <= row.bytes <= 2 * row.size() for row in rows)


def test_a_response_kept_for_an_idempotency_key_counts_until_it_is_removed(api: Api, limit: Any) -> None:
    limit(bytes=100_000)
    api.post("/memories", {"coord": "1", "payload": {"text": "x"}}, idempotency_key="k")
    api.delete("/memories/1?purge=true")
    [kept] = IdempotencyKey.objects.for_tenant(api.tenant)

    assert usage.stored(api.tenant)[1] == len(kept.answer) > 0
    assert is_exact(api.tenant)

    IdempotencyKey.objects.for_tenant(api.tenant).update(created_at=timezone.now() - timedelta(hours=49))
    assert idempotency.sweep() == 1
    assert usage.stored(api.tenant) == (0, 0)


def test_the_recorded_usage_of_links_and_conversations_is_exact(api: Api, limit: Any) -> None:
    limit(bytes=1_000_000)
    names = store_data(api)
    path = f"{V1}/conversations/{names['conversation']}"
    link = {"from_coord": "1", "to_coord": "3"}
    for size in (10, 100, 20):
        api.post("/graph/link", {**link, "metadata": {"more": "é" * size}})
        api.post("/graph/links/bulk", {"links": [{**link, "metadata": {"m": size}}] * 2})
        api.patch(path, {"label": "é" * size, "metadata": {"more": "x" * size}})
    conversations = [{"id": name, "messages": SOME["message"]} for name in ("a", "b")]
    assert api.post(f"{V1}/import", conversations).json()["conversations"] == {"created": 2}
    assert is_exact(api.tenant)

    api.delete("/graph/link?from_coord=1&to_coord=3")
    for row in api.get(f"{V1}/conversations").json()["results"]:
        api.delete(f"{V1}/conversations/{row['id']}?purge=true")
    api.delete("/memories/1?purge=true")

    assert is_exact(api.tenant)
    assert usage.stored(api.tenant) == (0, 0)


def test_a_purge_makes_room_and_a_soft_delete_does_not(api: Api, limit: Any) -> None:
    limit(memories=1)
    api.store("1")
    api.delete("/memories/1")
    problem_of(api.post("/memories", {"coord": "2", "payload": {}}), 403, "quota_exceeded")

    api.delete("/memories/1?purge=true")

    api.store("2")


def test_the_recorded_usage_equals_the_stored_usage_after_any_change(api: Api, limit: Any) -> None:
    limit(memories=100, bytes=10_000)
    api.store("1", "one")
    api.store("1", "another")
    api.post("/memories/bulk", {"items": [{"coord": [n // 2], "payload": {"n": "x" * n}} for n in range(9)]})
    api.patch("/memories/1", {"payload": {"text": "patched"}, "context": "c"})
    api.delete("/memories/2")
    api.post("/memories/2/restore")
    api.delete("/memories/3?purge=true")
    api.post("/memories", {"coord": "1", "payload": {}}, if_match='"1"')  # refused
    assert is_exact(api.tenant)

    Memory.objects.for_tenant(api.tenant).update(deleted_at=timezone.now() - timedelta(days=99))
    retention.purge()

    assert is_exact(api.tenant)
    assert usage.stored(api.tenant) == (0, 0)


def test_without_a_quota_nothing_is_noted(api: Api) -> None:
    api.store("1")

    assert not UsageStripe.objects.for_tenant(api.tenant).exists()


def test_a_quota_counts_memories_stored_before_it_was_set(api: Api, operator: Api, limit: Any) -> None:
    for n in range(3):
        api.store(str(n))

    limit(memories=3)

    problem_of(api.post("/memories", {"coord": "9", "payload": {}}), 403, "quota_exceeded")
    assert reported_usage(operator)["memories"] == 3


def test_the_next_recount_corrects_a_wrong_usage(api: Api, limit: Any) -> None:
    limit(memories=10)
    Memory.all_tenants.bulk_create([Memory(tenant=api.tenant, namespace="n", coordinate_key="0" * 16, payload={})])
    UsageStripe.objects.for_tenant(api.tenant).update(counted_at=timezone.now() - timedelta(hours=2))
    assert not is_exact(api.tenant)

    maintenance.maintain()

    assert is_exact(api.tenant)


def test_concurrent_recounts_correct_once(transactional_db: None) -> None:
    tenant = Tenant.objects.create(slug="acme", quota_memories=20)
    Memory.all_tenants.bulk_create([Memory(tenant=tenant, namespace="n", coordinate_key="0" * 16, payload={})])

    def count() -> None:
        usage.recount(tenant)
        connection.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert usage.stored(tenant) == (1, 0)


def test_writers_side_by_side_exceed_a_quota_by_no_more_than_there_are_of_them(transactional_db: None) -> None:
    tenant = Tenant.objects.create(slug="acme", quota_memories=20)
    writers = 4

    def write(number: int) -> None:
        for at in range(10):
            try:
                services.store(Caller.command(tenant), NewMemory(parse(f"{number},{at}"), {}))
            except QuotaExceeded:
                break
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    overshoot = Memory.objects.for_tenant(tenant).count() - 20
    assert 0 <= overshoot <= (writers - 1 if connection.vendor == "postgresql" else 0)
    assert is_exact(tenant)


def test_concurrent_removals_subtract_each_row_once(transactional_db: None, settings: Any) -> None:
    settings.HISTORY_DAYS = 0
    tenant = Tenant.objects.create(slug="acme", quota_bytes=1_000_000)
    caller = Caller.command(tenant)
    items = [NewMemory(coordinates.of([number]), {"text": "x" * 100}) for number in range(100)]
    for _ in range(3):
        services.store_many(caller, items)
    old = timezone.now() - timedelta(hours=49)
    IdempotencyKey.all_tenants.bulk_create(
        IdempotencyKey(
            tenant=tenant, key_id=tenant.id, key=str(at), fingerprint=b"x", answer=b"x" * 100, created_at=old
        )
        for at in range(2_000)
    )
    usage.recount(tenant)
    start = threading.Barrier(4, timeout=60)

    def remove(number: int) -> None:
        try:
            connection.ensure_connection()
            start.wait()
            if number % 2:
                retention.tidy()
            else:
                services.delete_many(caller, "default", [item.place for item in items], purge=True)
                idempotency.sweep()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(remove, range(4)))

    assert usage.stored(tenant) == usage.counted(tenant) == (0, 0)


# --- Keys --------------------------------------------------------------------------------------------------------


def test_a_quota_of_keys_counts_those_that_work(api: Api, operator: Api, limit: Any) -> None:
    limit(keys=2)
    prefix = operator.post(f"{V1}/tenants/acme/keys", {}).json()["prefix"]

    problem_of(operator.post(f"{V1}/tenants/acme/keys", {}), 403, "quota_exceeded")
    assert operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate", {"overlap_hours": 0}).status_code == 201
    assert reported_usage(operator)["keys"] == 2
    operator.delete(f"{V1}/tenants/acme/keys/{prefix}")


def test_a_rotation_exceeds_the_quota_of_keys_by_one_that_runs_out_and_no_more(
    api: Api, operator: Api, limit: Any
) -> None:
    limit(keys=2)
    prefix = operator.post(f"{V1}/tenants/acme/keys", {}).json()["prefix"]
    successor = operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate").json()["prefix"]

    problem_of(operator.post(f"{V1}/tenants/acme/keys/{successor}/rotate"), 403, "quota_exceeded")
    assert reported_usage(operator)["keys"] == 3
    assert operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate", {"overlap_hours": 0}).status_code == 201


# --- Requests ----------------------------------------------------------------------------------------------------


def test_requests_beyond_the_days_quota_wait_for_tomorrow(api: Api, limit: Any) -> None:
    limit(requests_per_day=3)
    assert [api.get("/memories").status_code for _ in range(4)] == [200, 200, 200, 429]

    response = api.get("/memories")

    problem_of(response, 429, "quota_exceeded")
    assert 0 < int(response["Retry-After"]) <= 24 * 3600


def test_a_request_over_the_rate_limit_does_not_use_up_the_days_quota(api: Api, settings: Any) -> None:
    settings.KEY_RATE, settings.KEY_BURST, settings.REDIS_URL = 0.001, 1, ""
    before = usage.requests_today(api.tenant)

    assert [api.get("/memories").status_code for _ in range(3)] == [200, 429, 429]
    assert usage.requests_today(api.tenant) - before == 1


def test_requests_counted_by_other_processes_count(api: Api, limit: Any) -> None:
    limit(requests_per_day=10)
    DailyUsage.all_tenants.create(tenant=api.tenant, day=timezone.now().date(), requests=9)
    usage.forget()

    assert [api.get("/memories").status_code for _ in range(2)] == [200, 429]


def test_requests_are_recorded_once(api: Api, operator: Api) -> None:
    for _ in range(3):
        api.get("/memories")
    usage.flush()
    usage.flush()
    api.get("/memories")
    usage.flush()

    assert DailyUsage.objects.for_tenant(api.tenant).get().requests == 4
    assert reported_usage(operator)["requests_per_day"] == 4


def test_counts_that_cannot_be_written_are_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.get("/memories")
    with monkeypatch.context() as broken:
        broken.setattr(usage, "_write", _fail)
        with pytest.raises(DatabaseError):
            usage.flush()

    usage.flush()

    assert DailyUsage.objects.for_tenant(api.tenant).get().requests == 1


def _fail(*args: object) -> None:
    raise DatabaseError


_FORKED = """
import os, django
django.setup()
from tenants import usage
usage._stripe()
for _ in range(12):
    if not os.fork():
        print(usage._stripe(), flush=True)
        os._exit(0)
    os.wait()
"""


def test_processes_that_were_forked_from_one_do_not_all_add_to_one_row() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "somamemory.settings"}
    output = subprocess.run(
        [sys.executable, "-c", _FORKED], env=environment, check=True, capture_output=True, text=True, timeout=180
    )

    assert len(set(output.stdout.split())) > 1

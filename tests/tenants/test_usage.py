"""Quotas of storage and requests, enforced without a row that all writers wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from memories import retention, services, storage_usage
from memories.coordinates import parse
from memories.models import Memory
from memories.new_memory import NewMemory
from somamemory.errors import QuotaExceeded
from tenants import keys, maintenance, usage
from tenants.caller import Caller
from tenants.models import DailyUsage, Tenant, UsageStripe
from tests.conftest import Api, problem_of

V1 = "/api/v1"


@pytest.fixture
def limit(api: Api, operator: Api) -> Iterator[Callable[..., None]]:
    """Set quotas of acme."""

    def change(**quotas: int | None) -> None:
        response = operator.patch(f"{V1}/tenants/acme", {"quotas": quotas})
        assert response.status_code == 200, response.content

    yield change
    keys.forget_cached()


def shown(operator: Api) -> dict[str, int]:
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
    limit(bytes=100)
    api.store("1", "x" * 20, metadata={"m": "y" * 10}, context="z" * 10)

    assert shown(operator)["bytes"] == len('[{"text":""},{"m":""}]') + 40
    problem_of(api.post("/memories", {"coord": "2", "payload": {"text": "x" * 40}}), 403, "quota_exceeded")
    problem_of(api.patch("/memories/1", {"payload": {"more": "x" * 60}}), 403, "quota_exceeded")
    assert api.patch("/memories/1", {"payload": {"text": "shorter"}}).status_code == 200


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
    assert shown(operator)["memories"] == 3


def test_the_next_recount_corrects_a_wrong_usage(api: Api, limit: Any) -> None:
    limit(memories=10)
    Memory.all_tenants.bulk_create([Memory(tenant=api.tenant, namespace="n", coordinate_key="0" * 16, payload={})])
    UsageStripe.objects.for_tenant(api.tenant).update(counted_at=timezone.now() - timedelta(hours=2))
    assert not is_exact(api.tenant)

    maintenance.maintain()

    assert is_exact(api.tenant)


def test_two_who_count_at_once_correct_once(transactional_db: None) -> None:
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


# --- Keys --------------------------------------------------------------------------------------------------------


def test_a_quota_of_keys_counts_those_that_work(api: Api, operator: Api, limit: Any) -> None:
    limit(keys=2)
    prefix = operator.post(f"{V1}/tenants/acme/keys", {}).json()["prefix"]

    problem_of(operator.post(f"{V1}/tenants/acme/keys", {}), 403, "quota_exceeded")
    assert operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate", {"overlap_hours": 0}).status_code == 201
    assert shown(operator)["keys"] == 2
    operator.delete(f"{V1}/tenants/acme/keys/{prefix}")


def test_a_rotation_exceeds_the_quota_of_keys_by_one_that_runs_out_and_no_more(
    api: Api, operator: Api, limit: Any
) -> None:
    limit(keys=2)
    prefix = operator.post(f"{V1}/tenants/acme/keys", {}).json()["prefix"]
    successor = operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate").json()["prefix"]

    problem_of(operator.post(f"{V1}/tenants/acme/keys/{successor}/rotate"), 403, "quota_exceeded")
    assert shown(operator)["keys"] == 3
    assert operator.post(f"{V1}/tenants/acme/keys/{prefix}/rotate", {"overlap_hours": 0}).status_code == 201


# --- Requests ----------------------------------------------------------------------------------------------------


def test_requests_beyond_the_days_quota_wait_for_tomorrow(api: Api, limit: Any) -> None:
    limit(requests_per_day=3)
    assert [api.get("/memories").status_code for _ in range(4)] == [200, 200, 200, 429]

    response = api.get("/memories")

    problem_of(response, 429, "quota_exceeded")
    assert 0 < int(response["Retry-After"]) <= 24 * 3600


def test_requests_counted_by_other_processes_count(api: Api, limit: Any) -> None:
    limit(requests_per_day=10)
    DailyUsage.all_tenants.create(tenant=api.tenant, day=timezone.now().date(), requests=9)
    usage.forget()

    assert [api.get("/memories").status_code for _ in range(2)] == [200, 429]


def test_requests_are_written_down_once(api: Api, operator: Api) -> None:
    for _ in range(3):
        api.get("/memories")
    usage.flush()
    usage.flush()
    api.get("/memories")
    usage.flush()

    assert DailyUsage.objects.for_tenant(api.tenant).get().requests == 4
    assert shown(operator)["requests_per_day"] == 4


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

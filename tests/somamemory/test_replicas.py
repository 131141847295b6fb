"""Read replicas: a second database with older data acts as the replica, so responses reveal which database was read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.db import close_old_connections, connection, connections, transaction
from django.utils import timezone

from memories import coordinates, selectors
from memories.models import Memory
from somamemory import caching
from somamemory.db import replicas
from somamemory.times import rfc3339
from tenants.caller import Caller
from tests.conftest import Api, issue_key

REPLICA, SECOND = ALIASES = ("replica1", "replica2")  # two connections to one database
pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True, databases=["default", *ALIASES])]


@pytest.fixture(scope="module", autouse=True)
def copy(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A database with the same tables."""
    name = f"{connection.settings_dict['NAME']}_replica"
    with django_db_blocker.unblock():
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
            cursor.execute(f'CREATE DATABASE "{name}"')
        for alias in ALIASES:
            connections.settings[alias] = {**connection.settings_dict, "NAME": name}
        call_command("migrate", database=REPLICA, verbosity=0)
    yield
    with django_db_blocker.unblock():
        for alias in ALIASES:
            connections[alias].close()
            del connections[alias], connections.settings[alias]
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}"')


@pytest.fixture(autouse=True)
def always_a_replica(copy: None, settings: Any) -> Iterator[None]:
    settings.REPLICAS = [REPLICA]
    settings.READ_WEIGHT = 1.0
    settings.DATABASE_ROUTERS = ["somamemory.db.replicas.Router"]
    replicas.forget()
    yield
    replicas.forget()


@pytest.fixture
def behind(api: Api) -> Api:
    """A caller that has not written for a while. It stored "new", but the replica still contains "old"."""
    api.store("1", "new")
    for memory in Memory.all_tenants.using("default"):
        memory.payload, memory.terms = {"text": "old"}, memory.terms.replace("new", "old")
        memory.save(using=REPLICA, force_insert=True)
    settle()
    return api


def settle() -> None:
    """Forget recent writes and failed replicas."""
    replicas.forget()
    if caching.shared():
        caching.with_redis(lambda redis: redis.flushdb())


def seen(api: Api) -> str:
    response = api.get("/memories/1")
    assert response.status_code == 200, response.content
    text: str = response.json()["memory"]["payload"]["text"]
    return text


READS: dict[str, Callable[[Api], Any]] = {
    "fetch": lambda api: api.get("/memories/1").json()["memory"]["payload"]["text"],
    "list": lambda api: api.get("/memories").json()["items"][0]["payload"]["text"],
    "several": lambda api: api.post("/memories/bulk/get", {"coords": ["1"]}).json()["items"][0]["memory"]["payload"][
        "text"
    ],
    "words": lambda api: next(text for text in ("new", "old") if api.search(text, mode="keyword")),
}


@pytest.mark.parametrize("read", READS)
def test_reads_go_to_the_replica(behind: Api, read: str) -> None:
    assert READS[read](behind) == "old"


@pytest.mark.parametrize("read", READS)
def test_a_caller_that_has_just_written_reads_from_the_primary(behind: Api, read: str) -> None:
    behind.store("2")

    assert READS[read](behind) == "new"


def test_counts_are_read_from_the_replica(behind: Api) -> None:
    Memory.all_tenants.using(REPLICA).delete()

    assert behind.get("/stats").json()["total_memories"] == 0


def test_another_caller_of_the_tenant_still_reads_from_the_replica(behind: Api) -> None:
    other = Api(issue_key(behind.tenant), behind.tenant)
    settle()
    behind.store("2")

    assert (seen(behind), seen(other)) == ("new", "old")


def test_a_rolled_back_write_does_not_count_as_a_write(behind: Api) -> None:
    assert behind.post("/memories", {"coord": "1", "payload": {}}, if_match='"99"').status_code == 412

    assert seen(behind) == "old"


@pytest.mark.parametrize(("drawn", "expected"), [(0.0, "old"), (0.79, "old"), (0.8, "new"), (0.99, "new")])
def test_the_weight_is_the_share_of_the_replicas(behind: Api, settings, monkeypatch, drawn, expected) -> None:
    settings.READ_WEIGHT = 0.8
    monkeypatch.setattr(random, "random", lambda: drawn)

    assert seen(behind) == expected


def test_a_strong_search_reads_from_the_primary(behind: Api) -> None:
    assert [hit["payload"]["text"] for hit in behind.search("new", consistency="strong")] == ["new"]
    assert behind.search("old", consistency="strong", mode="keyword") == []


def test_a_strong_search_of_the_past_reads_from_the_primary(behind: Api) -> None:
    found = behind.search("new", consistency="strong", mode="keyword", as_of=rfc3339(timezone.now()))

    assert [hit["payload"]["text"] for hit in found] == ["new"]


def test_a_transaction_and_a_command_read_from_the_primary(behind: Api, caller: Caller) -> None:
    def text(who: Caller) -> Any:
        return selectors.get_memory(who, "default", coordinates.of([1])).payload["text"]

    assert text(caller) == "old"
    assert text(Caller.command(behind.tenant)) == "new"
    with transaction.atomic():
        assert text(caller) == "new"


def test_the_precondition_of_a_write_is_read_from_the_primary(behind: Api) -> None:
    Memory.all_tenants.using(REPLICA).delete()

    assert behind.patch("/memories/1", {"importance": 3}, if_match='"1"').status_code == 200


class Attempts:
    """Counts the attempts to connect to the replica while it is down."""

    count = 0


@pytest.fixture
def down(behind: Api, monkeypatch) -> Attempts:
    """Make the replica unreachable."""
    replica, attempts = connections[REPLICA], Attempts()
    connect = replica.get_new_connection

    def trying(parameters: Any) -> Any:
        attempts.count += 1
        return connect(parameters)

    replica.close()
    monkeypatch.setitem(replica.settings_dict, "PORT", "1")
    monkeypatch.setattr(replica, "get_new_connection", trying)
    return attempts


def test_a_failed_replica_causes_no_errors_and_is_skipped(behind: Api, down: Attempts) -> None:
    assert [seen(behind) for _ in range(5)] == ["new"] * 5
    assert behind.search("new")
    assert down.count == 1


def test_a_replica_that_is_back_is_found_again(behind: Api, down: Attempts, monkeypatch) -> None:
    now = time.monotonic()
    assert seen(behind) == "new"
    monkeypatch.setitem(connections[REPLICA].settings_dict, "PORT", connection.settings_dict["PORT"])
    assert seen(behind) == "new"
    monkeypatch.setattr(time, "monotonic", lambda: now + replicas.PAUSE_S + 1)

    assert seen(behind) == "old"
    assert [seen(behind) for _ in range(3)] == ["old"] * 3


def test_the_other_replicas_are_used_while_one_is_down(behind: Api, settings, monkeypatch) -> None:
    settings.REPLICAS = [REPLICA, SECOND]
    connections[SECOND].close()
    monkeypatch.setitem(connections[SECOND].settings_dict, "PORT", "1")
    texts = [seen(behind) for _ in range(20)]

    assert texts.count("old") >= 19


def test_a_connection_to_the_replica_that_breaks_is_not_noticed(behind: Api) -> None:
    assert seen(behind) == "old"
    with connections[REPLICA].copy().cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cursor.connection.close()

    assert seen(behind) == "new"
    settle()
    close_old_connections()
    assert seen(behind) == "old"


def test_a_replica_that_is_behind_a_migration_is_not_noticed(behind: Api) -> None:
    with connections[REPLICA].cursor() as cursor:
        cursor.execute("ALTER TABLE sfm_memories RENAME COLUMN importance TO weight")
    try:
        assert seen(behind) == "new"
    finally:
        with connections[REPLICA].cursor() as cursor:
            cursor.execute("ALTER TABLE sfm_memories RENAME COLUMN weight TO importance")


if configured.REDIS_URL:

    def test_other_processes_see_who_has_just_written(behind: Api) -> None:
        behind.store("2")
        replicas.forget()  # another process does not know about it

        assert seen(behind) == "new"

    def test_without_redis_all_callers_read_from_the_primary(behind: Api, monkeypatch) -> None:
        monkeypatch.setattr(caching, "with_redis", lambda ask: None)

        assert seen(behind) == "new"

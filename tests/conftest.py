"""Fixtures for all tests.

`api` is a client for the tenant acme, `stranger` for another tenant, and `operator` for an operator. `superuser` is a
console client that is signed in as a superuser, and `staff` one that is signed in as a staff user for acme only. The
database, the vector index and the embedder are real.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from cachetools import TTLCache
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management.commands import flush
from django.core.signals import setting_changed
from django.db import connection
from django.http import HttpResponse
from django.test.client import Client, ClientHandler
from django.urls import reverse

from memories import index
from memories.index import backpressure, generations
from memories.index import drain as sync
from memories.index.pgvector.index import PgvectorIndex
from memories.models import EmbeddingGeneration
from memories.search import known_ids, statistics
from operations import health
from somamemory import caching
from somamemory.db import replicas, tenant_scope
from somamemory.settings import caches_in
from somamemory.telemetry import metrics
from tenants import key_usage, keys, row_level_security, usage
from tenants.caller import SCOPES, Caller
from tenants.limits import policy
from tenants.models import Tenant
from testing import template
from testing.browser import BROWSER
from tests.support.staff import sign_in_staff
from tests.support.unguarded import flushing

POSTGRESQL = settings.DATABASE_URL.startswith("postgres")
GENERATION = uuid.UUID(int=1)
COLLECTION, DIMENSION = "memories_test", 256
# No deadline and no time limit for examples: a property must not fail because the machine is busy.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")
# A test is `pure` if its fixtures open no database and it starts no server.
DATABASE_FIXTURES = {"db", "transactional_db", "live_server"}


# Collect garbage after this many new objects. With Python's default of 700, this took 5% of the tests' CPU time.
GARBAGE = 10_000
gc.disable()  # until the tests are collected: there is no garbage yet, and searching for it takes 2 s of CPU time


def pytest_collection_finish() -> None:
    """Exclude modules, models and tests from collection: 3,000,000 objects that exist until the process ends."""
    gc.freeze()
    gc.set_threshold(GARBAGE)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    uses_database = DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    if not uses_database and not item.get_closest_marker("django_db") and not item.get_closest_marker("server"):
        item.add_marker("pure")


def _has_what_it_needs(item: pytest.Item) -> bool:
    """Return whether the test is meaningful in this run.

    Other tests, such as Redis tests in a run without Redis, do not count as skipped. A test without a database, or with
    its own, has the same result on both engines, so it runs only on SQLite.
    """
    marks = {mark.name for mark in item.iter_markers()}
    if "pgvector" in marks and settings.VECTOR_INDEX != "pgvector":
        return False
    if POSTGRESQL:
        if "row_level_security" in marks and "SOMA_TEST_ROW_LEVEL_SECURITY" not in os.environ:
            return False
        return not marks & {"pure", "once"} or bool(marks & {"postgresql", "redis", "pgvector"})
    needs = {
        "postgresql": False,
        "row_level_security": False,
        "redis": bool(settings.REDIS_URL),
        "browser": bool(BROWSER),
    }
    return all(needs.get(name, True) for name in marks)


@pytest.hookimpl(trylast=True)  # after the order has been randomised
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that are not meaningful in this run, and start with those that take minutes.

    Each process takes a part of the list in order. Each starts with some of the long tests; otherwise, one process
    would finish long after the others.
    """
    wanted = [item for item in items if _has_what_it_needs(item)]
    processes: int = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in wanted if item.get_closest_marker("long")]
    files = sorted({item.path for item in long})
    parts = [[item for item in long if item.path in files[number::processes]] for number in range(processes)]
    rest = (item for item in wanted if not item.get_closest_marker("long"))
    for number, part in enumerate(parts):
        share = len(wanted) // processes + (number >= processes - len(wanted) % processes)
        part.extend(itertools.islice(rest, max(0, share - len(part))))
    kept = set(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [*itertools.chain(*parts), *rest]


@dataclass
class Api:
    """A client with a key: `api.post("/memories", {...})`. Keyword arguments are headers: `if_match='"1"'`."""

    key: str
    tenant: Tenant
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self.key}", **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        client = Client(raise_request_exception=False)
        kind = sent.pop("content-type", "application/json")
        return client.generic(method, path, content, content_type=kind, headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self.request("GET", path, None, None, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("POST", path, body, None, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("PUT", path, body, None, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("PATCH", path, body, None, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.request("DELETE", path, None, None, **headers)

    def store(self, coord: str, text: str = "a memory", **fields: Any) -> Any:
        """Store a memory and expect success."""
        response = self.post("/memories", {"coord": coord, "payload": {"text": text}, **fields})
        assert response.status_code in (200, 201), response.content
        return response.json()

    def search(self, query: str, **fields: Any) -> list[dict[str, Any]]:
        response = self.post("/memories/search", {"query": query, **fields})
        assert response.status_code == 200, response.content
        found: list[dict[str, Any]] = response.json()["memories"]
        return found


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Start with a copy of the migrated database, if there is one."""
    if template.NAME:
        settings.AUDIT_KEY = template.AUDIT_KEY
    if POSTGRESQL:
        connection.settings_dict["TEST"]["TEMPLATE"] = template.of_postgresql(settings.DATABASE_URL) or None
    else:
        template.copy_sqlite(Path(connection.settings_dict["TEST"]["NAME"]))


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    return django_db_keepdb or template.of_sqlite() is not None


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End other sessions before the test database is dropped: a killed server's session may outlive it briefly."""
    import_module(settings.ROOT_URLCONF)  # or the first request, which has a deadline, would load every route
    if settings.VECTOR_INDEX == "pgvector":  # otherwise, a test's transaction would roll back the table
        with django_db_blocker.unblock():
            PgvectorIndex(COLLECTION, DIMENSION).ping()
    yield
    if POSTGRESQL:
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session", autouse=True)
def _index_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test process has its own vector index."""
    settings.KEY_RATE = settings.TENANT_RATE = settings.AUTH_FAILURE_RATE = 0  # the limit tests set their own
    settings.VECTOR_FOLDER = tmp_path_factory.mktemp("index") / "vectors"
    settings.COLD_STORAGE = "the test's own folder"
    if settings.REDIS_URL:  # each test process empties its own
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
        settings.REDIS_URL = f"{settings.REDIS_URL.rpartition('/')[0]}/{number}"
        settings.CACHES.update(patient_caches_in(settings.REDIS_URL))
        # Connections opened during collection use the shared folder.
        setting_changed.send(sender=None, setting="CACHES", value=settings.CACHES, enter=True)
    yield
    index.close_all()


def patient_caches_in(redis_url: str) -> dict[str, dict[str, Any]]:
    """Redis caches with longer timeouts, so that a stalled machine does not count as an outage."""
    return caches_in(redis_url, 30, 30)


@pytest.fixture(scope="session", autouse=True)
def _middleware_is_loaded_once() -> Iterator[None]:
    """Load the middleware again only when a setting has changed.

    Each request uses a new test client, and each client would load the middleware. This would take half of the tests'
    time, because WhiteNoise reads every static file.
    """
    load, loaded = ClientHandler.load_middleware, dict[tuple[str, ...], Any]()

    def load_once(handler: Any, is_async: bool = False) -> None:
        names = tuple(settings.MIDDLEWARE)
        if names not in loaded:
            load(handler, is_async)
            loaded[names] = handler._middleware_chain
        handler._middleware_chain = loaded[names]

    def forget(**signal: object) -> None:
        loaded.clear()

    setting_changed.connect(forget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientHandler, "load_middleware", load_once)
        yield
    setting_changed.disconnect(forget)


@pytest.fixture(scope="session", autouse=True)
def _no_memory_ends_within_a_test() -> Iterator[None]:
    """The number of statements in a request must not depend on the time since the previous request."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (keys, "_keys"),
            (keys, "_tenants"),
            (generations, "_cache"),
            (backpressure, "_full"),
            (statistics, "_sizes"),
            (replicas, "_wrote"),
        ):
            patch.setattr(module, name, TTLCache(maxsize=getattr(module, name).maxsize, ttl=math.inf))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_process() -> Iterator[None]:
    """Each test process gets the full limits, although a server on this database would start several processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "WORKERS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_can_be_emptied() -> Iterator[None]:
    """Allow the audit log to be emptied between two tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush.Command, "handle", flushing(flush.Command.handle))
        yield


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Clear the data that a process has cached from the database after each test."""
    keys.forget_cached()
    policy.forget()
    usage.forget()
    key_usage.forget()
    metrics.forget_cached()
    generations.forget_cached()
    known_ids.forget_cached()
    backpressure.forget_cached()
    statistics.forget_cached()
    health.forget_cached()
    caching._breaker = caching.redis_breaker()
    cache.clear()


@pytest.fixture
def outside_transactions(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database as other processes see it, for tests that do not use the models' tables."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def walled(db: None, settings: Any) -> Iterator[None]:
    """Enable row-level security until the test's transaction is rolled back."""
    row_level_security.install()
    settings.ROW_LEVEL_SECURITY = True
    yield
    tenant_scope.cross()


@pytest.fixture
def generation(db: None) -> EmbeddingGeneration:
    """One collection for all tests. Each test is isolated by having its own tenants."""
    found, _ = EmbeddingGeneration.objects.get_or_create(
        id=GENERATION,
        defaults={
            "provider": "wordllama",
            "model": "l2_supercat",
            "dimension": DIMENSION,
            "collection": COLLECTION,
            "state": "active",
        },
    )
    return found


@pytest.fixture
def tenant(db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def caller(tenant: Tenant, generation: EmbeddingGeneration) -> Caller:
    return Caller(tenant=tenant, actor="key:test", scopes=frozenset(SCOPES))


@pytest.fixture
def api(tenant: Tenant, generation: EmbeddingGeneration) -> Api:
    return Api(issue_key(tenant), tenant)


@pytest.fixture
def stranger(generation: EmbeddingGeneration) -> Api:
    tenant = Tenant.objects.create(slug="stranger")
    return Api(issue_key(tenant), tenant)


@pytest.fixture
def operator(generation: EmbeddingGeneration) -> Api:
    tenant, _ = Tenant.objects.get_or_create(slug="default")
    return Api(issue_key(None), tenant)


@pytest.fixture
def superuser(generation: EmbeddingGeneration) -> Client:
    """A superuser, signed in."""
    Tenant.objects.get_or_create(slug="default")
    client = Client()
    client.force_login(User.objects.create_superuser("superuser"))
    return client


@pytest.fixture
def staff(superuser: Client, tenant: Tenant) -> Client:
    """A staff user with all permissions for acme only."""
    return sign_in_staff(tenant, all_but="", name="acme-staff")


def page(name: str, *args: Any, **query: str) -> str:
    return reverse(f"admin:{name}", args=args, query=query)


def page_content(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return response.content.decode()


def issue_key(tenant: Tenant | None, scopes: tuple[str, ...] = SCOPES, **more: Any) -> str:
    acting_tenant = tenant or Tenant.objects.get(slug="default")
    return keys.issue(Caller.command(acting_tenant), tenant, scopes=scopes, **more).secret


def drain() -> None:
    """Bring the index up to date, as the server's thread does."""
    while sync.drain():
        pass


def problem_of(
    response: HttpResponse, status: int, code: str | None = None, field: str | None = None
) -> dict[str, Any]:
    """Return the problem in a response. The problem must have this status, code and field."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    assert problem["status"] == status
    if code is not None:
        assert problem["code"] == code, problem
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
    return problem

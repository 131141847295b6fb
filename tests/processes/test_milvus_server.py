"""End-to-end searches on a real Milvus server, and outages of the server.

Runs if SOMA_TEST_MILVUS_URI is set. The outage tests run if `scripts/test-milvus.sh` has installed a server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from memories import index
from memories.index import generations, rebuild, reconcile
from memories.index.base import Point, Where
from memories.index.milvus.client import Connection
from memories.index.milvus.collection import Hnsw
from memories.index.milvus.index import MilvusIndex
from memories.index.reconcile import Report
from memories.models import EmbeddingGeneration
from somamemory.errors import ConfigurationError, IndexUnavailable
from testing import ROOT, milvus_server
from tests.conftest import Api, drain, issue_key, problem_of

SERVER = os.environ.get("SOMA_TEST_MILVUS_URI", "")
pytestmark = [pytest.mark.server, pytest.mark.skipif(not SERVER, reason="needs SOMA_TEST_MILVUS_URI; make test-milvus")]
TENANT = ANNA = uuid.UUID(int=1)
BERT = uuid.UUID(int=2)


@pytest.fixture
def on_server(monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[EmbeddingGeneration]:
    """The service with the Milvus server and its own generation."""
    index.close_all()
    monkeypatch.setattr(settings, "VECTOR_INDEX", "milvus")
    monkeypatch.setattr(settings, "MILVUS_URI", SERVER)
    monkeypatch.setattr(settings, "MILVUS_PREFIX", f"test_{uuid.uuid4().hex[:8]}")
    EmbeddingGeneration.objects.all().delete()
    generations.forget_cached()
    yield generations.active()
    for row in EmbeddingGeneration.objects.all():
        index.drop(row)
    index.close_all()


@pytest.fixture
def acme(on_server: EmbeddingGeneration, tenant: Any) -> Api:
    return Api(issue_key(tenant), tenant)


def soon(found: Any, wanted: Any, timeout_s: float = 120) -> None:
    """Wait for an upsert, because searches use bounded staleness."""
    until = time.monotonic() + timeout_s
    while (now := found()) != wanted and time.monotonic() < until:
        time.sleep(0.2)
    assert now == wanted


def test_a_memory_is_found_by_meaning_on_a_server_with_every_filter(acme: Api) -> None:
    acme.store("1", "Ada drinks coffee in the morning", metadata={"who": "ada"})
    acme.store("2", "Bob drinks tea in the evening", metadata={"who": "bob"})
    acme.store("3", "Ada drinks coffee", namespace="other")
    drain()
    query = {"mode": "semantic", "top_k": 1}
    soon(lambda: [hit["coord"] for hit in acme.search("coffee", **query)], ["1.0"])
    found = acme.search("coffee", mode="semantic", filters={"metadata.who": "bob"})
    assert [result["coord"] for result in found] == ["2.0"]


def test_the_index_on_a_server_equals_the_database_after_changes_and_deletions(acme: Api) -> None:
    for number in range(20):
        acme.store(str(number), f"castle {number}")
    drain()
    for number in range(5):
        acme.store(str(number), f"bridge {number}")
        acme.delete(f"/memories/{number + 10}")
    drain()
    report = Report()
    reconcile.of_tenant(generations.active(), acme.tenant.id, report, repair=False)
    assert (report.checked, report.different) == (20, False)


def test_a_server_has_an_alias_for_the_active_generation(acme: Api, on_server: EmbeddingGeneration) -> None:
    target: Any = index.of(on_server)
    for _ in range(2):
        target.publish(f"{settings.MILVUS_PREFIX}_active")
    client: Any = target._client.vendor
    named = client.describe_alias(f"{settings.MILVUS_PREFIX}_active")
    assert named["collection_name"] == on_server.collection
    client.drop_alias(f"{settings.MILVUS_PREFIX}_active")


def test_a_refused_connection_to_a_server_is_noticed_within_the_retries_not_the_deadline() -> None:
    target = MilvusIndex(Connection(SERVER, timeout_s=60, search_timeout_s=60), f"test_{uuid.uuid4().hex}", 8)
    target.ping()  # creates the collection
    calls = []

    def refused(client: Any, timeout: dict[str, Any]) -> None:
        import grpc  # type: ignore[import-untyped]

        calls.append(timeout["timeout"])
        error = grpc.RpcError()
        error.code = lambda: grpc.StatusCode.UNAVAILABLE
        raise error

    with pytest.raises(IndexUnavailable):
        target._client.call("try", refused)
    assert len(calls) == 4
    target.drop()


@pytest.fixture
def strong() -> Iterator[MilvusIndex]:
    """This test's own index, whose searches include every finished write."""
    made = MilvusIndex(
        Connection(SERVER, timeout_s=60, search_timeout_s=60), f"test_{uuid.uuid4().hex}", 8, consistency="Strong"
    )
    yield made
    made.drop()


def points(count: int) -> list[Point]:
    vectors = np.random.default_rng(7).standard_normal((count, 8)).astype(np.float32)
    return [Point(uuid.uuid4(), 1, "default", "note", row) for row in vectors]


def test_a_scan_continues_over_many_pages(strong: MilvusIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memories.index.milvus.index.SCAN_PAGE_ROWS", 70)
    own = points(300)
    strong.upsert(ANNA, own)
    strong.upsert(BERT, points(10))
    assert sorted(strong.scan(ANNA)) == sorted((point.id, 1) for point in own)


def test_big_calls_to_a_server_are_split(strong: MilvusIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memories.index.milvus.index.ROWS_PER_CALL", 40)
    own = points(130)
    strong.upsert(ANNA, own)
    assert len(list(strong.scan(ANNA))) == 130
    strong.delete(ANNA, [point.id for point in own[:90]])
    assert sorted(strong.scan(ANNA)) == sorted((point.id, 1) for point in own[90:])


def test_a_collection_of_another_program_is_rejected(strong: MilvusIndex) -> None:
    strong.ping()
    foreign = f"test_{uuid.uuid4().hex}"
    client: Any = strong._client.vendor
    client.create_collection(foreign, dimension=8)
    with pytest.raises(ConfigurationError, match="not created by SomaMemory"):
        MilvusIndex(Connection(SERVER, timeout_s=60, search_timeout_s=60), foreign, 8).ping()
    client.drop_collection(foreign)


def test_a_released_collection_is_loaded_again(strong: MilvusIndex) -> None:
    (own,) = points(1)
    strong.upsert(ANNA, [own])
    client: Any = strong._client.vendor
    client.release_collection(strong._collection.name)
    assert [hit.id for hit in strong.search(ANNA, own.vector, Where(("default",)), 5)] == [own.id]
    client.release_collection(strong._collection.name)
    assert len(list(strong.scan(ANNA))) == 1


def test_the_settings_of_the_graph_reach_the_server() -> None:
    target = MilvusIndex(
        Connection(SERVER, timeout_s=60, search_timeout_s=60),
        f"test_{uuid.uuid4().hex}",
        8,
        hnsw=Hnsw(m=8, ef_construction=64),
    )
    target.ping()
    described = target._client.vendor.describe_index(target._collection.name, "vector", timeout=60)
    assert (int(described["M"]), int(described["efConstruction"])) == (8, 64)
    target.drop()


def test_a_forked_child_opens_its_own_connection() -> None:
    """Runs in a new process, because forking a process with running threads may hang for unrelated reasons."""
    code = (
        "import os, sys, django; django.setup()\n"
        "from memories.index.milvus.client import Connection\n"
        "from memories.index.milvus.index import MilvusIndex\n"
        "index = MilvusIndex(Connection(sys.argv[1], timeout_s=60, search_timeout_s=60), sys.argv[2], 8)\n"
        "index._client.vendor, index._client.vendor_of = object(), os.getpid()  # a parent's connection\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    index.ping(); os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    name = f"test_{uuid.uuid4().hex}"
    environment = {"DJANGO_SETTINGS_MODULE": "somamemory.settings", **os.environ}
    subprocess.run(
        [sys.executable, "-c", code, SERVER, name],
        check=True, env=environment, cwd=ROOT, timeout=180,
    )  # fmt: skip
    MilvusIndex(Connection(SERVER), name, 8).drop()


@pytest.mark.django_db(transaction=True)
def test_a_rebuild_on_a_server_switches_and_drops_the_old_collection(
    acme: Api, on_server: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operations import jobs
    from tenants.caller import Caller
    from tests.memories.index.test_rebuild import run

    monkeypatch.setattr(settings, "GENERATION_CACHE_S", -2)
    monkeypatch.setattr(rebuild, "GRACE_S", 2)
    for number in range(20):
        acme.store(str(number), f"castle {number}")
    drain()
    assert run(jobs.start_rebuild(Caller.command(acme.tenant), "hashing", dimension=64)).state == "done"
    new = generations.active()
    assert on_server.collection not in index.of(new).collections()
    assert len(list(index.of(new).scan(acme.tenant.id))) == 20


# --- Outages of a separate server ----------------------------------------------------------------------------------


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[milvus_server.MilvusServer]:
    with milvus_server.MilvusServer(tmp_path) as server:
        yield server


def test_searches_are_fast_and_degraded_during_an_outage_and_complete_afterwards(
    mortal: milvus_server.MilvusServer, tenant: Any, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.close_all()
    monkeypatch.setattr(settings, "VECTOR_INDEX", "milvus")
    monkeypatch.setattr(settings, "MILVUS_URI", mortal.uri)
    EmbeddingGeneration.objects.all().delete()
    generations.forget_cached()
    acme = Api(issue_key(tenant), tenant)
    acme.store("1", "Ada drinks coffee")
    drain()
    query = {"query": "coffee"}
    soon(lambda: acme.post("/memories/search", query).json()["degraded"], [])
    mortal.kill()
    for _ in range(120):
        answer = acme.post("/memories/search", query).json()
        assert answer["degraded"] == ["semantic"]
        assert [memory["coord"] for memory in answer["memories"]] == ["1.0"]
    problem_of(acme.post("/memories/search", {**query, "mode": "semantic"}), 503, "index_unavailable")
    acme.store("2", "stored while the server was gone: tea")
    drain()
    mortal.start()
    soon(lambda: acme.post("/memories/search", query).json()["degraded"], [], 60)
    index.close_all()


def test_a_server_with_a_private_certificate_is_trusted_through_its_authority(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
            "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    folder = tmp_path / "server"
    folder.mkdir()
    tls = {"tls_mode": 1, "server_pem_path": str(certificate), "server_key_path": str(key)}
    with milvus_server.MilvusServer(folder, **tls) as server:
        uri = server.uri.replace("http://127.0.0.1", "https://localhost")
        trusted = MilvusIndex(Connection(uri, ca=str(certificate)), "test_tls", 8)
        trusted.upsert(TENANT, [Point(TENANT, 1, "default", "note", np.ones(8, dtype=np.float32))])
        assert list(trusted.scan(TENANT)) == [(TENANT, 1)]
        with pytest.raises(IndexUnavailable):
            MilvusIndex(Connection(uri), "test_tls", 8).search(
                TENANT, np.ones(8, dtype=np.float32), Where(("default",)), 1
            )
        trusted.close()

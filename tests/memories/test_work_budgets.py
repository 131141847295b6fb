"""A request that needs too much work is rejected on both engines, and the error names the exceeded budget."""

from __future__ import annotations

from typing import Any

import pytest

from memories import audit_state, density_map, large_rows, row_locks
from memories.index import drain as index_drain
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from memories.search import semantic, vectors
from tenants.models import AuditEvent
from tests.conftest import Api, drain, problem_of


@pytest.mark.parametrize("query", ["axes=0", "axes=0&box=0;9"])
def test_a_map_of_too_many_memories_is_rejected(api: Api, monkeypatch, query: str) -> None:
    monkeypatch.setattr(density_map, "MAX_COUNTED", 2)
    for number in range(3):
        api.store(str(number))

    problem = problem_of(api.get(f"/memories/map?{query}"), 422, "row_budget_exceeded")

    assert "prefix" in problem["detail"]


def test_a_map_of_as_many_memories_as_allowed_is_counted(api: Api, monkeypatch) -> None:
    monkeypatch.setattr(density_map, "MAX_COUNTED", 2)
    for number in range(2):
        api.store(str(number))

    assert api.get("/memories/map?axes=0").json()["total"] == 2


def test_a_search_that_compares_too_many_vectors_is_rejected(api: Api, monkeypatch) -> None:
    for number in range(4):
        api.store(str(number), "coffee")
    api.store("4", "tea")
    drain()
    monkeypatch.setattr(vectors, "BATCH", 1)
    monkeypatch.setattr(vectors, "MAX_COMPARED", 2)
    # The filter rejects most of what the index returns, and more than a few memories pass it.
    monkeypatch.setattr(semantic, "EXACT", 1)
    monkeypatch.setattr(semantic, "MAX_LIMIT", 1)
    monkeypatch.setattr(semantic, "_first_limit", lambda search, pools=1: 1)
    body = {"query": "tea", "mode": "semantic", "filters": {"text": {"ne": "tea"}}}

    response = api.post("/memories/search", body)

    problem_of(response, 422, "vector_budget_exceeded")


def test_strong_consistency_is_refused_for_too_large_pending_memories(api: Api, settings) -> None:
    for number in range(3):
        api.store(str(number), "lorem " * 10_000)
    body = {"query": "lorem", "mode": "semantic", "consistency": "strong"}
    assert len(api.search(**body)) == 3

    settings.MAX_RESPONSE_BYTES = 130_000

    problem_of(api.post("/memories/search", body), 503, "index_unavailable")


def test_strong_consistency_finds_a_large_pending_memory(api: Api, monkeypatch) -> None:
    monkeypatch.setattr(large_rows, "SMALL", 10)
    api.store("1", "coffee with milk")

    assert [hit["coord"] for hit in api.search("coffee", consistency="strong", mode="semantic")] == ["1.0"]


def test_the_index_keeps_no_payload_of_a_batch(api: Api, generation: EmbeddingGeneration) -> None:
    api.store("1", "coffee")
    rows = list(VectorEmbedding.all_tenants.filter(due_at__isnull=False))

    [job] = index_drain._read(generation, rows)

    assert job.text == "coffee"
    assert job.memory is not None
    assert job.memory.payload == {}


def test_replacing_large_memories_holds_one_of_their_documents_at_a_time(api: Api, monkeypatch) -> None:
    monkeypatch.setattr(large_rows, "SMALL", 10)
    monkeypatch.setattr(row_locks, "_SMALL_DOCUMENTS", "NULL, NULL")
    items = [{"coord": [number], "payload": {"text": "coffee with milk"}} for number in range(3)]
    api.post("/memories/bulk", {"items": items})
    known: list[Memory] = []
    with_documents: list[list[Memory]] = []
    outlines, fingerprint = row_locks.outlines, audit_state._fingerprint

    def record_rows(*address: Any) -> dict[str, Memory]:
        rows = outlines(*address)
        known.extend(rows.values())
        return rows

    def record_documents(memory: Memory, deleted: bool) -> bytes:
        with_documents.append([row for row in known if {"payload", "metadata", "terms"} & vars(row).keys()])
        return fingerprint(memory, deleted)

    monkeypatch.setattr(row_locks, "outlines", record_rows)
    monkeypatch.setattr(audit_state, "_fingerprint", record_documents)
    replaced = api.post("/memories/bulk", {"items": items})

    assert (replaced.json()["stored"], len(known)) == (3, 3)
    assert max(map(len, with_documents)) == 1


def test_the_audit_log_has_the_same_hashes_for_large_memories(api: Api, monkeypatch) -> None:
    def hashes(coord: str) -> list[list[bytes]]:
        api.store(coord, "coffee with milk")
        api.store(coord, "tea")
        api.post("/memories/bulk/delete", {"coords": [[float(coord)]]})
        rows = AuditEvent.objects.filter(target=coord).order_by("id")
        return [[bytes(hash or b"") for hash in (row.before_hash, row.after_hash)] for row in rows]

    small = hashes("1.0")
    monkeypatch.setattr(large_rows, "SMALL", 0)
    monkeypatch.setattr(row_locks, "_SMALL_DOCUMENTS", "NULL, NULL")

    assert hashes("2.0") == small
    assert len(small) == 3

"""A new embedding generation is built alongside the old one and replaces it. The build can resume at any point."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from memories import embeddings, index
from memories.embeddings.hashing import HashingEmbedder
from memories.index import drain as sync
from memories.index import generations, maintenance, rebuild
from memories.index.base import Point
from memories.index.local.index import LocalIndex
from memories.models import EmbeddingGeneration, Job, VectorEmbedding
from operations import jobs
from somamemory.errors import Conflict, EmbedderUnavailable, InvalidInput, NotFound
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, drain, issue_key, problem_of

pytestmark = pytest.mark.django_db(transaction=True)

ANNA = uuid.UUID(int=1)


@pytest.fixture(autouse=True)
def _collections_of_this_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do not wait for other processes, because there are none, and remove all collections afterwards."""
    monkeypatch.setattr(settings, "MILVUS_PREFIX", f"test_{uuid.uuid4().hex[:8]}")
    monkeypatch.setattr(settings, "GENERATION_CACHE_S", -2)
    monkeypatch.setattr(rebuild, "GRACE_S", 2)
    yield
    for row in EmbeddingGeneration.objects.exclude(collection="memories_test"):
        index.drop(row)


@pytest.fixture
def active(db: None) -> EmbeddingGeneration:
    """A separate generation for this test, which can be retired."""
    EmbeddingGeneration.objects.all().delete()
    generations.forget_cached()
    return generations.active()


@pytest.fixture
def acme(tenant: Any, active: EmbeddingGeneration) -> Api:
    Tenant.objects.get_or_create(slug="default")  # the tenant of the commands
    return Api(issue_key(tenant), tenant)


@pytest.fixture
def admin(acme: Api) -> Caller:
    return Caller.command(acme.tenant)


def operators(acme: Api) -> Api:
    """An operator's key, acting for acme."""
    return Api(issue_key(None), acme.tenant, {"X-Tenant": "acme"})


def run(job: Job, steps: int = 200) -> Job:
    """Run the job's steps and the drain, as the server's threads do."""
    for _ in range(steps):
        jobs.advance()
        sync.drain()  # once: under load it would never be empty
        job.refresh_from_db()
        if job.state in (Job.State.DONE, Job.State.FAILED):
            return job
    raise AssertionError(f"the job is not over: {job.state} {job.data} {job.error}")


def until(job: Job, phase: str) -> Job:
    for _ in range(200):
        if job.data.get("phase") == phase:
            return job
        jobs.advance()
        drain()
        job.refresh_from_db()
    raise AssertionError(f"the job never came to {phase}: {job.data}")


def store_memories(api: Api, count: int = 30) -> None:
    items = [{"coord": [number], "payload": {"text": f"castle number {number}"}} for number in range(count)]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    drain()


def held(generation: EmbeddingGeneration, api: Api) -> dict[uuid.UUID, int]:
    return dict(index.of(generation).scan(api.tenant.id))


def test_a_rebuild_with_another_embedder_switches_and_leaves_nothing_of_the_old(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    store_memories(acme)
    before = held(active, acme)

    job = run(jobs.start_rebuild(admin, "hashing", dimension=64))

    assert job.state == "done", job.error
    new = generations.active()
    assert (new.provider, new.dimension) == ("hashing", 64)
    assert held(new, acme) == before
    assert list(EmbeddingGeneration.objects.all()) == [new]
    assert not VectorEmbedding.all_tenants.exclude(generation=new).exists()
    assert active.collection not in index.of(new).collections()
    assert acme.search("castle number 7", mode="semantic")[0]["coord"] == "7.0"
    assert job.data["comparison"]["questions"] > 10
    assert job.data["comparison"]["known_item_new"] > 0.9


def test_a_rebuild_of_an_empty_installation_succeeds(
    admin: Caller, active: EmbeddingGeneration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "VECTOR_FOLDER", tmp_path / "vectors")

    assert run(jobs.start_rebuild(admin, "hashing", dimension=24)).state == "done"


def test_writes_reach_both_generations_while_one_is_building(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    store_memories(acme, 5)
    job = until(jobs.start_rebuild(admin, "hashing"), rebuild.ROWS)
    acme.store("100", "a new castle")
    acme.store("1", "another castle")
    acme.delete("/memories/2")
    drain()

    new = EmbeddingGeneration.objects.get(state="building")
    assert set(held(new, acme)) <= set(held(active, acme))
    run(job)
    assert len(held(generations.active(), acme)) == 5
    assert acme.search("new castle", mode="semantic")[0]["coord"] == "100.0"


def test_a_write_by_a_process_with_outdated_generations_is_repaired(
    acme: Api, admin: Caller, active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_memories(acme, 5)
    job = until(jobs.start_rebuild(admin, "hashing"), rebuild.EMBED)
    with monkeypatch.context() as stale:
        stale.setattr(generations, "written", lambda: [active])
        acme.store("1", "written by somebody who was slow")
        acme.store("50", "a new one by the same")
    until(job, rebuild.RETIRE)

    run(job)

    assert acme.search("somebody slow", mode="semantic")[0]["coord"] == "1.0"
    assert {row.wanted_version for row in VectorEmbedding.all_tenants.all()} == {1, 2}
    assert len(held(generations.active(), acme)) == 6


def test_a_search_is_answered_from_the_old_generation_until_the_switch(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    store_memories(acme, 5)
    until(jobs.start_rebuild(admin, "hashing"), rebuild.COMPARE)
    assert generations.active() == active
    assert acme.search("castle number 3", mode="semantic")


def test_from_stored_vectors_asks_no_embedder(
    acme: Api, admin: Caller, active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_memories(acme)
    before = held(active, acme)
    index.of(active).drop()  # lost
    job = until(jobs.start_rebuild(admin, from_stored_vectors=True), rebuild.ROWS)

    def embed(texts: Any) -> Any:
        raise AssertionError("asked")

    with monkeypatch.context() as asking:
        asking.setattr(embeddings.current(), "embed", embed)
        until(job, rebuild.COMPARE)

    assert held(EmbeddingGeneration.objects.get(state="building"), acme) == before
    assert run(job).state == "done"


def test_own_vectors_go_along_with_the_same_embedder_and_not_with_another(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    own = [1.0] + [0.0] * (active.dimension - 1)
    acme.store("1", "words that say something else", embedding=own)
    drain()

    run(jobs.start_rebuild(admin))
    row = VectorEmbedding.all_tenants.get()
    assert row.own
    assert np.frombuffer(row.vector or b"", "<f4").tolist() == own

    run(jobs.start_rebuild(admin, "hashing", dimension=32))
    assert not VectorEmbedding.all_tenants.get().own


def test_a_second_rebuild_is_refused_while_one_runs(acme: Api, admin: Caller) -> None:
    jobs.start_rebuild(admin)
    with pytest.raises(Conflict):
        jobs.start_rebuild(admin, "hashing")
    problem_of(operators(acme).post("/api/v1/rebuild-embeddings"), 409, "conflict")


def test_a_step_killed_before_it_was_recorded_is_repeated(
    acme: Api, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step runs twice: once without being recorded, as after kill -9, and again in the next process."""
    store_memories(acme, 12)
    job = jobs.start_rebuild(admin, "hashing", dimension=48)
    settle, killed = jobs._settle, [True]

    def sometimes(*args: Any, **more: Any) -> None:
        killed[0] = not killed[0]
        if not killed[0]:
            Job.objects.update(lease=None, lease_until=None)
        else:
            settle(*args, **more)

    monkeypatch.setattr(jobs, "_settle", sometimes)

    assert run(job, 400).state == "done"
    assert len(held(generations.active(), acme)) == 12
    assert EmbeddingGeneration.objects.count() == 1


def test_an_embedder_that_does_not_answer_fails_the_job_and_changes_nothing(
    acme: Api, admin: Caller, active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(self: HashingEmbedder, texts: Any) -> Any:
        raise EmbedderUnavailable("the key is wrong")

    monkeypatch.setattr(HashingEmbedder, "embed", embed)
    job = run(jobs.start_rebuild(admin, "hashing", dimension=24))
    assert job.state == "failed"
    assert "the key is wrong" in job.error
    assert list(EmbeddingGeneration.objects.all()) == [active]


def test_a_rebuild_waits_for_memories_that_cannot_be_embedded_and_can_be_cancelled(
    acme: Api, admin: Caller, active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_memories(acme, 5)
    job = until(jobs.start_rebuild(admin, "hashing", dimension=24), rebuild.ROWS)

    def embed(self: HashingEmbedder, texts: Any) -> Any:
        raise EmbedderUnavailable("gone")

    monkeypatch.setattr(HashingEmbedder, "embed", embed)
    for _ in range(8):
        jobs.advance()
        VectorEmbedding.all_tenants.filter(due_at__isnull=False).update(due_at=timezone.now())
        drain()
    job.refresh_from_db()
    assert job.state == "running"
    assert "have not been embedded so far: gone" in job.error

    jobs.cancel_rebuild(admin)

    assert run(job).state == "failed"
    assert job.error == "cancelled"
    assert list(EmbeddingGeneration.objects.all()) == [active]
    assert acme.search("castle", mode="semantic")
    with pytest.raises(NotFound):
        jobs.cancel_rebuild(admin)


class Bug(Exception):
    """An error that the code does not expect."""


@contextmanager
def bug(owner: Any, name: str) -> Iterator[None]:
    """While this context is active, the function with this name fails."""

    def fail(*args: Any, **options: Any) -> None:
        raise Bug

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


def advance_until_it_fails(job: Job) -> Job:
    for _ in range(200):
        with suppress(Bug):
            jobs.advance()
        Job.objects.filter(id=job.id).update(lease_until=None)
        drain()
        job.refresh_from_db()
        if job.state == Job.State.FAILED:
            return job
    raise AssertionError(f"the job did not fail: {job.state} {job.data}")


def fail_a_rebuild(acme: Api, admin: Caller, phase: str, broken: object, function: str) -> None:
    """Rebuild five memories, without a bug until the phase begins, and then with one until the job fails."""
    store_memories(acme, 5)
    job = until(jobs.start_rebuild(admin, "hashing", dimension=24), phase)
    with bug(broken, function):
        advance_until_it_fails(job)


def test_a_rebuild_that_fails_after_the_switch_leaves_nothing_of_the_old(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    fail_a_rebuild(acme, admin, rebuild.SWITCH, type(index.of(active)), "publish")

    assert [row.dimension for row in EmbeddingGeneration.objects.all()] == [24]
    assert not VectorEmbedding.all_tenants.filter(generation_id=active.id).exists()
    assert len(held(generations.active(), acme)) == 5


def test_a_rebuild_that_fails_before_the_switch_keeps_the_old_generation(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    fail_a_rebuild(acme, admin, rebuild.SWITCH, generations, "switch_to")

    assert list(EmbeddingGeneration.objects.all()) == [active]
    assert len(held(active, acme)) == 5


def test_an_old_generation_that_could_not_be_removed_is_removed_at_night(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    fail_a_rebuild(acme, admin, rebuild.RETIRE, index, "drop")
    assert EmbeddingGeneration.objects.filter(state="retired").exists()

    maintenance.remove_generations_nightly()

    assert [row.dimension for row in EmbeddingGeneration.objects.all()] == [24]


def test_the_nightly_removal_leaves_the_generations_of_a_running_rebuild(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    until(jobs.start_rebuild(admin, "hashing", dimension=24), rebuild.RETIRE)

    maintenance.remove_generations_nightly()

    assert EmbeddingGeneration.objects.filter(id=active.id).exists()


def test_a_rebuild_that_was_killed_at_its_beginning_and_then_fails_leaves_no_generation(
    acme: Api, admin: Caller, active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.start_rebuild(admin, "hashing", dimension=24)
    rebuild.step(job)  # not recorded, as after kill -9
    assert EmbeddingGeneration.objects.filter(state="building").exists()

    def embed(self: HashingEmbedder, texts: Any) -> Any:
        raise EmbedderUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(HashingEmbedder, "embed", embed)
        assert run(job).state == "failed"

    assert list(EmbeddingGeneration.objects.all()) == [active]


def test_a_rebuild_removes_the_unfinished_generation_of_an_earlier_one(
    acme: Api, admin: Caller, active: EmbeddingGeneration
) -> None:
    generations.begin(HashingEmbedder(16))

    assert run(jobs.start_rebuild(admin, "hashing", dimension=24)).state == "done"

    assert [row.dimension for row in EmbeddingGeneration.objects.all()] == [24]


def test_stored_vectors_of_another_model_cannot_be_reused(acme: Api, admin: Caller) -> None:
    with pytest.raises(InvalidInput):
        jobs.start_rebuild(admin, "hashing", from_stored_vectors=True)


def test_the_route_answers_where_the_job_can_be_seen(acme: Api) -> None:
    other = Tenant.objects.create(slug="stranger")
    stranger = Api(issue_key(other), other)
    operator = operators(acme)
    response = operator.post("/api/v1/rebuild-embeddings", {})
    assert response.status_code == 202
    answer = response.json()
    assert response["Location"] == f"/api/v1/jobs/{answer['job_id']}"
    assert answer["state"] == "queued"
    assert answer["estimated_completion_seconds"] > 0
    job = operator.get(response["Location"]).json()
    assert (job["kind"], job["done"], job["total"]) == ("rebuild_embeddings", 0, None)
    assert stranger.get(response["Location"]).status_code in (403, 404)


def test_another_model_is_for_operators(acme: Api) -> None:
    problem_of(acme.post("/api/v1/rebuild-embeddings", {"provider": "hashing"}), 403)
    reader = Api(issue_key(acme.tenant, scopes=("read", "write", "delete")), acme.tenant)
    problem_of(reader.post("/api/v1/rebuild-embeddings"), 403)


def test_the_command_does_the_work_itself_when_no_server_runs(
    acme: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.management.watch_job.TAKEN_WITHIN_S", 0.1)
    store_memories(acme)
    call_command("reembed", "--provider", "hashing", "--dimension", "40")
    output = capsys.readouterr().out
    assert "The new generation is active and contains 30 memories." in output
    assert "SOMA_EMBEDDING_DIMENSION=40" in output
    assert generations.active().dimension == 40


def test_the_command_says_when_a_rebuild_runs_already(acme: Api, admin: Caller) -> None:
    jobs.start_rebuild(admin)
    with pytest.raises(CommandError, match="already running"):
        call_command("reembed")


def test_a_memory_stored_while_the_progress_is_counted_does_not_make_it_negative(acme: Api, admin: Caller) -> None:
    """The memory's transaction begins before the count and ends during it, so the memory's row is already due."""
    job = until(jobs.start_rebuild(admin, "hashing", dimension=64), "rows")
    new = EmbeddingGeneration.objects.get(dimension=64)
    counted: list[str] = []

    def store_after_the_first_count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if "COUNT" in sql and not counted:
            counted.append(sql)
            acme.store("1")
            VectorEmbedding.all_tenants.filter(generation=new).update(due_at=new.created_at)
        return result

    with connection.execute_wrapper(store_after_the_first_count):
        rebuild._count(job, new)

    assert counted
    assert job.done == 0


def test_a_rebuild_under_load_fails_no_search_and_loses_no_write(acme: Api, admin: Caller) -> None:
    """One thread searches and two write to 1,000 memories, while a fourth runs the job and the drain."""
    store_memories(acme, 1000)
    job = jobs.start_rebuild(admin, "hashing", dimension=64)
    over = threading.Event()
    written: dict[str, str] = {}

    def search() -> set[tuple[int, bool]]:
        outcomes = set()
        while not over.is_set():
            response = acme.post("/memories/search", {"query": "castle number 7"})
            over.wait(0.02)
            outcomes.add(
                (response.status_code, bool(response.json()["degraded"]) if response.status_code == 200 else 0)
            )
        connection.close()
        return outcomes  # type: ignore[return-value]

    def write(lane: int) -> None:
        number = 0
        while not over.is_set():
            coord = f"{lane * 1000 + number % 40}.0"
            written[coord] = acme.store(coord, f"bridge {coord} {number}")["id"]
            number += 1
            over.wait(0.05)
        connection.close()

    with ThreadPoolExecutor(3) as pool:
        searching, writing = pool.submit(search), [pool.submit(write, lane) for lane in (2, 3)]
        try:
            run(job, 5000)
        finally:
            over.set()
        for writer in writing:
            writer.result()
    drain()
    now = held(generations.active(), acme)
    assert job.state == "done", job.error
    assert searching.result() == {(200, False)}
    assert {uuid.UUID(id) for id in written.values()} <= set(now)
    assert len(now) == 1000 + len(written)


def test_the_hashing_embedder_supports_any_dimension_and_embeds_similar_texts_similarly() -> None:
    one, other, third = HashingEmbedder(96).embed(["the red castles", "a red castle", "bread and butter"])
    assert one.shape == (96,)
    assert one @ other == pytest.approx(1)
    assert abs(one @ third) < 0.5
    assert not HashingEmbedder(8).embed([""]).any()


def test_a_row_of_a_retired_generation_is_left_alone(acme: Api, active: EmbeddingGeneration) -> None:
    acme.store("1", "words")
    EmbeddingGeneration.objects.filter(id=active.id).update(state="retired")
    assert sync.drain() == 0


# --- Other processes ---------------------------------------------------------------------------------------------


@pytest.fixture
def retired(active: EmbeddingGeneration, monkeypatch: pytest.MonkeyPatch) -> EmbeddingGeneration:
    """A retired generation with two of ANNA's points. This process has the generation's files open."""
    monkeypatch.setattr(settings, "VECTOR_INDEX", "local")
    made = EmbeddingGeneration.objects.create(
        provider="hashing", model="terms-1", dimension=8, state="retired", collection=f"{settings.MILVUS_PREFIX}_old"
    )
    points = [Point(uuid.uuid4(), 1, "default", "episodic", row) for row in np.eye(8, dtype=np.float32)[:2]]
    index.of(made).upsert(ANNA, points)
    return made


def file_of(generation: EmbeddingGeneration) -> weakref.ref[Any]:
    """Return a reference to ANNA's points. Their file is closed as soon as nothing uses it."""
    opened: Any = index.of(generation)
    return weakref.ref(opened._opened(ANNA).file)


def remove_elsewhere(generation: EmbeddingGeneration) -> None:
    """Remove a generation as the process that runs the job does."""
    LocalIndex(settings.VECTOR_FOLDER, generation.collection, generation.dimension).drop()
    EmbeddingGeneration.objects.filter(id=generation.id).delete()
    generations.forget_cached()


def test_the_files_of_a_generation_that_another_process_has_removed_are_closed(retired: EmbeddingGeneration) -> None:
    file = file_of(retired)
    remove_elsewhere(retired)
    generations.active()

    assert file() is None


def test_the_files_of_a_retired_generation_stay_open_until_it_is_removed(retired: EmbeddingGeneration) -> None:
    file = file_of(retired)
    generations.forget_cached()
    generations.active()

    assert file() is not None


def test_a_scan_that_runs_when_the_files_are_closed_returns_every_point(retired: EmbeddingGeneration) -> None:
    file, running = file_of(retired), index.of(retired).scan(ANNA)
    next(running)
    remove_elsewhere(retired)
    generations.active()

    assert len(list(running)) == 1
    assert file() is None

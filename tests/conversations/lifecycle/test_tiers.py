"""Tiers: unused conversations leave the index, then the database, and remain available."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from conversations import restoring
from conversations.lifecycle import cold_storage, policy, thaw_queue, tiers
from conversations.models import ColdFile, Conversation, DeletedConversation
from conversations.transfer import formats, importing
from graph.models import Link
from memories import archiving, index, read_counts, retention
from memories.index import generations, reconcile
from memories.models import Memory, VectorEmbedding
from somamemory.errors import ColdFileDamaged, ColdUnavailable
from somamemory.times import rfc3339
from tenants import audit, usage
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant
from tests.conftest import Api, drain, issue_key, page, page_content, problem_of
from tests.support.conversations import ROOT, assemble, begin, contents, full_text, link, query, said

pytestmark = pytest.mark.django_db

SAID = ["the aardvark digs", "the badger sleeps", "the camel drinks"]


@pytest.fixture(autouse=True)
def cold_folder(tmp_path: Path, settings: Any) -> Iterator[Path]:
    folder = tmp_path / "cold"
    settings.STORAGES = {**settings.STORAGES, "cold": settings.STORAGES["cold"] | {"OPTIONS": {"location": folder}}}
    yield folder
    thaw_queue.clear()


def test_an_error_of_cold_storage_contains_its_reason_but_no_path() -> None:
    with pytest.raises(ColdUnavailable) as caught, cold_storage.translating_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/cold/file")
    assert "(No space left on device)" in str(caught.value)
    assert "/srv" not in str(caught.value)


def scheduler_caller(tenant: Tenant) -> Caller:
    return Caller(tenant, "schedule", frozenset(("read", "write")))


def row_of(id: str) -> Conversation:
    return Conversation.all_tenants.get(id=id)


def put(api: Api, id: str, what: str, body: Any = None) -> Any:
    response = api.request("PUT", f"{ROOT}/{id}/{what}", body)
    assert response.status_code == 200, response.content
    return response.json()


def archived(api: Api, *texts: str) -> str:
    id: str = begin(api, *(texts or SAID), label="Zoo", folder="/animals")["id"]
    put(api, id, "archive")
    drain()
    return id


def cold(api: Api, *texts: str) -> str:
    id = archived(api, *texts)
    assert freeze(api, id)
    drain()
    return id


def rated(api: Api, text: str) -> tuple[str, str]:
    """Store a message, rate it, and move it to cold storage. Return its conversation, and a time before the rating."""
    id: str = begin(api, text)["id"]
    [message] = api.get(f"{ROOT}/{id}/messages").json()["items"]
    then = rfc3339(timezone.now())
    assert api.post(f"/api/v1/messages/{message['id']}/importance").status_code == 200
    put(api, id, "archive")
    drain()
    assert freeze(api, id)
    return id, then


def texts_at(api: Api, moment: str) -> list[str]:
    """Return the messages that lists and searches of this time contain."""
    listed = api.get(f"/memories?namespace=conversations&as_of={moment}").json()["items"]
    found = api.search("password", namespace="conversations", as_of=moment)
    return [memory["payload"]["content"] for memory in [*listed, *found]]


def freeze(api: Api, id: str) -> bool:
    Conversation.all_tenants.filter(id=id).update(summarise_at=None)
    return tiers.freeze(scheduler_caller(api.tenant), uuid.UUID(id))


def tier(api: Api, id: str) -> str:
    tier: str = api.get(f"{ROOT}/{id}").json()["tier"]
    return tier


def in_index(tenant: Tenant) -> int:
    return len(list(index.of(generations.active()).scan(tenant.id)))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def older(id: str, days: float) -> None:
    """Make a conversation this much older."""
    moment = timezone.now() - timedelta(days=days)
    Conversation.all_tenants.filter(id=id).update(updated_at=moment, summarise_at=None)
    Conversation.all_tenants.filter(id=id, archived_at__isnull=False).update(archived_at=moment)


def run(api: Api, **more: Any) -> policy.Report:
    return policy.run(scheduler_caller(api.tenant), timezone.now(), **more)


# --- Archived ----------------------------------------------------------------------------------------------------


def test_an_archived_conversation_leaves_the_index_and_is_found_on_request(api: Api) -> None:
    id = archived(api)
    begin(api, "the aardvark is awake")
    drain()

    assert tier(api, id) == "archived"
    assert in_index(api.tenant) == 1
    assert query(api, "aardvark") == full_text(api, "aardvark") == ["the aardvark is awake"]
    assert set(query(api, "aardvark", include_archived=True)[:2]) == {"the aardvark digs", "the aardvark is awake"}
    assert "the aardvark digs" in full_text(api, "aardvark", include_archived=True)
    items = assemble(api, "aardvark", include_archived=True)["items"]
    assert {message["content"] for message in items} >= {"the aardvark digs"}


def test_archived_messages_keep_their_meaning(api: Api) -> None:
    """The message shares no word with the query, so only the vector in the database can find it."""
    archived(api, "the automobile is being repaired", "bread and butter")

    body = {"query": "fixing a car", "namespace": "conversations", "mode": "semantic", "include_archived": True}
    found = api.post("/memories/search", body).json()["memories"]

    assert found[0]["payload"]["content"] == "the automobile is being repaired"
    assert api.post("/memories/search", {**body, "include_archived": False}).json()["memories"] == []


def test_filters_on_status_or_conversation_id_find_archived_conversations(api: Api) -> None:
    id = archived(api)

    for filters in ({"status": "archived"}, {"conversation_id": id}, {"NOT": [{"status": "active"}]}):
        assert "the aardvark digs" in query(api, "aardvark", filters)
        assert query(api, "aardvark", filters, include_archived=False) == []


@pytest.mark.parametrize("what", [("status", {"status": "active"}), ("pin", None)])
def test_a_conversation_that_is_wanted_again_is_back_in_the_index(api: Api, what: tuple[str, Any]) -> None:
    id = archived(api)

    assert put(api, id, *what)["tier"] == "active"

    drain()
    assert in_index(api.tenant) == 3
    assert query(api, "aardvark")[0] == "the aardvark digs"


def test_messages_appended_to_an_archived_conversation_are_archived(api: Api) -> None:
    id = archived(api)

    api.post(f"{ROOT}/{id}/messages", {"messages": said("the dingo barks")})

    drain()
    assert in_index(api.tenant) == 0
    assert query(api, "dingo") == []
    assert query(api, "dingo", include_archived=True)[0] == "the dingo barks"


def test_the_index_is_as_the_database_says_after_any_move(api: Api) -> None:
    begin(api, "still active")
    archived(api)
    cold(api)

    report = reconcile.Report()
    reconcile.of_tenant(generations.active(), api.tenant.id, report, repair=False)
    assert (report.checked, report.different) == (4, False)
    assert in_index(api.tenant) == 1


def test_an_archived_message_has_the_index_state_archived(api: Api) -> None:
    number = row_of(archived(api)).number

    found = api.get(f"/memories/{number},1?namespace=conversations").json()["memory"]

    assert found["index_state"] == "archived"


# --- Cold --------------------------------------------------------------------------------------------------------


def test_a_cold_conversation_is_a_file_and_reads_as_before(api: Api, cold_folder: Path) -> None:
    id = archived(api)
    before = api.get(f"{ROOT}/{id}/messages").json()

    assert freeze(api, id)

    assert not Memory.objects.for_tenant(api.tenant).filter(namespace="conversations").exists()
    drain()
    assert not VectorEmbedding.objects.for_tenant(api.tenant).exists()
    [file] = files(cold_folder)
    assert file.relative_to(cold_folder).parts[0] == api.tenant.id.hex
    assert oct(file.parent.stat().st_mode & 0o777) == "0o700"
    assert api.get(f"{ROOT}/{id}/messages").json() == before
    listed = api.get(ROOT).json()["results"]
    assert [
        (conversation["label"], conversation["message_count"], conversation["tier"]) for conversation in listed
    ] == [("Zoo", 3, "cold")]


def test_reading_a_cold_conversation_writes_nothing_and_brings_it_back_later(api: Api) -> None:
    id = cold(api)
    ids = [message["id"] for message in api.get(f"{ROOT}/{id}/messages").json()["items"]]
    assert tier(api, id) == "cold"

    assert thaw_queue.thaw_batch() == 1

    assert tier(api, id) == "archived"
    assert [message["id"] for message in api.get(f"{ROOT}/{id}/messages").json()["items"]] == ids
    assert thaw_queue.thaw_batch() == 0
    drain()
    assert "the aardvark digs" in query(api, "aardvark", include_archived=True)
    assert in_index(api.tenant) == 0


def test_a_page_continues_after_the_last_one_in_any_tier(api: Api) -> None:
    id = cold(api)
    first = api.get(f"{ROOT}/{id}/messages?limit=1").json()
    thaw_queue.thaw_batch()
    second = api.get(f"{ROOT}/{id}/messages?limit=1&cursor={first['next_cursor']}").json()
    assert freeze(api, id)
    third = api.get(f"{ROOT}/{id}/messages?limit=1&cursor={second['next_cursor']}").json()

    assert [message["content"] for one in (first, second, third) for message in one["items"]] == SAID
    assert third["next_cursor"] is None
    problem_of(api.get(f"{ROOT}/{id}/messages?cursor=broken"), 422, field="cursor")


@pytest.mark.parametrize(
    "use",
    [
        lambda api, id: api.post(f"{ROOT}/{id}/messages", {"messages": said("the dingo barks")}),
        lambda api, id: api.request("PUT", f"{ROOT}/{id}/status", {"status": "active"}),
        lambda api, id: api.request("PUT", f"{ROOT}/{id}/pin"),
        lambda api, id: api.patch(f"{ROOT}/{id}", {"status": "active", "label": "Zoo again"}),
        lambda api, id: api.post("/api/v1/prune/undo", {"conversation_ids": [id]}),
        lambda api, id: api.post("/api/v1/summarize", {"conversation_id": id}),
    ],
)
def test_every_use_of_the_messages_restores_them(api: Api, use: Callable[[Api, str], Any]) -> None:
    id = cold(api)

    assert use(api, id).status_code in (200, 201)

    assert tier(api, id) != "cold"
    assert contents(api, id)[:3] == SAID


def test_its_label_and_folder_are_changed_where_it_is(api: Api) -> None:
    id = cold(api)

    put(api, id, "label", {"label": "Farm", "folder": "/farm"})
    put(api, id, "archive")

    assert tier(api, id) == "cold"
    assert contents(api, id) == SAID


def test_labels_are_suggested_and_exports_made_out_of_the_file(api: Api) -> None:
    id = cold(api)

    assert api.post("/api/v1/labels/suggest", {"conversation_id": id}).json()["suggestions"]
    [exported] = json.loads(b"".join(api.get("/api/v1/export").streaming_content))

    assert [message["content"] for message in exported["messages"]] == SAID
    assert tier(api, id) == "cold"


def test_a_search_that_asks_for_archived_ones_says_that_some_are_cold(api: Api) -> None:
    cold(api)

    answer = api.post("/api/v1/query", {"query": "aardvark", "include_archived": True}).json()
    words = api.post("/api/v1/search/fts", {"query": "aardvark", "include_archived": True}).json()

    assert (answer["results"], answer["degraded"]) == ([], ["cold"])
    assert (words["results"], words["degraded"]) == ([], ["cold"])
    assert assemble(api, "aardvark", include_archived=True)["degraded"] == ["cold"]
    assert assemble(api, "aardvark")["degraded"] == []
    assert api.post("/api/v1/query", {"query": "aardvark"}).json()["degraded"] == []


def test_summaries_and_links_stay_where_they_are(api: Api) -> None:
    id = archived(api)
    number = row_of(id).number
    assert api.post("/api/v1/summarize", {"conversation_id": id}).status_code == 200
    link(api, f"{number},1", f"{number},2")
    links = Link.objects.for_tenant(api.tenant).count()

    assert freeze(api, id)
    drain()

    assert Link.objects.for_tenant(api.tenant).count() == links
    found = api.search("aardvark", namespace="summaries")
    assert "the aardvark digs" in found[0]["payload"]["summary"]


def test_the_links_of_a_cold_conversation_are_removed_after_the_retention_period(api: Api, settings: Any) -> None:
    """Links of messages in the database are removed with their rows, after the retention period.

    Cold messages have no rows.
    """
    id = archived(api)
    number = row_of(id).number
    for start, end in ((f"{number},1", f"{number},2"), ("9999,1", f"{number},3")):
        link(api, start, end)
    assert freeze(api, id)

    assert api.delete(f"{ROOT}/{id}").status_code == 200
    links = Link.objects.for_tenant(api.tenant).filter(namespace="conversations")
    assert links.exists()
    settings.RETENTION_DAYS = 0
    restoring.forget_expired()

    assert not links.exists()


def test_the_history_of_a_cold_conversation_is_removed_after_the_retention_period(api: Api, settings: Any) -> None:
    id, then = rated(api, "my password is hunter2")
    assert api.delete(f"{ROOT}/{id}").status_code == 200
    settings.RETENTION_DAYS = 0

    restoring.forget_expired()

    assert texts_at(api, then) == []


def test_an_undo_that_names_one_that_is_not_there_brings_nothing_back(api: Api) -> None:
    id = cold(api)

    problem_of(api.post("/api/v1/prune/undo", {"conversation_ids": [id, str(uuid.uuid4())]}), 404)

    assert tier(api, id) == "cold"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["conversations/{id}/messages", "prune/undo"])
def test_with_an_idempotency_key_no_transaction_waits_for_cold_storage(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    id = cold(api)
    read, in_transaction = tiers._read_file, []

    def watched(*given: Any) -> Any:
        in_transaction.append(connection.in_atomic_block)
        return read(*given)

    monkeypatch.setattr(tiers, "_read_file", watched)
    body = {"conversation_ids": [id]} if path == "prune/undo" else {"messages": said("the dingo barks")}
    sent = [api.post(f"/api/v1/{path.format(id=id)}", body, idempotency_key="k") for _ in range(2)]

    assert in_transaction == [False]
    assert sent[0].content == sent[1].content
    assert row_of(id).message_count == len(SAID) + (path != "prune/undo")


def test_the_command_that_judges_messages_judges_cold_ones_too(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    cold(api)

    call_command("rate_messages", "/animals", "--tenant", "acme")

    assert capsys.readouterr().out == "Zoo: 3 messages\n"
    rows = Memory.objects.for_tenant(api.tenant).filter(namespace="conversations")
    assert [bool(row.importance) for row in rows] == [True] * 3


def test_an_empty_or_unsummarised_conversation_does_not_become_cold(api: Api) -> None:
    active, empty, unsummarised = begin(api, "x")["id"], begin(api)["id"], archived(api)
    put(api, empty, "archive")

    assert not freeze(api, active)
    assert not freeze(api, empty)
    assert not tiers.freeze(scheduler_caller(api.tenant), uuid.UUID(unsummarised))
    assert not ColdFile.objects.for_tenant(api.tenant).exists()


def test_a_conversation_that_is_too_large_stays_archived(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id = archived(api)

    monkeypatch.setattr(tiers, "MAX_BYTES", 10)
    assert not freeze(api, id)
    monkeypatch.setattr(tiers, "MAX_BYTES", 10_000)
    monkeypatch.setattr(tiers, "MAX_MESSAGES", 2)
    assert not freeze(api, id)


def touched(monkeypatch: pytest.MonkeyPatch, touch: Callable[[], object]) -> None:
    """Run `touch` between writing the file and the transaction."""
    write = cold_storage.write
    monkeypatch.setattr(cold_storage, "write", lambda packed: (write(packed), touch()))


@pytest.mark.parametrize("what", ["said", "read", "moved to another user", "deleted", "unarchived"])
def test_a_conversation_used_while_its_file_is_written_stays_archived(
    api: Api, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    id = archived(api)

    def use() -> None:
        if what == "said":
            api.post(f"{ROOT}/{id}/messages", {"messages": said("more")})
        elif what == "read":
            read_counts.count(Memory.objects.for_tenant(api.tenant)[:1])
            read_counts.write_back()
        elif what == "moved to another user":
            api.patch(f"{ROOT}/{id}", {"user_id": "ada"})
        elif what == "deleted":
            api.delete(f"{ROOT}/{id}")
        else:
            put(api, id, "status", {"status": "active"})

    touched(monkeypatch, use)

    assert not freeze(api, id)
    assert not Conversation.all_tenants.filter(tier="cold").exists()
    assert not ColdFile.all_tenants.filter(dropped_at=None).exists()


# --- Storage that fails ------------------------------------------------------------------------------------------


def test_a_damaged_or_missing_file_is_reported_and_nothing_is_lost(api: Api, cold_folder: Path) -> None:
    id = cold(api)
    [file] = files(cold_folder)
    good = file.read_bytes()

    file.write_bytes(good[:-1])
    problem_of(api.get(f"{ROOT}/{id}/messages"), 503, "cold_file_damaged")
    problem_of(api.post(f"{ROOT}/{id}/messages", {"messages": said("x")}), 503, "cold_file_damaged")
    with pytest.raises(CommandError):
        call_command("upkeep", tenant="acme", verify=True)
    with pytest.raises(CommandError):
        call_command("export_tenant", "acme")
    file.unlink()
    problem_of(api.get(f"{ROOT}/{id}/messages"), 503, "cold_file_damaged")

    file.write_bytes(good)
    assert contents(api, id) == SAID
    call_command("upkeep", tenant="acme", verify=True)


def test_the_verification_covers_the_files_of_deleted_conversations(api: Api, cold_folder: Path) -> None:
    id = cold(api)
    assert api.delete(f"{ROOT}/{id}").status_code == 200
    call_command("upkeep", tenant="acme", verify=True)
    [file] = files(cold_folder)
    file.write_bytes(b"damaged")

    with pytest.raises(CommandError, match="damaged files: 1"):
        call_command("upkeep", tenant="acme", verify=True)


def test_an_export_of_a_tenant_that_fails_leaves_no_file(api: Api, cold_folder: Path, tmp_path: Path) -> None:
    cold(api)
    [file] = files(cold_folder)
    file.write_bytes(b"damaged")

    with pytest.raises(CommandError):
        call_command("export_tenant", "acme", to=tmp_path / "acme.jsonl")

    assert not (tmp_path / "acme.jsonl").exists()


def test_an_export_of_a_tenant_never_replaces_a_file(api: Api, tmp_path: Path) -> None:
    (tmp_path / "acme.jsonl").write_text("mine")

    with pytest.raises(CommandError):
        call_command("export_tenant", "acme", to=tmp_path / "acme.jsonl")

    assert (tmp_path / "acme.jsonl").read_text() == "mine"


def test_rating_a_folder_continues_after_a_damaged_file(api: Api, cold_folder: Path, capsys: Any) -> None:
    cold(api)
    begin(api, "We decided to go on Monday", label="B")
    [file] = files(cold_folder)
    file.write_bytes(b"damaged")

    with pytest.raises(CommandError, match=f"could not rate {len(SAID)} messages"):
        call_command("rate_messages", "/", tenant="acme")

    output = capsys.readouterr()
    assert output.out.splitlines() == ["B: 1 messages"]
    assert output.err.startswith("Zoo: ")


def test_the_file_of_another_conversation_is_not_taken_for_this_one(api: Api, stranger: Api, cold_folder: Path) -> None:
    mine, other = cold(api), cold(stranger, "a stranger's secret")
    theirs = ColdFile.all_tenants.get(conversation_id=other)
    ColdFile.all_tenants.filter(conversation_id=mine).update(name=theirs.name)

    problem = problem_of(api.get(f"{ROOT}/{mine}/messages"), 503, "cold_file_damaged")

    assert "secret" not in str(problem)


def test_an_import_waits_for_no_damaged_file(api: Api, cold_folder: Path) -> None:
    broken, _ = cold(api), cold(api, "the eel swims")
    exported = b"".join(api.get("/api/v1/export").streaming_content)
    file = cold_folder / ColdFile.all_tenants.get(conversation_id=broken).name
    file.write_bytes(b"no gzip")

    def wait(error: Exception) -> None:
        raise AssertionError("waiting does not repair a file")

    report = importing.import_conversations(scheduler_caller(api.tenant), formats.read(io.BytesIO(exported)), wait=wait)

    assert (dict(report.counts), report.failed) == ({"unchanged": 1}, 1)
    assert "does not match its checksum" in report.errors[0].reason


def test_a_storage_that_is_down_stops_reads_of_cold_ones_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch, cold_folder: Path
) -> None:
    id, other = cold(api), archived(api, "another")

    def down(*args: Any, **more: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(cold_storage.Folder, "_open", down)
    monkeypatch.setattr(cold_storage.Folder, "_save", down)

    answer = api.get(f"{ROOT}/{id}/messages")
    problem_of(answer, 503, "cold_storage_unavailable")
    assert answer["Retry-After"]
    assert contents(api, other) == ["another"]
    with pytest.raises(ColdUnavailable):
        freeze(api, other)
    assert tier(api, other) == "archived"
    assert not files(cold_folder)[1:]


def test_any_storage_of_django_will_do(api: Api, settings: Any) -> None:
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = {**settings.STORAGES, "cold": memory}
    id = cold(api)

    assert contents(api, id) == SAID
    assert [name.partition("/")[0] for name in cold_storage.names(api.tenant.id)] == [api.tenant.id.hex]
    assert cold_storage.remove_all(api.tenant.id) == 1
    problem_of(api.get(f"{ROOT}/{id}/messages"), 503, "cold_file_damaged")


# --- Killed at any point -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Simulates a kill: no handler catches it."""


@pytest.mark.parametrize("at", ["ColdFile.save", "shelf.write", "shelf.read", "take_out", "Conversation.save", "audit"])
def test_a_crash_on_the_way_to_cold_storage_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, cold_folder: Path, at: str
) -> None:
    id = archived(api)

    with monkeypatch.context() as patch:
        killed_at(patch, at)
        with pytest.raises(Killed):
            freeze(api, id)

    assert (tier(api, id), contents(api, id)) == ("archived", SAID)
    assert freeze(api, id)
    assert contents(api, id) == SAID
    swept_after_a_while()
    assert len(files(cold_folder)) == 1
    assert ColdFile.all_tenants.count() == 1
    assert contents(api, id) == SAID


@pytest.mark.parametrize("at", ["shelf.read", "put_back", "Conversation.save", "audit"])
def test_a_crash_on_the_way_back_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, cold_folder: Path, at: str
) -> None:
    id = cold(api)

    with monkeypatch.context() as patch:
        killed_at(patch, at)
        with pytest.raises(Killed):
            tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))

    assert (tier(api, id), contents(api, id)) == ("cold", SAID)
    assert tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))
    assert (tier(api, id), contents(api, id)) == ("archived", SAID)
    swept_after_a_while()
    assert files(cold_folder) == []


def killed_at(patch: pytest.MonkeyPatch, at: str) -> None:
    """Kill the process before the step, or in the middle of a step that can be partially written."""

    def kill(*args: Any, **more: Any) -> None:
        raise Killed

    where: dict[str, tuple[Any, str]] = {
        "ColdFile.save": (ColdFile, "save"),
        "shelf.write": (os, "replace"),
        "shelf.read": (cold_storage, "read"),
        "take_out": (retention, "take_out"),
        "put_back": (archiving, "put_back"),
        "Conversation.save": (Conversation, "save"),
        "audit": (audit, "record"),
    }
    patch.setattr(*where[at], kill)


def swept_after_a_while() -> None:
    long_ago = timezone.now() - tiers.GRACE
    ColdFile.all_tenants.exclude(dropped_at=None).update(dropped_at=long_ago)
    tiers.sweep()


def test_a_file_that_cannot_be_removed_does_not_keep_the_others(
    api: Api, cold_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [cold(api), cold(api)]
    locked, other = (ColdFile.all_tenants.get(conversation_id=id).name for id in ids)
    remove = cold_storage.remove

    def refuse(name: str) -> None:
        if name == locked:
            raise ColdUnavailable("access denied")
        remove(name)

    monkeypatch.setattr(cold_storage, "remove", refuse)
    for days, id in ((3, ids[0]), (2, ids[1])):
        assert api.delete(f"{ROOT}/{id}").status_code == 200
        ColdFile.all_tenants.filter(conversation_id=id).update(dropped_at=timezone.now() - timedelta(days=days))

    for _ in range(50):  # the order is random
        with suppress(ColdUnavailable):
            tiers.sweep()

    assert not (cold_folder / other).exists()
    assert (cold_folder / locked).exists()


def test_an_unused_file_stays_for_a_while(api: Api, cold_folder: Path) -> None:
    id = cold(api)
    tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))

    tiers.sweep()

    assert len(files(cold_folder)) == 1


def test_a_drain_that_saw_the_memory_gone_does_not_forget_it_when_it_is_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = archived(api)
    assert freeze(api, id)
    from memories.index import drain as sync

    write = sync._write

    def slow(*args: Any) -> None:
        write(*args)
        tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))

    with monkeypatch.context() as patch:
        patch.setattr(sync, "_write", slow)
        sync.drain()

    drain()
    assert VectorEmbedding.objects.for_tenant(api.tenant).filter(vector__isnull=False, due_at=None).count() == 3


# --- Deletion ----------------------------------------------------------------------------------------------------


def test_a_cold_conversation_that_is_deleted_can_be_purged_with_its_file(
    api: Api, cold_folder: Path, django_capture_on_commit_callbacks: Any
) -> None:
    id = cold(api)

    assert api.delete(f"{ROOT}/{id}").status_code == 200
    problem_of(api.get(f"{ROOT}/{id}/messages"), 404)
    problem_of(api.delete(f"{ROOT}/{id}"), 404)
    assert len(files(cold_folder)) == 1
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200

    assert files(cold_folder) == []
    assert not ColdFile.all_tenants.exists()
    assert not DeletedConversation.all_tenants.exists()
    problem_of(api.delete(f"{ROOT}/{id}?purge=true"), 404)


@pytest.mark.parametrize("deletions", [["?purge=true"], ["", "?purge=true"]])
def test_a_purge_of_a_cold_conversation_removes_the_history_of_its_messages(api: Api, deletions: list[str]) -> None:
    id, then = rated(api, "my password is hunter2")
    assert set(texts_at(api, then)) == {"my password is hunter2"}

    for how in deletions:
        assert api.delete(f"{ROOT}/{id}{how}").status_code == 200

    assert texts_at(api, then) == []


def test_a_purge_of_a_cold_conversation_subtracts_its_history_from_the_usage(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=10**9)
    api.tenant.refresh_from_db()
    id, _ = rated(api, "my password is hunter2")
    usage.recount(api.tenant)

    assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200

    assert usage.stored(api.tenant) == usage.counted(api.tenant) == (0, 0)


def test_a_purge_takes_the_file_that_is_being_written_too(
    api: Api, monkeypatch: pytest.MonkeyPatch, cold_folder: Path, django_capture_on_commit_callbacks: Any
) -> None:
    id = archived(api)
    write = cold_storage.write

    def meanwhile(packed: cold_storage.Packed) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200
        write(packed)

    monkeypatch.setattr(cold_storage, "write", meanwhile)
    assert not freeze(api, id)

    tiers.sweep()
    assert files(cold_folder) == []
    ColdFile.all_tenants.update(written_at=timezone.now() - timedelta(hours=3))
    tiers.sweep()
    assert not ColdFile.all_tenants.exists()


def test_an_erasure_takes_the_file_that_is_being_written_too(
    api: Api, operator: Api, monkeypatch: pytest.MonkeyPatch, cold_folder: Path
) -> None:
    id = archived(api)
    write = cold_storage.write

    def meanwhile(packed: cold_storage.Packed) -> None:
        assert operator.delete("/api/v1/tenants/acme").status_code == 200
        write(packed)

    monkeypatch.setattr(cold_storage, "write", meanwhile)

    assert not freeze(api, id)
    assert files(cold_folder) == []


def test_one_that_is_purged_while_it_is_read_is_not_called_damaged(
    api: Api, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    id = cold(api)
    row, read = row_of(id), cold_storage.read

    def meanwhile(name: str) -> bytes:
        with django_capture_on_commit_callbacks(execute=True):
            api.delete(f"{ROOT}/{id}?purge=true")
        return read(name)

    monkeypatch.setattr(cold_storage, "read", meanwhile)

    assert tiers.read(scheduler_caller(api.tenant), row) is None


def test_a_conversation_that_was_deleted_softly_can_be_purged(api: Api, stranger: Api) -> None:
    id = begin(api, *SAID)["id"]
    api.delete(f"{ROOT}/{id}")
    assert Memory.objects.for_tenant(api.tenant).count() == 3

    problem_of(stranger.delete(f"{ROOT}/{id}?purge=true"), 404)
    assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200

    assert not Memory.objects.for_tenant(api.tenant).exists()
    actions = AuditEvent.objects.filter(tenant=api.tenant, target=id).order_by("id")
    assert list(actions.values_list("action", flat=True))[-2:] == ["conversation.delete", "conversation.purge"]


def test_that_can_be_purged_is_forgotten_with_the_retention_time(api: Api, settings: Any) -> None:
    id = begin(api, "x")["id"]
    api.delete(f"{ROOT}/{id}")
    settings.RETENTION_DAYS = 0

    restoring.forget_expired()

    problem_of(api.delete(f"{ROOT}/{id}?purge=true"), 404)


def test_an_erased_tenants_files_go_too(api: Api, operator: Api, stranger: Api, cold_folder: Path) -> None:
    other = cold(stranger, "untouched")
    cold(api)
    cold(api)
    (cold_folder / api.tenant.id.hex / "00").mkdir(exist_ok=True)
    (cold_folder / api.tenant.id.hex / "00" / "unknown.jsonl.gz").write_bytes(b"of a process that was killed")

    receipt = operator.delete("/api/v1/tenants/acme").json()

    assert (receipt["elsewhere"]["cold_files"], receipt["missing"]) == (3, [])
    assert [path.relative_to(cold_folder).parts[0] for path in files(cold_folder)] == [stranger.tenant.id.hex]
    assert contents(stranger, other) == ["untouched"]
    assert operator.delete("/api/v1/tenants/acme").json()["total"] == 0


def test_moves_do_not_change_the_storage_usage(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_memories=4)
    api = Api(issue_key(Tenant.objects.get(id=api.tenant.id)), Tenant.objects.get(id=api.tenant.id))
    id = archived(api)
    before = usage.counted(api.tenant)
    assert before[0] == 3

    assert freeze(api, id)
    usage.recount(api.tenant)
    assert usage.counted(api.tenant) == usage.stored(api.tenant) == before
    begin(api, "one more")
    problem_of(api.post(ROOT, {"messages": said("and another")}), 403, "quota_exceeded")

    assert tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))
    usage.recount(api.tenant)
    assert usage.counted(api.tenant)[0] == usage.stored(api.tenant)[0] == 4
    assert freeze(api, id)
    api.delete(f"{ROOT}/{id}")
    assert usage.counted(api.tenant)[0] == usage.stored(api.tenant)[0] == 1


def test_the_export_of_a_tenant_contains_cold_conversations(api: Api, operator: Api) -> None:
    cold(api)

    lines = b"".join(operator.get("/api/v1/tenants/acme/export").streaming_content).splitlines()

    assert sum(b"the camel drinks" in line for line in lines) == 1


def test_the_export_of_a_tenant_contains_deleted_cold_conversations(api: Api, operator: Api) -> None:
    id = cold(api)
    assert api.delete(f"{ROOT}/{id}").status_code == 200

    lines = b"".join(operator.get("/api/v1/tenants/acme/export").streaming_content).splitlines()

    rows = [json.loads(line)["row"] for line in lines if b'"table":"sfm_memories"' in line]
    assert [row["payload"]["content"] for row in rows] == SAID
    assert all(row["deleted_at"] for row in rows)


def test_the_export_of_a_tenant_skips_the_file_of_a_conversation_purged_meanwhile(
    api: Api, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, read = cold(api), cold_storage.read

    def purged_first(name: str) -> bytes:
        assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200
        return read(name)

    monkeypatch.setattr(cold_storage, "read", purged_first)

    assert b'{"end":' in b"".join(operator.get("/api/v1/tenants/acme/export").streaming_content)


def test_the_export_of_a_tenant_contains_conversations_restored_meanwhile(api: Api, operator: Api) -> None:
    begin(api, "one of the index")
    id = cold(api)
    exported = []

    for line in operator.get("/api/v1/tenants/acme/export").streaming_content:
        exported.append(line)
        if b'"table":"sfm_vector_embeddings"' in line:  # the memories have been read
            tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))

    assert tier(api, id) == "archived"
    assert any(b"the camel drinks" in line for line in exported)


def test_each_move_is_in_the_audit_log(api: Api) -> None:
    id = cold(api)
    tiers.thaw(scheduler_caller(api.tenant), uuid.UUID(id))

    actions = AuditEvent.objects.filter(tenant=api.tenant, target=id).order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["conversation.freeze", "conversation.thaw"]


def test_a_stranger_sees_no_file(api: Api, stranger: Api) -> None:
    id = cold(api)

    problem_of(stranger.get(f"{ROOT}/{id}/messages"), 404)
    problem_of(stranger.post("/api/v1/prune/undo", {"conversation_ids": [id]}), 404)
    assert not tiers.thaw(scheduler_caller(stranger.tenant), uuid.UUID(id))
    assert not tiers.freeze(scheduler_caller(stranger.tenant), uuid.UUID(id))
    assert tier(api, id) == "cold"


def test_the_pages_show_the_tier(api: Api, superuser: Any) -> None:
    id = cold(api)

    assert "Zoo" in page_content(superuser, page("conversations_conversation_changelist", tenant="acme", tier="cold"))
    assert "storage: cold" in page_content(superuser, page("conversations_conversation_change", id))
    assert "Zoo" not in page_content(
        superuser, page("conversations_conversation_changelist", tenant="acme", tier="active")
    )


def test_every_kind_of_damage_to_a_file_is_reported() -> None:
    mine = uuid.uuid4()
    for data in (b"", b"no gzip", gzip.compress(b"[]"), gzip.compress(b'{"format":')):
        with pytest.raises(ColdFileDamaged):
            cold_storage.unpack(data, mine, mine)


def test_cold_storage_is_a_folder_unless_a_bucket_is_named() -> None:
    assert storages["cold"].__class__ is cold_storage.Folder


def test_an_export_that_meets_a_move_has_every_message(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id = archived(api)
    monkeypatch.setattr(tiers, "_PAGE", 1)
    messages = tiers.messages(scheduler_caller(api.tenant), row_of(id))

    first = next(messages)
    assert freeze(api, id)
    rest = list(messages)

    assert [row.payload["content"] for row in (first, *rest)] == SAID

"""A backup is a consistent snapshot. It is restored exactly, or reported as damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from conversations import services as talks
from conversations.lifecycle import cold_backup, tiers
from conversations.messages import NewMessage
from conversations.models import Conversation
from conversations.services import NewConversation
from memories import services
from memories.coordinates import parse
from memories.new_memory import NewMemory
from operations.backup import backups, engines, postgresql
from operations.backup import manifest as manifests
from somamemory.db import tenant_scope, vector_tables
from somamemory.db.databases import drop
from somamemory.errors import ColdFileDamaged, Conflict, InvalidInput
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import drain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def filled(generation: Any) -> Caller:
    caller = Caller.command(Tenant.objects.get_or_create(slug="default")[0])
    items = [NewMemory(parse(f"{n}"), {"text": f"aardvark {n}", "number": n / 7}) for n in range(40)]
    services.store_many(caller, items)
    services.delete(caller, "default", parse("3"))
    drain()
    return caller


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[BaseDatabaseWrapper]:
    """A second, empty database of the same kind."""
    other = connection.copy()
    if connection.vendor == "sqlite":
        other.settings_dict = {**connection.settings_dict, "NAME": tmp_path / "empty.sqlite3"}
        yield other
        other.close()
        return
    name = f"soma_restored_{uuid.uuid4().hex[:8]}"
    other.settings_dict = {**connection.settings_dict, "NAME": name}
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield other
        other.close()
        drop(cursor.execute, name)


def tables(of: BaseDatabaseWrapper) -> dict[str, Any]:
    found = engines.engine_of(of).tables(of, manifests.silent)
    return {name: content for name, content in found.items() if name not in backups.RENEWED}


def rows(of: BaseDatabaseWrapper, question: str) -> list[Any]:
    with of.cursor() as cursor:
        cursor.execute(question)
        return list(cursor.fetchall())


def refuse_updates(of: BaseDatabaseWrapper, condition: str = "1 = 1") -> None:
    """Make every update of the vectors fail while the condition holds."""
    event = "CREATE TRIGGER refuse BEFORE UPDATE ON sfm_vector_embeddings"
    with of.cursor() as cursor:
        if of.vendor == "sqlite":
            cursor.execute(f"{event} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END")
            return
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {condition} THEN RAISE 'refused'; END IF; RETURN NULL; END $$"
        )
        cursor.execute(f"{event} FOR EACH STATEMENT EXECUTE FUNCTION refuse()")


def test_a_restored_database_equals_the_original(filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path) -> None:
    before = tables(connection)
    folder = backups.create(tmp_path / "to")
    services.store(filled, NewMemory(parse("99"), {"text": "later"}))

    backups.restore(folder, connection=empty)

    assert tables(empty) == before
    assert tables(connection) != before


@pytest.mark.pgvector
def test_a_backup_needs_no_pgvector_where_it_is_restored(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path
) -> None:
    assert vector_tables.names(connection)

    folder = backups.create(tmp_path / "to")
    manifest = backups.restore(folder, connection=empty)

    assert vector_tables.names(empty) == []
    assert not any(name.startswith(vector_tables.PREFIX) for name in manifest.tables)
    assert "EXTENSION" not in postgresql._contents(empty, folder / postgresql.PostgreSQL.file_name)


def test_a_backup_during_writes_is_a_snapshot(filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path) -> None:
    done, stored = threading.Event(), [0]

    def write() -> None:
        while not done.is_set():  # always two memories at a time
            number = stored[0]
            pair = [NewMemory(parse(f"100,{number},{part}"), {"n": number}) for part in (0, 1)]
            services.store_many(filled, pair)
            stored[0] += 1
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while stored[0] < 5:
            done.wait(0.01)
        folder = backups.create(tmp_path / "to")
    finally:
        done.set()
        writer.join()
    manifest = backups.restore(folder, connection=empty)

    kept = rows(empty, "SELECT COUNT(*) FROM sfm_memories")[0][0]
    noted = rows(empty, "SELECT COUNT(*) FROM sfm_audit_log WHERE action = 'memory.store'")[0][0]
    assert kept == noted == manifest.tables["sfm_memories"]["rows"]
    assert kept % 2 == 0
    assert 40 + 10 <= kept <= 40 + 2 * stored[0]
    assert tables(empty) == {name: content for name, content in manifest.tables.items() if name not in backups.RENEWED}


def test_the_index_is_to_be_filled_from_the_vectors_in_the_database(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path
) -> None:
    collection = rows(connection, "SELECT collection FROM sfm_embedding_generations")
    vectors = rows(connection, "SELECT vector, text_hash FROM sfm_vector_embeddings ORDER BY id")

    backups.restore(backups.create(tmp_path / "to"), connection=empty)

    assert rows(empty, "SELECT collection FROM sfm_embedding_generations") != collection
    assert rows(empty, "SELECT vector, text_hash FROM sfm_vector_embeddings ORDER BY id") == vectors
    waiting = "SELECT COUNT(*) FROM sfm_vector_embeddings WHERE due_at IS NOT NULL AND indexed_version IS NULL"
    assert rows(empty, waiting) == [(40,)]


@pytest.mark.postgresql
def test_no_timeout_ends_a_restore_of_many_memories(filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path) -> None:
    def once_loaded(phase: str, share: float) -> None:
        if (phase, share) == ("hash", 1):
            refuse_updates(empty, "current_setting('statement_timeout') <> '0'")

    backups.restore(backups.create(tmp_path / "to"), once_loaded, connection=empty)

    assert rows(empty, "SELECT COUNT(*) FROM sfm_vector_embeddings WHERE due_at IS NOT NULL") == [(40,)]


def test_a_good_backup_is_known_to_be_good(filled: Caller, tmp_path: Path, capsys: Any) -> None:
    call_command("backup", to=tmp_path)
    (folder,) = tmp_path.iterdir()

    call_command("verify_backup", folder)

    assert "Verified" in capsys.readouterr().out
    assert folder.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]


@pytest.mark.postgresql
@pytest.mark.row_level_security
def test_verify_backup_explains_how_to_allow_the_role_to_create_databases(
    filled: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = backups.create(tmp_path / "to")
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", f"{options['options']} -c role={tenant_scope.ROLE}")

    with pytest.raises(CommandError, match=r'ALTER ROLE "[^"]+" CREATEDB'):
        call_command("verify_backup", folder)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_flipped_bit_is_found(filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, place: float) -> None:
    folder = backups.create(tmp_path / "to")
    file = folder / manifests.read(folder).file
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 1
    file.write_bytes(content)

    for look in (backups.verify, lambda folder: backups.restore(folder, connection=empty)):
        with pytest.raises(InvalidInput, match="damaged"):
            look(folder)
    assert not backups.is_used(empty)


def test_rows_that_are_not_those_of_the_manifest_are_found(filled: Caller, tmp_path: Path) -> None:
    folder = backups.create(tmp_path / "to")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tables"]["sfm_memories"]["hash"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(CommandError, match="sfm_memories"):
        call_command("verify_backup", folder)


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]", '{"file": "x"}'])
def test_a_folder_without_a_backup_is_rejected(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(CommandError, match="does not contain a backup"):
        call_command("verify_backup", tmp_path)


@pytest.mark.postgresql
def test_the_hash_of_a_table_can_be_compared_with_older_manifests(filled: Caller) -> None:
    expected = (
        "SELECT COUNT(*), encode(sha256(convert_to(string_agg(encode(sha256(convert_to(t::text, 'UTF8')), 'hex'), '' "
        "ORDER BY t.id), 'UTF8')), 'hex') FROM sfm_audit_log t"
    )

    [(count, digest)] = rows(connection, expected)

    assert tables(connection)["sfm_audit_log"] == {"rows": count, "hash": digest}
    assert tables(connection)["sfm_cold_files"] == {"rows": 0, "hash": hashlib.sha256().hexdigest()}


def backup_with_secret_key(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a backup that contains a generated secret key, and then generate another key, as on a new machine."""
    monkeypatch.setattr(settings, "DATA_DIR", data_dir)
    monkeypatch.setattr(settings, "SECRET_KEY_IS_MADE", True)
    (data_dir / "secret-key").write_text("the old one")
    folder = backups.create(data_dir / "to")
    (data_dir / "secret-key").write_text("made for the new machine")
    return folder


def test_nothing_is_restored_over_something(filled: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes the database from which the backup was made."""
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    monkeypatch.setattr(settings, "SECRET_KEY_IS_MADE", False)
    folder = backups.create(tmp_path / "to")

    with pytest.raises(Conflict, match="not empty"):
        backups.restore(folder)


@pytest.mark.parametrize("step", ["compare", "fill the index"])
def test_an_interrupted_restore_can_be_repeated(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = backup_with_secret_key(tmp_path, monkeypatch)

    def interrupt(phase: str, share: float) -> None:
        if (phase, share) == ("hash", 1):
            refuse_updates(empty)
            if step == "compare":
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, DatabaseError)):
        backups.restore(folder, interrupt, connection=empty)
    with empty.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse" + ("" if empty.vendor == "sqlite" else " ON sfm_vector_embeddings"))
    assert rows(empty, "SELECT COUNT(*) FROM sfm_memories") == [(40,)]

    backups.restore(folder, connection=empty)

    assert tables(empty) == tables(connection)
    assert rows(empty, "SELECT COUNT(*) FROM sfm_vector_embeddings WHERE due_at IS NOT NULL") == [(40,)]
    assert (tmp_path / "secret-key").read_text() == "the old one"
    with pytest.raises(Conflict, match="not empty"):
        backups.restore(folder, connection=empty)


def interrupt_migration() -> None:
    raise KeyboardInterrupt


def test_a_restore_that_is_interrupted_before_the_first_migration_can_be_repeated(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = backup_with_secret_key(tmp_path, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        backups.restore(folder, connection=empty, migrate=interrupt_migration)

    backups.restore(folder, connection=empty)

    assert tables(empty) == tables(connection)


def test_a_repeated_restore_says_that_an_interrupted_migration_has_to_be_completed(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = backup_with_secret_key(tmp_path, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        backups.restore(folder, connection=empty, migrate=interrupt_migration)
    with empty.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('memories', '9999_new', CURRENT_TIMESTAMP)"
        )

    with pytest.raises(Conflict, match="start the service"):
        backups.restore(folder, connection=empty)


@pytest.mark.parametrize(
    ("field", "value", "why"), [("engine", "oracle", "backup of"), ("migrations", ["a.b"], "newer")]
)
def test_a_backup_that_does_not_fit_is_refused(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, field: str, value: Any, why: str
) -> None:
    folder = backups.create(tmp_path / "to")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, field: value}))

    with pytest.raises(InvalidInput, match=why):
        backups.restore(folder, connection=empty)


def test_old_backups_go_but_never_the_last(filled: Caller, tmp_path: Path) -> None:
    made = backups.create(tmp_path)
    for days in (1, 20, 30):
        name = f"soma-{timezone.now() - timedelta(days=days):%Y%m%dT%H%M%SZ}"
        shutil.copytree(made, tmp_path / name)
    (tmp_path / "soma-something-else").mkdir()

    assert len(backups.delete_old(tmp_path, keep_days=14)) == 2
    assert backups.delete_old(tmp_path, keep_days=14) == []
    assert len(backups.delete_old(tmp_path, keep_days=0)) == 1
    assert made.is_dir()
    assert (tmp_path / "soma-something-else").is_dir()


def test_the_remains_of_an_interrupted_backup_are_removed(filled: Caller, tmp_path: Path) -> None:
    (tmp_path / "soma-20200101T000000Z.partial").mkdir(parents=True)

    backups.create(tmp_path)

    assert not list(tmp_path.glob("*.partial"))


def test_a_failed_backup_leaves_no_files_on_the_disk(filled: Caller, tmp_path: Path) -> None:
    """The next backup would remove them, but until then, they could fill the disk that the database needs."""

    def full(phase: str, share: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        backups.create(tmp_path, full)

    assert list(tmp_path.iterdir()) == []


def test_an_error_of_sqlite_is_reported_in_one_line(filled: Caller, tmp_path: Path, monkeypatch: Any) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("it is about SQLite")
    monkeypatch.setattr("operations.backup.sqlite.SQLite.file_name", "missing/database.sqlite3.gz")

    with pytest.raises(CommandError, match="the database reports: unable to open database file"):
        call_command("backup", to=tmp_path)


def test_a_second_backup_at_the_same_time_is_rejected(filled: Caller, tmp_path: Path) -> None:
    """For example, one started by the timer and one started manually."""
    refused = []

    def meanwhile(phase: str, share: float) -> None:
        with pytest.raises(Conflict, match="another backup"):
            backups.create(tmp_path)
        refused.append(phase)

    made = backups.create(tmp_path, meanwhile)

    assert refused
    assert backups.verify(made).tables
    assert backups.create(tmp_path / "elsewhere").is_dir()


def test_a_generated_secret_key_is_in_the_backup(
    filled: Caller, empty: BaseDatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = backup_with_secret_key(tmp_path, monkeypatch)

    backups.restore(folder, connection=empty)

    assert (tmp_path / "secret-key").read_text() == "the old one"


def test_the_key_that_signs_the_audit_log_is_in_no_backup(
    filled: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("secret-key", "audit-key"):  # from an earlier version, which signed the log with the secret key
        (tmp_path / name).write_text("the signing key")
    for name, value in {"DATA_DIR": tmp_path, "SECRET_KEY": "the signing key", "AUDIT_KEY": "the signing key"}.items():
        monkeypatch.setattr(settings, name, value)
    monkeypatch.setattr(settings, "SECRET_KEY_IS_MADE", True)

    folder = backups.create(tmp_path / "to")

    assert [path.name for path in folder.rglob("*") if b"the signing key" in path.read_bytes()] == []


# --- Cold conversations ------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(filled: Caller, tmp_path: Path, settings: Any) -> Conversation:
    """A conversation whose messages are in a file."""
    settings.STORAGES = {**settings.STORAGES, "cold": cold_in(tmp_path / "cold")}
    made = talks.create(filled, NewConversation(label="Zoo", messages=[NewMessage("user", "the aardvark digs")]))
    talks.archive(filled, made.id)
    Conversation.all_tenants.filter(id=made.id).update(summarise_at=None)
    assert tiers.freeze(filled, made.id)
    return made


def cold_in(folder: Path) -> dict[str, Any]:
    return {"BACKEND": "conversations.lifecycle.cold_storage.Folder", "OPTIONS": {"location": str(folder)}}


def test_cold_conversations_are_restored_with_a_backup(
    filled: Caller, frozen: Conversation, empty: BaseDatabaseWrapper, tmp_path: Path, settings: Any
) -> None:
    folder = backups.create(tmp_path / "to")
    settings.STORAGES = {**settings.STORAGES, "cold": cold_in(tmp_path / "another machine")}
    with pytest.raises(ColdFileDamaged):
        tiers.read(filled, frozen)

    manifest = backups.restore(folder, connection=empty)

    kept = tiers.read(filled, frozen)
    assert [row.payload["content"] for row in kept or ()] == ["the aardvark digs"]
    content = manifest.elsewhere["cold"]
    assert (content["files"], content["missing"]) == (1, [])
    [(name,)] = rows(empty, "SELECT name FROM sfm_cold_files WHERE dropped_at IS NULL")
    assert (folder / "cold" / name).stat().st_size == content["bytes"]


def test_a_file_that_the_last_backup_holds_takes_no_room_again(frozen: Conversation, tmp_path: Path) -> None:
    one, other = (backup_as(tmp_path / "to", name) for name in ("soma-20260101T000000Z", "soma-20260102T000000Z"))

    [first], [second] = (list((folder / "cold").rglob("*.gz")) for folder in (one, other))

    assert first.samefile(second)
    backups.verify(other)


def backup_as(to: Path, name: str) -> Path:
    """Two backups in the same second would have the same name."""
    return backups.create(to).rename(to / name)


@pytest.mark.parametrize("how", ["damaged", "missing", "too many"])
def test_a_backup_whose_cold_files_are_wrong_is_refused(
    frozen: Conversation, empty: BaseDatabaseWrapper, tmp_path: Path, how: str
) -> None:
    folder = backups.create(tmp_path / "to")
    [file] = (folder / "cold").rglob("*.gz")
    if how == "damaged":
        file.write_bytes(b"something else")
    elif how == "missing":
        file.unlink()
    else:
        digest = hashlib.sha256(b"").hexdigest()
        (folder / "cold" / f"{digest}.jsonl.gz").write_bytes(b"")

    with pytest.raises(InvalidInput):
        backups.verify(folder)
    with pytest.raises(InvalidInput):
        backups.restore(folder, connection=empty)
    assert not backups.is_used(empty)


def test_a_damaged_cold_file_is_named_and_the_rest_backed_up(frozen: Conversation, tmp_path: Path) -> None:
    [file] = (tmp_path / "cold").rglob("*.gz")
    file.write_bytes(b"")

    manifest = manifests.read(backups.create(tmp_path / "to"))

    assert manifest.elsewhere["cold"]["missing"] == [file.relative_to(tmp_path / "cold").as_posix()]


def test_a_file_dropped_during_the_backup_is_included(filled: Caller, frozen: Conversation, tmp_path: Path) -> None:
    began = timezone.now()
    assert tiers.thaw(filled, frozen.id)

    content = cold_backup.copy(tmp_path / "copy", None, began, manifests.silent)

    assert content["files"] == 1

"""`manage.py migrate_database`: from SQLite to PostgreSQL; `python -m benchmarks.moving` does this at full size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from benchmarks import moving

pytestmark = [pytest.mark.server, pytest.mark.postgresql, pytest.mark.long]

MEMORIES = 60


@pytest.fixture
def target() -> Iterator[str]:
    with moving.empty_database(settings.DATABASE_URL) as url:
        yield url


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with data in SQLite. No server is using it."""
    folder = tmp_path_factory.mktemp("source")
    with moving.server(folder) as running:
        moving.fill(running, MEMORIES)
    return folder


def ask(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode()).fetchall()


def test_everything_arrives_and_is_found_as_before(tmp_path: Path, target: str) -> None:
    with moving.server(tmp_path) as running:
        moving.fill(running, MEMORIES)
        before = moving.answers(running, MEMORIES)

    done = moving.move(tmp_path, target)

    assert done.returncode == 0, done.stderr
    assert "are identical in both" in done.stdout
    with moving.server(tmp_path, SOMA_DATABASE_URL=target) as running:
        assert moving.answers(running, MEMORIES) == before
        client = running.client()
        client.post("/memories", {"coord": "7,7", "payload": {"text": "new in the new place"}})
        client.connection.close()
    numbers = [row[0] for row in ask(target, "SELECT seq FROM sfm_memories ORDER BY seq")]
    assert len(numbers) == len(set(numbers)) == MEMORIES + 3  # including the odd one, the deleted one and the new one

    again = moving.move(tmp_path, target)
    assert again.returncode == 1
    assert "the target is not empty" in again.stderr


def test_no_number_is_reused_even_if_the_last_row_was_deleted(source: Path, target: str) -> None:
    with sqlite3.connect(source / "somamemory.sqlite3") as database:
        database.execute("UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'sfm_memories'")
    database.close()

    assert moving.move(source, target).returncode == 0
    assert ask(target, "SELECT nextval(pg_get_serial_sequence('sfm_memories', 'seq'))") == [(5001,)]


def test_a_target_with_foreign_tables_is_not_changed(source: Path, target: str) -> None:
    with psycopg.connect(target) as connection:
        connection.execute("CREATE TABLE theirs ()")

    done = moving.move(source, target)

    assert done.returncode == 1
    assert "it contains the table theirs. Nothing was changed; use an empty database" in done.stderr
    assert ask(target, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("theirs",)]


def test_a_row_that_arrives_changed_leaves_the_target_empty_and_may_be_tried_again(source: Path, target: str) -> None:
    moving.manage(source, "migrate", SOMA_DATABASE_URL=target)
    with psycopg.connect(target) as connection:  # simulates a column that cannot store a value
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.importance := 1; RETURN NEW; END $$"
        )
        connection.execute("CREATE TRIGGER spoil BEFORE INSERT ON sfm_memories FOR EACH ROW EXECUTE FUNCTION spoil()")

    done = moving.move(source, target)

    assert done.returncode == 1
    assert "sfm_memories differs after the copy" in done.stderr
    assert ask(target, "SELECT count(*) FROM sfm_memories") == [(0,)]
    with psycopg.connect(target) as connection:
        connection.execute("DROP TRIGGER spoil ON sfm_memories")
    assert moving.move(source, target).returncode == 0


def test_no_timeout_ends_the_move_of_many_rows(source: Path, target: str) -> None:
    moving.manage(source, "migrate", SOMA_DATABASE_URL=target)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    limited = " OR ".join(f"current_setting('{name}') <> '0'" for name in names)
    with psycopg.connect(target) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {limited} THEN RAISE 'timeout'; END IF; RETURN NEW; END $$".encode()
        )
        connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON sfm_memories FOR EACH ROW EXECUTE FUNCTION refuse()")

    done = moving.move(source, target)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////tmp/other.sqlite3", "the target must be a PostgreSQL"),
        ("mysql://somebody@127.0.0.1/db", "must begin with postgres://"),
        ("postgres://nobody@127.0.0.1:1/none", "Connection refused"),
    ],
)
def test_a_target_that_cannot_be_is_one_line_and_no_stack(source: Path, url: str, reason: str) -> None:
    done = moving.move(source, url)

    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr

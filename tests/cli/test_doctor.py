"""The doctor: deliberately broken installations, and an intact one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import ConnectionError as RedisConnectionError

from memories import index
from memories.index import generations
from memories.models import EmbeddingGeneration, VectorEmbedding
from somamemory.cli.connection import Target
from somamemory.cli.doctor import local, machine, server
from somamemory.cli.doctor.finding import ERROR, OK, WARNING, Finding
from somamemory.db import migration_stages
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.management import existing_database
from tenants.models import ApiKey
from tests.cli.conftest import Soma
from tests.conftest import Api

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def missing(name: str) -> str:
    raise PackageNotFoundError(name)


class FakeRedis:
    def __init__(self, policy: str = "noeviction", clients: list[dict[str, str]] | None = None) -> None:
        self.policy, self.clients = policy, clients if clients is not None else [{"cmd": "brpop"}]

    def ping(self) -> None: ...

    def config_get(self, name: str) -> dict[str, str]:
        return {name: self.policy}

    def client_list(self) -> list[dict[str, str]]:
        return self.clients


def down(url: str) -> Any:
    raise RedisConnectionError("Connection refused")


def broker(redis: FakeRedis) -> list[Finding]:
    return list(local.redis_findings("", "redis://b", lambda url: redis))  # type: ignore[arg-type, return-value]


def folder_with(mode: int) -> Callable[[Path], list[Finding]]:
    def make(folder: Path) -> list[Finding]:
        (folder / "secret-key").write_text("secret")
        (folder / "secret-key").chmod(mode)
        return list(machine.permissions(folder, (folder / "secret-key").stat().st_uid))

    return make


def of_another_user(folder: Path) -> list[Finding]:
    (folder / "secret-key").touch(0o600)
    return list(machine.permissions(folder, 4711))


# The problem, the check, the expected status, and part of the remedy.
MACHINES: list[tuple[str, Callable[[Path], list[Finding]], str, str]] = [
    ("a package is missing", lambda _: [machine.packages(["orjson~=3.13"], missing)], ERROR, "pip install"),
    ("a package is too old", lambda _: [machine.packages(["orjson~=3.13"], lambda name: "2.0")], ERROR, "pip install"),
    ("SQLite is too old", lambda _: [machine.sqlite("3.8.0", ["ENABLE_FTS5"])], ERROR, "3.35"),
    ("SQLite has no full-text search", lambda _: [machine.sqlite("3.45.0", [])], ERROR, "FTS5"),
    ("the disk is full", lambda at: [machine.disk(at, machine.MIB)], ERROR, "enlarge the disk"),
    ("the disk is nearly full", lambda at: [machine.disk(at, 500 * machine.MIB)], WARNING, "enlarge the disk"),
    (
        "the data folder is on a network drive",
        lambda _: [machine.file_system(Path("/data/soma"), "/dev/sda / ext4 rw\nhost:/x /data nfs4 rw\n")],
        ERROR,
        "local disk",
    ),
    ("others can read a secret", folder_with(0o644), ERROR, "chmod 600"),
    ("another user owns the files", of_another_user, ERROR, "chown"),
    (
        "the data folder is missing or not writable",
        lambda at: list(machine.permissions(at / "missing", 0)),
        ERROR,
        "chown",
    ),
    ("the temporary folder is missing", lambda at: [machine.temporary_folder(at / "missing")], ERROR, "TMPDIR"),
    ("the clock is years behind", lambda _: [machine.clock(datetime(2001, 1, 1, tzinfo=UTC), None)], ERROR, "set-ntp"),
    ("the clock was ahead", lambda _: [machine.clock(NOW, NOW + timedelta(hours=1))], ERROR, "set-ntp"),
    ("few files may be open", lambda _: [machine.open_files(256)], WARNING, "ulimit"),
    ("the cache is down", lambda _: list(local.redis_findings("redis://c", "", down)), ERROR, "SOMA_REDIS_URL"),
    ("the broker is down", lambda _: list(local.redis_findings("", "redis://b", down)), ERROR, "SOMA_BROKER_URL"),
    ("the broker evicts jobs", lambda _: broker(FakeRedis("allkeys-lru")), ERROR, "noeviction"),
    ("no worker runs", lambda _: broker(FakeRedis(clients=[])), WARNING, "celery"),
    ("another program has the port", lambda _: [local.port("127.0.0.1", 9595, (True, ""))], ERROR, "SOMA_PORT"),
    ("an old server still runs", lambda _: [local.port("127.0.0.1", 9595, (True, "0.0.1"))], WARNING, "restart"),
    ("every client is a proxy", lambda _: list(local.proxies("127.0.0.1", [], ["0.0.0.0/0"])), ERROR, "only the"),
    ("no proxy is named", lambda _: list(local.proxies("0.0.0.0", [], [])), WARNING, "SOMA_TRUSTED_PROXIES"),
    ("any Host is accepted", lambda _: list(local.proxies("127.0.0.1", ["*"], [])), WARNING, "SOMA_ALLOWED_HOSTS"),
    ("keys are sent unencrypted", lambda _: [server.encryption("http://memory.example.org")], WARNING, "TLS"),
    (
        "the server's clock is wrong",
        lambda _: [server.clock({"date": formatdate(time.time() - 3600, usegmt=True)}, time.time())],
        ERROR,
        "set-ntp",
    ),
    ("a proxy removes headers", lambda _: [server.clock({}, 0)], WARNING, "Date"),
    ("the server has another major version", lambda _: [server.version("7.0.0")], ERROR, "somamemory==7.0.0"),
    (
        "a dependency of the server is down",
        lambda _: list(server.dependencies({"checks": {"cache": {"status": "down"}}})),
        ERROR,
        "on the server",
    ),
]


@pytest.mark.parametrize(("check", "status", "remedy"), [row[1:] for row in MACHINES], ids=[row[0] for row in MACHINES])
def test_a_broken_installation_is_found_with_its_remedy(
    tmp_path: Path, check: Callable[[Path], list[Finding]], status: str, remedy: str
) -> None:
    (found,) = (finding for finding in check(tmp_path) if finding.status != OK)

    assert found.status == status
    assert remedy in found.remedy


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> Any:
        raise error

    return fail


@pytest.fixture(autouse=True)
def _keep_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip a check that closes the connection, and with it the test's transaction."""
    monkeypatch.setattr(existing_database, "_refuse_missing_tables", lambda: None)


# The problem, the replaced function and its replacement, the name of the check, and part of the remedy.
DATABASES: list[tuple[str, object, str, object, str, str]] = [
    (
        "there is no database", existing_database, "require",
        raising(ConfigurationError("there is no database at /data")), "database", "somamemory init",
    ),
    (
        "the database does not respond", existing_database, "require", raising(DatabaseError("connection refused")),
        "database", "start the database",
    ),
    ("migrations are missing", migration_stages, "missing", lambda: ["memories.0099"], "schema", "somamemory init"),
    (
        "the settings name another model", generations, "check_settings",
        raising(ConfigurationError("the index contains vectors of another model")), "index", "reembed",
    ),
    ("the index is down", index, "try_out", raising(IndexUnavailable("refused")), "index", "start the vector index"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name", "broken", "check", "remedy"), [row[1:] for row in DATABASES], ids=[row[0] for row in DATABASES]
)
def test_a_broken_database_is_found_with_its_remedy(
    operator: Api, monkeypatch: pytest.MonkeyPatch, module: object, name: str, broken: object, check: str, remedy: str
) -> None:
    monkeypatch.setattr(module, name, broken)
    (found,) = (finding for finding in local.database_findings() if finding.status != OK)

    assert (found.name, found.status) == (check, ERROR)
    assert remedy in found.remedy


def test_a_database_without_keys_is_found(generation: EmbeddingGeneration) -> None:
    assert "create_key" in local.keys().remedy


def test_memories_that_cannot_be_indexed_are_found(api: Api) -> None:
    api.store("1,2,3")
    VectorEmbedding.all_tenants.update(attempts=9, due_at=NOW - timedelta(days=1), error="refused")
    (found,) = local.queue()

    assert found.status == ERROR


def test_a_key_from_the_future_is_found(operator: Api) -> None:
    ApiKey.objects.update(created_at=datetime.now(UTC) + timedelta(days=1))

    assert machine.clock(datetime.now(UTC), local.newest_key()).status == ERROR


def test_a_sound_database_has_no_errors(operator: Api) -> None:
    assert [finding for finding in local.database_findings() if finding.status != OK] == []


def test_a_sound_machine_has_no_errors(tmp_path: Path) -> None:
    found = machine.findings(tmp_path, uses_sqlite=True)

    assert [finding for finding in found if finding.status == ERROR and finding.name != "disk"] == []


def test_invalid_settings_are_found(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("SOMA_PROT", "9595")
    settings.HOST, settings.DEBUG = "0.0.0.0", True
    details = " ".join(finding.detail for finding in local.settings_findings())

    assert "did you mean SOMA_PORT?" in details
    assert "SOMA_DEBUG must be off" in details


def test_settings_that_cannot_be_loaded_are_the_only_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "use_data_dir", raising(ConfigurationError("SOMA_PORT must be a whole number")))
    (found,) = local.findings(Target(None, None, None, None, json=False))

    assert (found.name, found.status) == ("settings", ERROR)


# --- The command


def test_the_command_prints_remedies_and_has_an_exit_code(bare: Soma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "findings", lambda target: [machine.open_files(100), machine.sqlite("3.8.0", [])])
    done = bare("doctor")

    assert done.code == 1
    assert done.out.splitlines()[:2] == ["warning  open files: the limit on open files and connections is 100",
                                         "         → run 'ulimit -n 1024' first"]  # fmt: skip


def test_a_warning_is_not_a_failure(bare: Soma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "findings", lambda target: [machine.open_files(100)])
    done = bare("doctor", "--json")

    assert (done.code, done.json[0]["status"]) == (0, WARNING)


def test_the_doctor_checks_the_whole_installation(bare: Soma, operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "use_data_dir", lambda target: settings.DATA_DIR)
    names = {finding["name"] for finding in bare("doctor", "--json").json}

    assert {"settings", "packages", "disk", "permissions", "server", "proxies", "database", "index", "queue"} <= names


def test_a_sound_server_has_no_errors(soma: Soma) -> None:
    done = soma("doctor", "--url", "http://127.0.0.1:9595", "--json")

    assert [finding for finding in done.json if finding["status"] == ERROR] == []
    assert {"connection", "version", "key"} <= {finding["name"] for finding in done.json}


def test_a_server_that_does_not_respond_is_found(bare: Soma) -> None:
    done = bare("doctor", "--url", "http://127.0.0.1:1", "--json")

    assert (done.code, done.json[0]["name"]) == (1, "connection")


def test_a_refused_key_is_found(soma: Soma) -> None:
    done = soma("doctor", "--url", "http://127.0.0.1:9595", "--api-key", "wrong", "--json")

    assert (done.code, done.json[-1]["name"]) == (1, "key")
    assert "Authorization" in done.json[-1]["remedy"]


def test_a_broker_with_a_worker_is_sound() -> None:
    assert [finding.status for finding in broker(FakeRedis())] == [OK]

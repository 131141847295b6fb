"""Settings: invalid ones are rejected with a one-line message, and every setting is documented."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import CheckMessage

from somamemory import checks
from somamemory import settings as settings_module
from somamemory.settings import CLIENT_VARIABLES, known_variables
from testing import ROOT, template
from testing.server import free_port

pytestmark = [pytest.mark.server, pytest.mark.once]


def check(tmp_path: Path, *options: str, **variables: str) -> tuple[int, str]:
    """Return the exit code and the output of `manage.py check` with only these variables."""
    return run(tmp_path, [str(ROOT / "manage.py"), "check", *options], **variables)


def run(tmp_path: Path, command: list[str], **variables: str) -> tuple[int, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SOMA_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        timeout=180,
        env={**inherited, "SOMA_DATA_DIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def mixes(settings, vendor: str, **values: object) -> list[str | None]:
    for name, value in {"WORKERS": 1, "REPLICAS": [], "REDIS_URL": "", "SECRET_KEY_IS_MADE": False, **values}.items():
        setattr(settings, name, value)
    found: list[CheckMessage] = list(checks.mixes(vendor))
    return [message.id for message in found]


def test_the_defaults_pass_every_check(tmp_path) -> None:
    code, output = check(tmp_path, "--deploy")

    assert code == 0, output


def test_every_mistake_is_reported_on_its_own_line(tmp_path) -> None:
    code, output = check(
        tmp_path,
        "--deploy",
        SOMA_DATABASE_URL="postgres://nobody@127.0.0.1:1/none",
        SOMA_WORKERS="2",
        SOMA_THREDS="4",
        SOMA_DEBUG="1",
    )

    assert code == 1
    lines = [line for line in output.splitlines() if "(soma.E" in line]
    assert [re.findall(r"soma\.E\d+", line) for line in lines] == [
        ["soma.E001"], ["soma.E005"], ["soma.E006"]
    ]  # fmt: skip
    assert "SOMA_THREDS is not a setting; did you mean SOMA_THREADS?" in lines[0]


def test_a_value_of_the_wrong_kind_is_one_line_and_no_stack(tmp_path) -> None:
    code, output = check(tmp_path, SOMA_PORT="many")

    assert code == 1
    assert output == "error: SOMA_PORT must be a whole number\n"


@pytest.mark.parametrize("value", ["ture", "enabled", ""])
def test_a_switch_that_is_neither_on_nor_off_is_refused(tmp_path, value: str) -> None:
    code, output = check(tmp_path, SOMA_ROW_LEVEL_SECURITY=value)

    assert (code, output) == (1, f"error: SOMA_ROW_LEVEL_SECURITY must be true or false, not '{value}'\n")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SOMA_EMBEDDING_TIMEOUT_S", "soon", "must be a number"),
        ("SOMA_MILVUS_TIMEOUT_S", "-1", "must be between 0.01 and 3600, not -1"),
        ("SOMA_READ_WEIGHT", "nan", "must be between 0 and 1, not nan"),
        ("SOMA_LLM_PRICE_INPUT", "0.60 $", "must be a number"),
        ("SOMA_LOG_LEVEL", "loud", "must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not 'LOUD'"),
        ("SOMA_REDIS_URL", "localhost:6379", "must begin with redis://, rediss:// or unix://"),
        ("SOMA_REDIS_URL", "redis://localhost:port", "Port could not be cast"),
        ("SOMA_SECRET_KEY", "k" * 31, "must contain at least 32 characters; create it with 'openssl rand -hex 32'"),
        (
            "SOMA_ALLOWED_HOSTS",
            "localhost,https://memory.example.com:9595/admin",
            "must contain only host names such as memory.example.org; write memory.example.com instead of "
            "https://memory.example.com:9595/admin",
        ),
        (
            "SOMA_ALLOWED_HOSTS",
            "*.example.com",
            "must contain only host names such as memory.example.org; write .example.com instead of *.example.com",
        ),
        (
            "SOMA_ALLOWED_HOSTS",
            "::1",
            "must contain only host names such as memory.example.org; ::1 is not one",
        ),
        ("SOMA_CORS_ORIGINS", "https://app.example.org/app", "must contain only origins without a path"),
        ("SOMA_CORS_ORIGINS", "*", "must contain only origins without a path"),
        ("SOMA_ADMIN_ORIGINS", "memory.example.org", "must contain only origins without a path"),
        ("SOMA_TRUSTED_PROXIES", "http://10.0.0.1", "invalid network"),
        ("SOMA_LLM_BASE_URL", "localhost:11434/v1", "must be a URL such as http://127.0.0.1:11434/v1"),
        ("SOMA_EMBEDDING_BASE_URL", "localhost:11434/v1", "must be a URL such as http://127.0.0.1:11434/v1"),
        ("SOMA_COLD_S3_ENDPOINT", "minio:9000", "must be a URL such as http://minio:9000"),
        ("SOMA_BROKER_URL", "localhost:6379", "must be a URL such as redis://host:6379/0"),
        ("SOMA_OAUTH_URL", "https://[::1", "Invalid IPv6 URL"),
        ("SOMA_OAUTH_URL", "https://example.org:port", "Port could not be cast"),
    ],
)
def test_an_invalid_value_is_one_line_that_names_the_setting(tmp_path, name: str, value: str, says: str) -> None:
    code, output = check(tmp_path, **{name: value})

    assert code == 1
    assert re.match(rf"error: {name}:? ?{re.escape(says)}", output)
    assert len(output.splitlines()) == 1


def test_a_number_with_an_exponent_is_read_as_a_number(tmp_path) -> None:
    script = "from somamemory import settings; print(settings.LLM_PRICE_INPUT)"

    assert run(tmp_path, ["-c", script], SOMA_LLM_PRICE_INPUT="1e3") == (0, "1000.0\n")


def test_hosts_and_origins_can_be_written_with_spaces_and_a_slash_at_the_end(tmp_path) -> None:
    script = (
        "from somamemory import settings; "
        "print(settings.ALLOWED_HOSTS[3:], settings.CORS_ALLOWED_ORIGINS, settings.CSRF_TRUSTED_ORIGINS)"
    )

    code, output = run(
        tmp_path,
        ["-c", script],
        SOMA_ALLOWED_HOSTS="memory.example.org, .example.com, [2001:db8::1]",
        SOMA_CORS_ORIGINS="https://App.example.org/, http://localhost:3000, null",
        SOMA_ADMIN_ORIGINS="https://*.example.org",
    )

    assert (code, output) == (
        0,
        "['memory.example.org', '.example.com', '[2001:db8::1]'] "
        "['https://app.example.org', 'http://localhost:3000', 'null'] ['https://*.example.org']\n",
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite://:memory:", "sqlite:///"])
def test_a_database_in_memory_is_refused(tmp_path, url: str) -> None:
    code, output = check(tmp_path, SOMA_DATABASE_URL=url)

    assert code == 1
    assert "must name a file" in output


def test_an_origin_that_is_none_is_refused(tmp_path) -> None:
    code, output = check(tmp_path, SOMA_CORS_ORIGINS="app.example.org")

    assert code == 1
    assert "app.example.org" in output


@pytest.mark.parametrize(
    "command",
    [
        "-m gunicorn --config deploy/gunicorn.conf.py somamemory.wsgi:application",
        "-m celery -A somamemory worker",
        "-m celery -A somamemory beat",
        "manage.py serve",
    ],
)
def test_every_process_refuses_to_start_with_an_unknown_setting(tmp_path, command: str) -> None:
    code, output = run(tmp_path, command.split(), SOMA_THREDS="4", SOMA_BROKER_URL="redis://127.0.0.1:1/0")

    assert code == 1
    assert "SOMA_THREDS is not a setting; did you mean SOMA_THREADS?" in output


def test_an_invalid_value_is_one_line_if_gunicorn_starts_the_server(tmp_path) -> None:
    command = "-m gunicorn --config deploy/gunicorn.conf.py somamemory.wsgi:application"

    code, output = run(tmp_path, command.split(), SOMA_PORT="many")

    assert code == 1
    assert output == "error: SOMA_PORT must be a whole number\n"


def test_an_invalid_embedder_is_reported_before_anything_starts(tmp_path) -> None:
    code, output = check(tmp_path, "--deploy", SOMA_EMBEDDING_PROVIDER="abacus")

    assert code == 1
    assert "(soma.E007) unknown embedding provider 'abacus'" in output


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SOMA_MILVUS_URI", "/data/milvus.db", "Milvus Lite, which is no longer supported; remove the setting"),
        ("SOMA_VECTOR_INDEX", "milvus", "SOMA_MILVUS_URI is required"),
        ("SOMA_VECTOR_INDEX", "abacus", "SOMA_VECTOR_INDEX must be"),
    ],
)
def test_a_vector_index_that_cannot_be_had_is_refused(tmp_path, name: str, value: str, says: str) -> None:
    code, output = check(tmp_path, **{name: value})

    assert code == 1
    assert says in output


def test_a_port_in_use_is_one_line_that_names_the_setting(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = run(tmp_path, ["manage.py", "serve"], SOMA_PORT=port)

    assert code == 1
    assert len(output.splitlines()) == 1
    assert f"port {port}" in output
    assert "SOMA_PORT" in output


@pytest.mark.parametrize("command", ["serve", "bootstrap"])
def test_a_database_that_cannot_be_read_is_one_line(tmp_path, command: str) -> None:
    (tmp_path / "somamemory.sqlite3").write_bytes(b"damaged" * 1_000)

    code, output = run(tmp_path, ["manage.py", command], SOMA_PORT=str(free_port()))

    assert code == 1
    assert output.splitlines()[-1] == "CommandError: the database reports: file is not a database"
    assert "Traceback" not in output


def test_a_bootstrap_key_that_is_too_short_is_refused_at_every_start(tmp_path) -> None:
    template.copy_sqlite(tmp_path / "somamemory.sqlite3")
    assert run(tmp_path, ["manage.py", "bootstrap"])[0] == 0

    code, output = run(tmp_path, ["manage.py", "serve"], SOMA_BOOTSTRAP_KEY="short", SOMA_PORT=str(free_port()))

    assert code == 1
    assert "SOMA_BOOTSTRAP_KEY: must have 32 to 512 characters" in output


@pytest.mark.parametrize(
    ("vendor", "values", "expected"),
    [
        ("sqlite", {}, []),
        ("sqlite", {"SECRET_KEY_IS_MADE": True}, []),
        ("sqlite", {"WORKERS": 2}, []),
        ("sqlite", {"REPLICAS": ["replica1"]}, ["soma.E004"]),
        ("sqlite", {"ROW_LEVEL_SECURITY": True}, ["soma.E010"]),
        ("postgresql", {"ROW_LEVEL_SECURITY": True, "PREPARE_STATEMENTS": False}, ["soma.E011"]),
        ("postgresql", {"ROW_LEVEL_SECURITY": True}, []),
        ("postgresql", {"SECRET_KEY_IS_MADE": True}, ["soma.E005"]),
        ("postgresql", {"WORKERS": 2, "INDEXER": "thread"}, []),
        ("postgresql", {"WORKERS": 2, "MILVUS_URI": "http://milvus:19530", "INDEXER": "thread"}, []),
        ("postgresql", {"WORKERS": 2, "VECTOR_INDEX": "pgvector"}, []),
        ("sqlite", {"VECTOR_INDEX": "pgvector"}, ["soma.E013"]),
        ("postgresql", {"REPLICAS": ["replica1"]}, []),
        (
            "postgresql",
            {"REPLICAS": ["replica1"], "WORKERS": 2},
            ["soma.W001"],
        ),
        (
            "postgresql",
            {"REPLICAS": ["replica1"], "WORKERS": 2, "REDIS_URL": "redis://r"},
            [],
        ),
    ],
)
def test_impossible_mixes_are_refused_and_possible_ones_are_not(settings, vendor, values, expected) -> None:
    assert mixes(settings, vendor, **values) == expected


def test_every_setting_is_documented_and_nothing_else() -> None:
    rows = re.findall(
        r"^\| (`SOMA_.*?) \|", (ROOT / "docs" / "reference" / "configuration.md").read_text(), re.MULTILINE
    )
    documented = {name for row in rows for name in re.findall(r"`(SOMA_[A-Z0-9_]+)`", row)}

    assert documented == set(known_variables())


# Their defaults depend on other settings, or are described in words.
TOLD_IN_WORDS = {
    "SOMA_AUDIT_KEY",
    "SOMA_AUDIT_KEY_FILE",
    "SOMA_COLD_STORAGE",
    "SOMA_DATA_DIR",
    "SOMA_VECTOR_INDEX",
    "SOMA_MILVUS_URI",
    "SOMA_INDEXER",
    "SOMA_WORKERS",
    "SOMA_METRICS_ALLOW",
    "SOMA_ALLOWED_HOSTS",
}


def test_the_documented_defaults_are_those_of_the_settings() -> None:
    rows = re.findall(
        r"^\| (`SOMA_.*?) \| (.*?) \|", (ROOT / "docs" / "reference" / "configuration.md").read_text(), re.MULTILINE
    )
    for variables, defaults in rows:
        names, documented = re.findall(r"`(\w+)`", variables), re.findall(r"^`([^`]*)`|, `([^`]*)`", defaults)
        values = [one or other for one, other in documented]
        for name, value in zip(names, values, strict=False):
            if name not in TOLD_IN_WORDS:
                default = str(known_variables()[name]).lower()
                assert value.lower() == default.removesuffix(".0"), name


def test_every_variable_in_the_settings_is_known() -> None:
    named = set(re.findall(r'"(SOMA_[A-Z0-9_]*[A-Z0-9])"', (ROOT / "somamemory" / "settings.py").read_text()))

    assert named - CLIENT_VARIABLES <= set(known_variables())


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SOMA_AUDIT_KEY_FILE": "/nowhere/key"}, "SOMA_AUDIT_KEY_FILE: could not read /nowhere/key"),
        ({"SOMA_AUDIT_KEY_FILE": "/dev/null"}, "must contain at least 32 characters"),
        ({"SOMA_AUDIT_KEY_FILE": "/dev/null", "SOMA_AUDIT_KEY": "k" * 64}, "remove one of them"),
    ],
)
def test_an_audit_key_that_cannot_be_used_is_refused(tmp_path: Path, variables: dict[str, str], says: str) -> None:
    code, output = check(tmp_path, **variables)

    assert code == 1
    assert says in output


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("s3://bucket/prefix", "requires the 's3' extra"),
        ("ftp://host/folder", "must be a folder or begin with s3://"),
    ],
)
def test_a_cold_storage_that_cannot_be_had_is_refused(tmp_path: Path, where: str, says: str) -> None:
    code, output = check(tmp_path, SOMA_COLD_STORAGE=where)

    assert code == 1
    assert output.startswith("error: SOMA_COLD_STORAGE")
    assert says in output


@pytest.mark.parametrize(
    ("database", "storage"),
    [("", "cold"), ("postgres://soma@127.0.0.1:1/soma", ""), ("pgsql://soma@127.0.0.1:1/soma", "")],
)
def test_cold_storage_has_a_default_only_on_one_machine(tmp_path: Path, database: str, storage: str) -> None:
    """A container's data folder is deleted with the container."""
    command = ["-c", "from somamemory import settings; print(settings.COLD_STORAGE)"]

    _, output = run(tmp_path, command, SOMA_DATABASE_URL=database)

    assert output.strip().rpartition("/")[2] == storage


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, settings) -> None:
    settings.AUDIT_KEY_FILE = tmp_path / "key"
    settings.AUDIT_KEY_FILE.write_text("k" * 64)
    settings.AUDIT_KEY_FILE.chmod(0o640)

    (error,) = checks.check_audit_key(None)

    assert f"chmod 600 {tmp_path / 'key'}" in error.msg
    settings.AUDIT_KEY_FILE.chmod(0o600)
    assert checks.check_audit_key(None) == []


def test_verify_audit_refuses_a_key_that_others_can_read(tmp_path: Path) -> None:
    template.copy_sqlite(tmp_path / "somamemory.sqlite3")
    run(tmp_path, ["manage.py", "migrate"])
    (tmp_path / "audit-key").chmod(0o644)

    code, output = run(tmp_path, ["manage.py", "verify_audit"])

    assert code == 1
    assert "other users can read" in output


def test_a_log_signed_with_the_secret_key_keeps_that_key(tmp_path: Path) -> None:
    """Earlier versions had only this key."""
    (tmp_path / "secret-key").write_text("s" * 50)

    assert check(tmp_path)[0] == 0

    assert (tmp_path / "audit-key").read_text() == "s" * 50


def test_a_log_signed_with_a_short_secret_key_can_keep_that_key(tmp_path: Path) -> None:
    code, output = check(tmp_path, SOMA_SECRET_KEY="k" * 32, SOMA_AUDIT_KEY="short")

    assert code == 0, output


def test_the_audit_key_differs_from_a_secret_key_that_another_process_has_just_generated(tmp_path: Path) -> None:
    secret_key = tmp_path / "secret-key"
    secret_key.symlink_to(tmp_path / "missing" / "folder")  # stops the first process when it writes the secret key
    assert run(tmp_path, ["-c", "from somamemory import settings"])[0] == 1
    secret_key.unlink()
    secret_key.write_text("s" * 50)

    code, audit_key = run(tmp_path, ["-c", "from somamemory import settings; print(settings.AUDIT_KEY)"])

    assert code == 0
    assert audit_key.strip() != "s" * 50


def test_a_generated_key_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    settings_module._made_key(tmp_path / "audit-key", "k" * 50)

    assert synced == [(tmp_path / "audit-key").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("name", ["secret-key", "audit-key"])
def test_a_key_file_that_cannot_be_read_is_one_line_with_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    code, output = check(tmp_path)

    assert code == 1
    assert output.startswith(f"error: could not read or create the key file {tmp_path / name}: ")
    assert "set SOMA_DATA_DIR to a folder that you can write to" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("name", ["secret-key", "audit-key"])
@pytest.mark.parametrize("content", [b"k", b"\xff" * 67])
def test_a_damaged_key_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """For example, one that was only partly copied. A short key could be guessed."""
    (tmp_path / name).write_bytes(content)

    code, output = check(tmp_path)

    assert code == 1
    assert output.startswith(f"error: the key file {tmp_path / name} is damaged")
    assert (tmp_path / name).read_bytes() == content


def test_the_address_of_the_server_can_be_in_brackets(tmp_path: Path) -> None:
    script = "from somamemory import settings; print(settings.HOST, *settings.ALLOWED_HOSTS)"

    assert run(tmp_path, ["-c", script], SOMA_HOST="[::1]") == (0, "::1 localhost 127.0.0.1 [::1] [::1]\n")


def test_a_rule_that_puts_conversations_into_files_needs_a_place_for_them(settings) -> None:
    assert mixes(settings, "postgresql", ARCHIVED_DAYS=60, COLD_STORAGE="") == ["soma.E009"]
    assert mixes(settings, "postgresql", ARCHIVED_DAYS=60, COLD_STORAGE="s3://bucket") == []

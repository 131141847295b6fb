"""The log: one line per request with the client's address, without secrets or payloads."""

from __future__ import annotations

import configparser
import errno
import json
import logging
import re
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from memories import services
from somamemory.db import slow_queries
from somamemory.errors import ConfigurationError
from somamemory.telemetry.logs import JsonFormatter, reason
from somamemory.web import client_address
from tests.conftest import Api

PLANTED = "xyzzyplugh"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Return the log lines as written."""
    caplog.set_level(logging.DEBUG)
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def test_a_request_is_one_line(api: Api, lines: Any) -> None:
    api.post("/memories", {"coord": "1", "payload": {}}, x_request_id="r-1")

    (line,) = [entry for entry in lines() if entry["logger"] == "soma.requests"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("timestamp"))
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "logger": "soma.requests",
        "message": "request",
        "request_id": "r-1",
        "method": "POST",
        "path": "api/v1/memories",
        "status": 201,
        "tenant": "acme",
        "ip": "127.0.0.1",
    }


def full_disk() -> OperationalError:
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "full")) as database:
        database.execute("PRAGMA max_page_count = 1")
        try:
            database.execute("CREATE TABLE full (id INTEGER PRIMARY KEY, text TEXT)")
        except sqlite3.OperationalError as cause:
            error = OperationalError(PLANTED)
            error.__cause__ = cause
            return error
    raise AssertionError("the database is not full")


def test_the_log_says_that_the_disk_is_full(lines: Any) -> None:
    """The code names the cause. The message might contain data."""
    error = full_disk()

    logging.getLogger("soma.errors").error("database unavailable", exc_info=error)

    (line,) = lines()
    assert "sqlite3.OperationalError SQLITE_FULL" in line["exception"]
    assert reason(error) == "OperationalError SQLITE_FULL"
    assert reason(OSError(errno.ENOSPC, PLANTED)) == "OSError ENOSPC"
    assert reason(ValueError(PLANTED)) == "ValueError"


def everything_goes_wrong(api: Api, operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send requests with the planted word everywhere: successful, rejected and failing ones."""
    body = {"coord": "1", "payload": {"text": PLANTED}, "metadata": {PLANTED: 1}, "context": PLANTED}
    api.post("/memories", {**body, "namespace": PLANTED})
    api.post("/memories", {**body, PLANTED: 1})
    api.post("/memories", {**body, "coord": PLANTED})
    api.request("POST", "/memories", raw=PLANTED.encode())
    api.search(PLANTED)
    api.get(f"/memories/{PLANTED}?{PLANTED}={PLANTED}")
    api.get(f"/{PLANTED}")
    Api(f"{PLANTED}-{'0' * 40}", api.tenant).get("/memories")
    operator.post("/api/v1/tenants/acme/keys", {"secret": PLANTED + "0" * 40, "name": PLANTED})
    operator.get("/memories", x_tenant=PLANTED)
    for error in (
        IntegrityError(f"DETAIL:  Key (payload)=({PLANTED}) already exists."),
        RuntimeError(PLANTED),
        KeyError(PLANTED),
    ):

        def broken(*args: object, error: Exception = error) -> None:
            try:
                raise ValueError(PLANTED)
            except ValueError as cause:
                raise error from cause

        with monkeypatch.context() as patch:
            patch.setattr(services, "store", broken)
            assert api.post("/memories", body).status_code == 500


def test_nothing_that_was_sent_is_logged(api: Api, operator: Api, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SLOW_QUERY_MS", 0.000001)

    everything_goes_wrong(api, operator, monkeypatch)

    text = json.dumps(lines())
    assert "slow statement" in text
    assert "unhandled error" in text
    assert PLANTED not in text
    assert api.key not in text


def test_the_types_and_locations_of_a_bug_are_logged(api: Api, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(services, "store", broken)
    api.post("/memories", {"coord": "1", "payload": {}})

    (line,) = [entry for entry in lines() if "exception" in entry]
    assert line["exception"][0] == "builtins.KeyError"
    assert line["exception"][-1].endswith(" broken")
    assert line["request_id"]


def test_an_exception_that_causes_itself_ends(lines: Any) -> None:
    error = ValueError()
    error.__cause__ = KeyError()
    error.__cause__.__cause__ = error

    logging.getLogger("soma.test").error("odd", exc_info=error)

    assert lines()[-1]["exception"] == ["builtins.ValueError", "builtins.KeyError"]


def test_a_slow_statement_is_logged_without_its_parameters(
    api: Api, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SLOW_QUERY_MS", 0.000001)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [PLANTED])

    (line,) = [entry for entry in lines() if entry["message"] == "slow statement"]
    assert line["statement"] == "SELECT %s"
    assert line["duration_ms"] >= 0


def test_a_slow_statement_of_many_rows_is_a_short_line() -> None:
    rows = ", ".join(["(%s, %s, %s)"] * 1000)

    assert slow_queries._shown(f"INSERT INTO t (a, b, c)\n VALUES {rows} RETURNING a") == (
        "INSERT INTO t (a, b, c) VALUES (%s, …), … RETURNING a"
    )
    assert slow_queries._shown("SELECT a WHERE b = %s AND c IN (%s, %s) AND d = %s") == (
        "SELECT a WHERE b = %s AND c IN (%s, …) AND d = %s"
    )


def test_no_statement_is_slow_when_none_shall_be(api: Api, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SLOW_QUERY_MS", 0)
    api.store("1")

    assert not [entry for entry in lines() if entry["message"] == "slow statement"]


# --- Client addresses --------------------------------------------------------------------------------------------


def seen(lines: Any, forwarded: str, peer: str = "127.0.0.1") -> str:
    Client(REMOTE_ADDR=peer).get("/ping", headers={"X-Forwarded-For": forwarded})
    address: str = lines()[-1]["ip"]
    return address


def test_forwarded_headers_are_ignored_without_trusted_proxies(db: None, lines: Any) -> None:
    assert seen(lines, "192.0.2.1") == "127.0.0.1"


def test_a_trusted_proxy_is_believed(db: None, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRUSTED_PROXIES", client_address.networks(["127.0.0.1", "10.0.0.0/8"]))

    assert seen(lines, "192.0.2.1") == "192.0.2.1"
    assert seen(lines, "1.2.3.4, 192.0.2.1, 10.1.1.1") == "192.0.2.1"
    assert seen(lines, "192.0.2.1", peer="198.51.100.1") == "198.51.100.1"
    assert seen(lines, "10.0.0.1") == "10.0.0.1"


def test_a_client_with_ipv4_is_recognised_at_a_socket_for_ipv6() -> None:
    assert client_address.client("::ffff:198.51.100.1", "", TRUSTED) == "198.51.100.1"
    assert client_address.client("::ffff:10.0.0.1", "192.0.2.1", TRUSTED) == "192.0.2.1"


TRUSTED = client_address.networks(["10.0.0.0/8"])
HOP = st.one_of(st.ip_addresses().map(str), st.text(max_size=20).map(lambda text: text.replace(",", "")))


@given(st.lists(HOP, max_size=5), st.ip_addresses(v=4).filter(lambda a: not client_address.among(str(a), TRUSTED)))
def test_entries_that_a_client_adds_before_its_address_are_ignored(written: list[str], client: Any) -> None:
    header = ", ".join([*written, str(client)])

    assert client_address.client("10.0.0.1", header, TRUSTED) == str(client)


@pytest.mark.parametrize("name", ["10.0.0.0/33", "proxy", "10.0.0.1/8", ""])
def test_an_invalid_network_is_rejected(name: str) -> None:
    with pytest.raises(ConfigurationError):
        client_address.networks([name])


def fail2ban() -> re.Pattern[str]:
    file = configparser.RawConfigParser()
    file.read(Path(settings.BASE_DIR) / "deploy" / "fail2ban" / "filter.d" / "somamemory.conf")
    return re.compile(file["Definition"]["failregex"].replace("<HOST>", r"(?P<host>[0-9a-f.:]+)"))


def test_fail2ban_reads_who_came_with_a_wrong_key(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Client(REMOTE_ADDR="192.0.2.9").get("/memories", headers={"Authorization": "Bearer " + "x" * 40})
    refused = JsonFormatter().format(caplog.records[-1])
    api.get("/memories")
    api.get("/memories/9")

    match = fail2ban().search(refused)

    assert match is not None
    assert match["host"] == "192.0.2.9"
    assert not any(fail2ban().search(JsonFormatter().format(record)) for record in caplog.records[1:])

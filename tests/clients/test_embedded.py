"""The embedded client returns the same results as a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from somamemory_client import Client
from testing import template
from testing.server import Server
from tests.clients.calls import all_calls

pytestmark = [pytest.mark.server, pytest.mark.once]


def test_every_call_has_the_same_result_with_a_server_and_embedded(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    (tmp_path / "embedded").mkdir()
    template.copy_sqlite(tmp_path / "embedded" / "somamemory.sqlite3")
    script = Path(__file__).with_name("calls.py")
    embedded = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "embedded")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with Server(folder) as server, Client(f"http://127.0.0.1:{server.port}", server.key) as client:
        expected = json.loads(json.dumps(all_calls(client)))
    output, errors = embedded.communicate(timeout=120)

    assert embedded.returncode == 0, errors.decode()
    results = json.loads(output)
    assert [name for name in expected if results[name] != expected[name]] == []
    failures = {"get nothing", "update the wrong version", "invalid", "no route"}
    assert {name for name, result in expected.items() if isinstance(result, dict) and "error" in result} == failures


STORE = """
import sys
from somamemory_client import Client
Client.embedded(sys.argv[1]).memories.store(f"{sys.argv[2]} drinks tea", key=sys.argv[2])
"""
LIST = """
import sys
from somamemory_client import Client
print(sorted(memory["key"] for memory in Client.embedded(sys.argv[1]).memories.search("tea", top_k=9)))
"""


WITHIN_AN_EVENT_LOOP = """
import asyncio
import sys
from somamemory_client import AsyncClient, Client

async def main():
    async with AsyncClient.embedded(sys.argv[1]) as client:
        await client.memories.store("Ada drinks tea", key="ada")
    print(Client.embedded(sys.argv[1]).memories.get(key="ada")["payload"]["text"])

asyncio.run(main())
"""
OPEN_IN_THREADS = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from somamemory_client import Client

together = threading.Barrier(4)

def store(number):
    together.wait()
    Client.embedded(sys.argv[1]).memories.store(f"tea {number}", key=str(number))

with ThreadPoolExecutor(4) as threads:
    list(threads.map(store, range(4)))
print([thread.name for thread in threading.enumerate()].count("soma-index"))
"""
LOG = """
import logging
import sys
from somamemory_client import Client

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(filename)s %(threadName)s %(message)s")
Client.embedded(sys.argv[1])
logging.getLogger("agent").info("ready")
"""
LOG_AFTER_THE_FIRST_MEMORY = """
import logging
import sys
from somamemory_client import Client

Client.embedded(sys.argv[1]).memories.store("tea", key="a")
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
logging.getLogger("agent").info("hidden")
logging.getLogger("agent").warning("shown")
"""
LOCAL_TIME = """
import os
import sys
import time
from datetime import datetime

os.environ["TZ"] = "America/New_York"
time.tzset()
from somamemory_client import Client

client = Client.embedded(sys.argv[1])
client.memories.store("tea", key="a", expires_at=datetime(2035, 1, 1, 12))
print(time.tzname[0], client.memories.get(key="a")["expires_at"])
"""
WITHIN_DJANGO = """
import os
import sys
from django.conf import settings
from somamemory_client import Client, InvalidArgument

if sys.argv[2] == "configured":
    settings.configure()
else:
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
before = dict(os.environ)
try:
    Client.embedded(sys.argv[1])
except InvalidArgument as error:
    print(error)
assert os.environ == before
"""
INTERRUPTED = """
import sys
from django.apps import registry
from somamemory_client import Client, InvalidArgument

load = registry.AppConfig.import_models

def interrupt(config):
    registry.AppConfig.import_models = load
    raise KeyboardInterrupt

registry.AppConfig.import_models = interrupt
for _ in range(2):
    try:
        Client.embedded(sys.argv[1])
    except (KeyboardInterrupt, InvalidArgument) as error:
        print(repr(error))
"""
OPEN = """
import sys
from somamemory_client import Client, InvalidArgument
try:
    Client.embedded(sys.argv[1])
except InvalidArgument as error:
    print(error)
"""
WRITE_WITH_KEY = """
import sys
from somamemory_client import Client, Forbidden
client = Client.embedded(sys.argv[1])
client.admin.tenants.create("globex")
key = client.admin.keys.create("globex", name="writer", scopes=["write"])["key"]
limited = Client.embedded(sys.argv[1], api_key=key)
limited.memories.store("theirs", key="a")
try:
    limited.memories.get(key="a")
except Forbidden:
    print(client.tenant("globex").memories.get(key="a")["payload"]["text"])
"""


def begin(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_client_has_only_the_permissions_of_its_key(tmp_path: Path) -> None:
    output, errors = begin(WRITE_WITH_KEY, tmp_path / "new").communicate(timeout=120)

    assert output.decode().strip() == "theirs", errors.decode()


def test_clients_work_in_a_thread_with_a_running_event_loop(tmp_path: Path) -> None:
    """Notebooks run their cells in such a thread."""
    output, errors = begin(WITHIN_AN_EVENT_LOOP, tmp_path / "new").communicate(timeout=120)

    assert output.decode().strip() == "Ada drinks tea", errors.decode()


def test_several_threads_can_open_a_new_folder_at_once(tmp_path: Path) -> None:
    output, errors = begin(OPEN_IN_THREADS, tmp_path / "new").communicate(timeout=120)

    assert output.decode().strip() == "1", errors.decode()


def test_the_logging_of_the_program_remains_unchanged(tmp_path: Path) -> None:
    output, errors = begin(LOG, tmp_path / "new").communicate(timeout=120)

    assert output.decode().strip() == "<string> MainThread ready", errors.decode()


def test_a_program_can_configure_its_logging_after_it_has_stored_a_memory(tmp_path: Path) -> None:
    output, errors = begin(LOG_AFTER_THE_FIRST_MEMORY, tmp_path / "new").communicate(timeout=120)

    assert output.decode().strip() == "shown", errors.decode()


def test_the_local_time_of_the_program_remains_unchanged(tmp_path: Path) -> None:
    output, errors = begin(LOCAL_TIME, tmp_path / "new").communicate(timeout=120)

    assert output.decode().split() == ["EST", "2035-01-01T17:00:00Z"], errors.decode()


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("configured", "this process is already using Django with different settings"),
        ("named", "DJANGO_SETTINGS_MODULE is set to the settings of another program, 'mysite.settings'"),
    ],
)
def test_a_django_program_is_refused_with_the_remedy_and_remains_unchanged(
    tmp_path: Path, state: str, problem: str
) -> None:
    output, errors = begin(WITHIN_DJANGO, tmp_path / "new", state).communicate(timeout=120)

    remedy = "run SomaMemory in a separate process with 'somamemory serve', and connect with its URL"
    assert output.decode().strip() == f"path: {problem}; {remedy}", errors.decode()
    assert errors == b""


def test_after_an_interrupted_start_the_error_states_the_remedy(tmp_path: Path) -> None:
    output, errors = begin(INTERRUPTED, tmp_path / "new").communicate(timeout=120)

    first, second = output.decode().splitlines()
    assert first == "KeyboardInterrupt()", errors.decode()
    assert "was interrupted; restart the process" in second


def test_a_damaged_database_is_reported_as_an_invalid_argument(tmp_path: Path) -> None:
    (tmp_path / "somamemory.sqlite3").write_bytes(b"not a database " * 1000)
    output, errors = begin(OPEN, tmp_path).communicate(timeout=120)

    assert "the database reports: file is not a database; check its files" in output.decode(), errors.decode()


def test_several_processes_can_create_a_folder_at_once(tmp_path: Path) -> None:
    """The keys and the database are created once, and the memories of all processes are stored."""
    folder, names = tmp_path / "new", ["ada", "grace", "mary"]
    for process in [begin(STORE, folder, name) for name in names]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()

    output, errors = begin(LIST, folder).communicate(timeout=120)

    assert output.decode().strip() == str(names), errors.decode()

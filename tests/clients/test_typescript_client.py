"""Build the TypeScript client, check its types, and run its own tests against a server from this checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import api
from testing.processes import HOME
from testing.server import Server

PACKAGE = HOME / "clients" / "typescript"
NPM = shutil.which("npm")
INSTALLED = PACKAGE / "node_modules" / ".package-lock.json"

pytestmark = [
    pytest.mark.server,
    pytest.mark.once,
    pytest.mark.long,
    pytest.mark.xdist_group("typescript"),
    pytest.mark.skipif(not NPM, reason="NOT CHECKED: npm is missing, so the TypeScript client was not tested"),
]


def run(*command: str, **environment: str) -> str:
    """Run a command in the client's folder, expect success, and return its output."""
    done = subprocess.run(
        command,
        cwd=PACKAGE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1800,  # 10,000 sequences of commands on a busy machine
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Install the build dependencies unless they are already installed, and build the client."""
    lock = PACKAGE / "package-lock.json"
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", "--ignore-scripts", "--no-progress")
    run("npm", "run", "--silent", "build")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("typescript")) as running:
        yield running


def test_the_client_survives_every_fault_of_a_network_or_a_proxy() -> None:
    run("node", "--test", "tests/faults.test.mjs")


def on(server: Server, *command: str) -> str:
    return run(*command, SOMA_URL=f"http://127.0.0.1:{server.port}", SOMA_API_KEY=server.key)


@pytest.mark.parametrize("name", ["server", "ai-sdk", "anthropic"])
def test_the_client_works_with_a_server(server: Server, name: str) -> None:
    on(server, "node", "--test", f"tests/{name}.test.mjs")


def test_the_example_of_the_vercel_ai_sdk_recalls_an_earlier_conversation(server: Server) -> None:
    first, second = on(server, "node", "examples/ai-sdk.mjs").splitlines()

    assert (first, second[:12]) == ("Noted.", "I remember: ")


def test_the_example_of_claudes_memory_tool_runs(server: Server) -> None:
    lines = on(server, "node", "examples/anthropic-memory.mjs").splitlines()

    assert "     1\tAda drinks coffee." in lines
    assert lines[-1] == "Successfully deleted /memories/preferences.md"


def test_the_adapters_work_as_commonjs_modules() -> None:
    script = """
        const { memoryTools } = require("@somamemory/client/ai-sdk");
        const { SomaMemoryTool } = require("@somamemory/client/anthropic");
        console.log(typeof memoryTools, typeof SomaMemoryTool);
    """

    assert run("node", "--input-type=commonjs", "--eval", script) == "function function\n"


def test_the_types_match_the_openapi_document(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(api.get_openapi_schema(), default=str))

    run("node", "scripts/generate.mjs", str(tmp_path / "openapi.json"), str(tmp_path / "schema.ts"))

    assert (tmp_path / "schema.ts").read_text() == (PACKAGE / "src" / "schema.ts").read_text(), "run `make typescript`"


def test_every_error_code_has_a_class() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \| \d", (HOME / "docs/reference/errors.md").read_text(), re.MULTILINE)
    script = 'import { ERRORS } from "@somamemory/client"; console.log(JSON.stringify(Object.keys(ERRORS)))'

    known = json.loads(run("node", "--input-type=module", "--eval", script))

    assert sorted(known) == sorted(documented)


def test_the_examples_have_correct_types() -> None:
    run("npm", "run", "--silent", "types")

"""Run every command in the documentation and follow every link. `make test-docs` runs only these tests.

Every `sh`, `python` and `ts` block is run, unless the line above it is `<!-- not run: REASON -->`. The blocks of a
document run in one bash process, from top to bottom, in a folder like a checkout, against one shared server. curl fails
on error responses. `somamemory COMMAND` uses the server's data folder. The command runs in a fork of a process that has
loaded the application, which takes a tenth of the CPU time of a new process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from somamemory.cli.app import app
from testing.processes import HOME, wait_for
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.once, pytest.mark.long]

BLOCK = re.compile(r"^(?:<!-- (not run: [^\n]+) -->\n)?```(sh|python|ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE = shutil.which("node")
# The TypeScript in the documents has no type annotations, so it is also valid JavaScript.
RUNS = {"python": "python -", "ts": "node --input-type=module -"}
FOLDERS = (
    "api", "benchmarks", "console", "conversations", "deploy", "graph", "memories", "operations", "requirements",
    "scripts", "somamemory", "tenants", "testing", "tests",
)  # fmt: skip
PREPARATION = """
set -euo pipefail
curl() { command curl --fail-with-body "$@"; }
run() { env -u SOMA_URL python -IS "$COMMANDS" "$COMMANDS_SOCKET" "$@"; }
somamemory() { run somamemory "$@"; }
"""
COMMANDS = HOME / "testing" / "forked_commands.py"


def documents() -> list[Path]:
    return [HOME / "README.md", HOME / "CONTRIBUTING.md", HOME / "CHANGELOG.md", *sorted((HOME / "docs").rglob("*.md"))]


def name_of(document: Path) -> str:
    return document.relative_to(HOME).as_posix()


def runnable(document: Path) -> list[str]:
    """Return the shell blocks to run."""
    blocks = [(language, text) for mark, language, text in BLOCK.findall(document.read_text()) if not mark]
    return [
        text if language == "sh" else f"{RUNS[language]} <<'END'\n{text}END\n"
        for language, text in blocks
        if language != "ts" or NODE
    ]


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def commands(server: Server) -> Iterator[str]:
    """The path to the socket of the process that runs commands."""
    with tempfile.TemporaryDirectory() as folder:  # a short path
        path = Path(folder) / "commands"
        command = [sys.executable, "-m", "testing.forked_commands", "serve", str(path)]
        process = subprocess.Popen(command, env=server.environment, cwd=HOME)
        wait_for(path.exists)
        yield str(path)
        process.terminate()
        process.wait(60)


def delete_memories(server: Server) -> None:
    """Delete other documents' memories, so that a search finds only the memories that this document stores."""
    client = server.client()
    with contextlib.closing(client.connection):
        status, answer = client.call("POST", "/memories/delete", {"all": True})
    assert status == 200, answer


@pytest.mark.parametrize("document", [document for document in documents() if runnable(document)], ids=name_of)
def test_every_runnable_block_succeeds(document: Path, tmp_path: Path, server: Server, commands: str) -> None:
    delete_memories(server)
    for path in HOME.iterdir():
        if path.name not in ("var", ".git"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "var").symlink_to(server.data_dir)
    script = PREPARATION + "\n".join(runnable(document)).replace("/var/lib/somamemory", str(server.data_dir))
    script = script.replace(".venv/bin/python manage.py", "run manage.py")
    script = script.replace("127.0.0.1:9595", f"127.0.0.1:{server.environment['SOMA_PORT']}")

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            **server.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{HOME / 'clients' / 'python' / 'src'}:{HOME / 'tests' / 'support' / 'stand_ins'}",
            "MEM0_HOST": f"http://127.0.0.1:{server.port}/mem0",
            "MEM0_API_KEY": server.key,
            "SOMA_URL": f"http://127.0.0.1:{server.port}",
            "COMMANDS": str(COMMANDS),
            "COMMANDS_SOCKET": commands,
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "urn:somamemory:problem" not in done.stdout


@pytest.mark.skipif(not NODE, reason="NOT CHECKED: node is missing, so the TypeScript in the documents was not run")
def test_the_typescript_in_the_documents_can_be_run() -> None:
    done = subprocess.run(
        ["node", "--input-type=module", "-"], input="await fetch;", capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = re.findall(r"[\w/-]+\.md", (HOME / "mkdocs.yml").read_text())
    pages = [path.relative_to(HOME / "docs").as_posix() for path in (HOME / "docs").rglob("*.md")]

    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_command_that_is_named_exists(document: Path) -> None:
    there = (
        {path.stem for path in HOME.glob("*/management/commands/*.py")}
        | set(app.commands)
        | {
            "check",
            "changepassword",
            "createsuperuser",
            "migrate",
            "shell",
        }
    )
    named = set(
        re.findall(
            r"(?:manage\.py|^somamemory|`somamemory|sudo somamemory) ([a-z][a-z0-9_-]+)",
            document.read_text(),
            re.MULTILINE,
        )
    )

    assert named - there == set()


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = re.findall(rf"(?<![\w/.(@-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", document.read_text())

    assert [name for name in named if not (HOME / name).exists()] == []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_shell_block_that_is_not_run_has_valid_syntax(document: Path) -> None:
    for mark, language, text in BLOCK.findall(document.read_text()):
        if language != "sh" or not mark:
            continue
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="NOT CHECKED: make is missing")
def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    for document in documents():
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, name_of(document)


@pytest.mark.parametrize("page", sorted((HOME / "docs" / "decisions").glob("*.md")), ids=lambda page: page.stem)
def test_decisions_are_listed_newest_first(page: Path) -> None:
    dates = re.findall(r"^\*(\d{4}-\d\d-\d\d)", page.read_text(), re.MULTILINE)

    assert dates == sorted(dates, reverse=True)

"""Claude's memory tool gives the same answers as the vendor's tool for local files, and loses no concurrent changes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.tools import ToolError
from anthropic.lib.tools._beta_builtin_memory_tool import BetaLocalFilesystemMemoryTool

from somamemory_client import AsyncClient, Client, PreconditionFailed, Response
from somamemory_client.adapters.anthropic import AsyncSomaMemoryTool, SomaMemoryTool
from testing.server import Server

SEQUENCES = int(os.environ.get("SEQUENCES", "10000"))
ON_A_SERVER = int(os.environ.get("SEQUENCES_ON_A_SERVER", "100"))
NAMES = (
    "a",
    "b.md",
    "a/b.md",
    "a/c",
    "a/c/d.txt",
    "a/c/d.txt/e",
    ".hidden",
    "a/.h",
    "é x",
    "x/../b.md",
    "../../etc",
    "",
)
TEXTS = ("", "\n", "one", "one\ntwo\nthree\n", "two\ntwo", "a\r\nb\r\n", "tail\n\n", "ünïcode ✓\n" * 200)
PARTS = ("", "one", "two", "o", "\n", "missing", "\r", "✓")


def commands(chance: random.Random) -> Iterator[dict[str, object]]:
    """Yield one sequence of random commands."""

    def path() -> str:
        return chance.choice(("/memories/", "/memories/", "/memories//", "/memories")) + chance.choice(NAMES)

    makers: dict[str, Callable[[], dict[str, object]]] = {
        "view": lambda: {"path": path(), "view_range": chance.choice((None, [1, 2], [2, -1], [0, 99], [3, 1]))},
        "create": lambda: {"path": path(), "file_text": chance.choice(TEXTS)},
        "str_replace": lambda: {"path": path(), "old_str": chance.choice(PARTS), "new_str": chance.choice(PARTS)},
        "insert": lambda: {"path": path(), "insert_line": chance.randint(-1, 4), "insert_text": chance.choice(TEXTS)},
        "delete": lambda: {"path": path()},
        "rename": lambda: {"old_path": path(), "new_path": path()},
    }
    for _ in range(chance.randint(4, 12)):
        command = chance.choice(("create", "create", *makers))
        yield {"command": command, **makers[command]()}
    yield {"command": "view", "path": "/memories"}


def answer(tool: Any, command: dict[str, object]) -> str:
    try:
        return str(tool.call(command))
    except ToolError as error:
        return f"refused: {error}"
    except OSError:  # the vendor's tool does not translate this error, for example, for a path under a file
        return "refused by the file system"


@pytest.fixture(autouse=True)
def _fast_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the vendor's tool from waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def compare(tool: SomaMemoryTool, folder: Path, seed: int) -> None:
    """Run one sequence with both tools."""
    shutil.rmtree(folder, ignore_errors=True)
    oracle = BetaLocalFilesystemMemoryTool(str(folder))
    done = []
    for command in commands(random.Random(seed)):
        expected, given = answer(oracle, command), answer(tool, command)
        done.append(command)
        if expected == "refused by the file system" and given.startswith("refused: "):
            continue
        assert given == expected, (seed, done)


class Memory:
    """An in-memory substitute for the operations that the tool uses."""

    def __init__(self) -> None:
        self.memories: dict[str, dict[str, Any]] = {}

    def raw(self, operation: str, **fields: Any) -> Response:
        return _Answer(getattr(self, operation.partition(".")[2])(**fields))

    def get_many(self, namespace: str, keys: list[str]) -> dict[str, Any]:
        return {"items": [{"memory": self.memories.get(key)} for key in keys]}

    def list(self, namespace: str, limit: int, key_prefix: str = "") -> dict[str, Any]:
        found = [memory for key, memory in self.memories.items() if f"{key}/".startswith(f"{key_prefix}/".lstrip("/"))]
        return {"items": found}

    def delete_many(self, namespace: str, keys: list[str]) -> None:
        for key in keys:
            del self.memories[key]

    def store_by_key(
        self, key: str, namespace: str, payload: dict[str, Any], if_match: int = 0, if_none_match: str = ""
    ) -> None:
        self._check(key, if_match, if_none_match)
        self.memories[key] = {"key": key, "payload": payload, "version": if_match + 1}

    def delete_by_key(self, key: str, namespace: str, if_match: int) -> None:
        self._check(key, if_match, "")
        del self.memories[key]

    def _check(self, key: str, if_match: int, if_none_match: str) -> None:
        memory = self.memories.get(key)
        if memory is not None if if_none_match else memory is None or memory["version"] != if_match:
            raise PreconditionFailed(Response(412, {}, b""), {})


class _Answer(Response):
    def __init__(self, document: object) -> None:
        self.document = document

    def json(self) -> Any:
        return self.document


def test_random_sequences_give_the_answers_of_the_vendors_tool(tmp_path: Path) -> None:
    for seed in range(SEQUENCES):
        compare(SomaMemoryTool(Memory(), "files"), tmp_path / "oracle", seed)  # type: ignore[arg-type]


def test_random_sequences_on_a_server_give_the_answers_of_the_vendors_tool(
    client: Client, place: str, tmp_path: Path
) -> None:
    for seed in range(ON_A_SERVER):
        compare(SomaMemoryTool(client, f"{place}/{seed}"), tmp_path / "oracle", seed)


def test_two_agents_that_change_one_file_lose_nothing(running: Server, place: str) -> None:
    def agent(name: str) -> None:
        with Client(f"http://127.0.0.1:{running.port}", running.key) as client:
            tool = SomaMemoryTool(client, place)
            for number in range(25):
                answer(tool, {"command": "create", "path": "/memories/log", "file_text": ""})
                insert = {"command": "insert", "path": "/memories/log", "insert_line": 0}
                assert (
                    tool.call({**insert, "insert_text": f"{name} {number}"})
                    == "The file /memories/log has been edited."
                )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(agent, ("ada", "bob")))
    with Client(f"http://127.0.0.1:{running.port}", running.key) as client:
        text = client.memories.get(key="log", namespace=place)["payload"]["text"]
    assert sorted(text.splitlines()) == sorted(f"{name} {number}" for name in ("ada", "bob") for number in range(25))


def test_a_file_that_is_changed_while_it_is_renamed_keeps_the_change(client: Client, place: str) -> None:
    class Interrupted:
        def raw(self, operation: str, **fields: Any) -> Response:
            if operation == "memories.delete_by_key" and fields["if_match"] == 1:
                client.memories.store({"text": "new"}, key="old.md", namespace=place)
            return client.raw(operation, **fields)

    client.memories.store({"text": "old"}, key="old.md", namespace=place)
    tool = SomaMemoryTool(Interrupted(), place)  # type: ignore[arg-type]
    tool.call({"command": "rename", "old_path": "/memories/old.md", "new_path": "/memories/new.md"})
    memories = list(client.memories.list(namespace=place))
    assert [(memory["key"], memory["payload"]) for memory in memories] == [("new.md", {"text": "new"})]


def test_the_asynchronous_tool_gives_the_same_answers(running: Server, place: str) -> None:
    async def session() -> list[str]:
        async with AsyncClient(f"http://127.0.0.1:{running.port}", running.key) as client:
            tool = AsyncSomaMemoryTool(client, place)
            create = {"command": "create", "path": "/memories/a", "file_text": "one\n"}
            return [str(await tool.call(create)), str(await tool.call({"command": "view", "path": "/memories/a"}))]

    created, viewed = asyncio.run(session())
    assert created == "File created successfully at: /memories/a"
    assert viewed.splitlines()[1] == "     1\tone"


def test_a_rejected_call_is_an_error_that_the_model_can_read(client: Client, place: str) -> None:
    tool = SomaMemoryTool(client, place)
    with pytest.raises(ToolError, match="key"):
        tool.call({"command": "create", "path": "/memories/" + "x" * 600, "file_text": ""})

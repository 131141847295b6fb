"""Check the commands of mem0-cli. The first argument is the path to `mem0`, which reads MEM0_… variables."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from checks import run


def mem0(*arguments: str) -> Any:
    """Run a command, and return the `data` in its output."""
    command = [sys.argv[1], "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - from above
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return json.loads(done.stdout)["data"]


def only(user: str) -> str:
    [memory] = mem0("list", "--user-id", user)
    id: str = memory["id"]
    return id


def added() -> bool:
    mem0("add", "I prefer dark mode", "--user-id", "cli-user", "--metadata", '{"kind": "preference"}')
    return bool(only("cli-user"))


def deleted() -> bool:
    mem0("delete", only("cli-user"), "--force")
    return mem0("list", "--user-id", "cli-user") == []


def deleted_all() -> bool:
    mem0("add", "one", "--user-id", "cli-user", "--no-infer")
    mem0("delete", "--all", "--user-id", "cli-user", "--force")
    return mem0("list", "--user-id", "cli-user") == []


CHECKS = {
    "status": lambda: mem0("status") is not None,
    "add": added,
    "list": lambda: len(mem0("list", "--user-id", "cli-user", "--page-size", "5")) == 1,
    "search": lambda: mem0("search", "dark mode", "--user-id", "cli-user")[0]["memory"] == "I prefer dark mode",
    "get": lambda: mem0("get", only("cli-user"))["memory"] == "I prefer dark mode",
    "update": lambda: bool(mem0("update", only("cli-user"), "I prefer light mode")),
    "entity list": lambda: bool(mem0("entity", "list", "users")),
    "event list": lambda: bool(mem0("event", "list")),
    "event status": lambda: bool(mem0("event", "status", mem0("event", "list")[0]["id"])),
    "delete": deleted,
    "delete --all": deleted_all,
    "entity delete": lambda: mem0("entity", "delete", "--user-id", "cli-user", "--force") is not None,
}
run("mem0-cli", CHECKS, len(CHECKS))

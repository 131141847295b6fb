"""Call a server's MCP tools with the MCP inspector's command line: `python -m testing.mcp_inspector RELAY`.

The environment variable INSPECTOR contains the command that runs the inspector. RELAY is the path to the program in the
bundle for Claude Desktop. `scripts/test-plugins.sh` runs this module.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from testing.server import Server

TOOLS = 8
TIMEOUT_S = 120
CONTENT = "The ship sails from Gdańsk in May"


class Inspector:
    """Runs the inspector.

    target: the server to connect to, as a URL or a command.
    options: the options for this connection.
    """

    def __init__(self, command: list[str], target: list[str], options: list[str]) -> None:
        self._command, self._target, self._options = command, target, options

    def ask(self, method: str, *arguments: str) -> Any:
        command = [*self._command, "--cli", *self._options, "--method", method, *arguments, "--", *self._target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"the inspector failed: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def call(self, tool: str, **arguments: str) -> Any:
        values = [value for pair in arguments.items() for value in ("--tool-arg", "=".join(pair))]
        result = self.ask("tools/call", "--tool-name", tool, *values)
        if result["isError"]:
            raise RuntimeError(f"{tool} failed: {result['content']}")
        return result["structuredContent"]


def check(inspector: Inspector) -> str:
    """List the tools, then store, find and delete a memory. Return a summary. Raises RuntimeError if a step fails."""
    tools = inspector.ask("tools/list")["tools"]
    stored = inspector.call("memory_store", content=CONTENT)
    found = inspector.call("memory_search", query="ship Gdańsk", limit="1")["memories"]
    deleted = inspector.call("memory_delete", id=stored["id"])
    if len(tools) != TOOLS or [memory["id"] for memory in found] != [stored["id"]] or not deleted["deleted"]:
        raise RuntimeError(f"{len(tools)} tools, stored {stored}, found {found}, deleted {deleted}")
    return f"tools/list gives {len(tools)} tools; tools/call stores, finds and deletes a memory"


def main(relay: str) -> None:
    command = shlex.split(os.environ["INSPECTOR"])
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        url = f"http://127.0.0.1:{server.port}"
        over_http = ["--transport", "http", "--header", f"Authorization: Bearer {server.key}"]
        print("inspector over HTTP:", check(Inspector(command, [f"{url}/mcp"], over_http)))
        settings = ["-e", f"SOMA_URL={url}", "-e", f"SOMA_API_KEY={server.key}"]
        print("inspector through the bundle:", check(Inspector(command, [command[0], relay], settings)))


if __name__ == "__main__":
    main(sys.argv[1])

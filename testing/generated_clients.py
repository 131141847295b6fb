"""Run programs with generated clients, each on a new server: `python -m testing.generated_clients COMMAND ...`.

A command gets the URL of the server and a key as its last arguments. The exit status is 1 if one of them fails.
"""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import sys
import tempfile

from testing.server import Server

TIMEOUT_S = 300


def main() -> int:
    return max(run(shlex.split(command)) for command in sys.argv[1:])


def run(command: list[str]) -> int:
    """Run the command, and return its exit status, which is 0 or positive."""
    with tempfile.TemporaryDirectory(prefix="soma-generated-") as folder, Server(pathlib.Path(folder)) as server:
        url = f"http://127.0.0.1:{server.port}"
        return abs(subprocess.run([*command, url, server.key], timeout=TIMEOUT_S).returncode)


if __name__ == "__main__":
    sys.exit(main())

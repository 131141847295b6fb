"""Run programs that use generated clients, each with a new server: `python -m testing.generated_clients COMMAND ...`.

Each command gets the URL of its server and a key as its last arguments. The exit status is not 0 if a command fails.
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
    """Run a command with a new server. Return its exit status, or the number of the signal that ended it."""
    with tempfile.TemporaryDirectory(prefix="soma-generated-") as folder, Server(pathlib.Path(folder)) as server:
        url = f"http://127.0.0.1:{server.port}"
        return abs(subprocess.run([*command, url, server.key], timeout=TIMEOUT_S).returncode)


if __name__ == "__main__":
    sys.exit(main())

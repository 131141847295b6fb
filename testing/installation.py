"""Install into a folder with `deploy/install.sh --root`, and run the units' commands as systemd would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from testing.processes import HOME, Process
from testing.server import free_port

# A Python program that passes a listening socket to a command as descriptor 3, as systemd does for socket activation.
_WITH_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the installer for a folder, with the tests' Python environment."""
    command = [str(HOME / "deploy" / "install.sh"), "--root", str(root), "--venv", sys.prefix, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def with_socket(listening: socket, words: list[str]) -> list[str]:
    """Return a command that runs `words` with the listening socket, as systemd runs a socket-activated service."""
    return [sys.executable, "-c", _WITH_SOCKET, str(listening.fileno()), *words]


@dataclass(frozen=True)
class Tree:
    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "etc/somamemory/environment"

    @property
    def data(self) -> Path:
        return self.root / "var/lib/somamemory"

    @property
    def units(self) -> dict[str, Path]:
        return {path.name: path for path in (self.root / "etc/systemd/system").iterdir()}

    @property
    def command(self) -> Path:
        return self.root / "usr/local/sbin/somamemory"

    def rooted(self, text: str) -> str:
        """Replace the paths of a real installation with paths under `root`."""
        return re.sub(r"/(opt|var/lib|etc)/somamemory", lambda place: f"{self.root}{place.group()}", text)

    def unit(self, name: str) -> ConfigParser:
        """Parse a systemd unit. If a key occurs more than once, only its last value is returned."""
        parsed = ConfigParser(strict=False, interpolation=None)
        parsed.optionxform = str  # type: ignore[assignment,method-assign]
        parsed.read_string(self.rooted(self.units[name].read_text()))
        return parsed

    def environment(self, name: str) -> dict[str, str]:
        service = self.unit(name)["Service"]
        lines = [
            line for line in Path(service["EnvironmentFile"]).read_text().splitlines() if line[:1] not in ("", "#")
        ]
        given = dict(word.split("=", 1) for word in [*shlex.split(service["Environment"]), *lines])
        # With this variable, each process would compile the program again, which takes 2 s of CPU time.
        del given["PYTHONDONTWRITEBYTECODE"]
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **given}

    def words(self, name: str, key: str = "ExecStart") -> list[str]:
        return shlex.split(self.unit(name)["Service"][key])

    def run(self, name: str, key: str = "ExecStart") -> subprocess.CompletedProcess[str]:
        """Run a unit's command that exits, such as ExecStartPost or the ExecStart of a one-shot service."""
        return subprocess.run(
            self.words(name, key),
            env=self.environment(name),
            cwd=self.unit(name)["Service"]["WorkingDirectory"],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def process(self, name: str, listening: socket | None = None, more: Mapping[str, str] | None = None) -> Process:
        """Return a service's process, without starting it."""
        words = self.words(name)
        return Process(
            with_socket(listening, words) if listening else words,
            self.environment(name) | dict(more or {}),
            self.root / f"{name}.log",
            folder=Path(self.unit(name)["Service"]["WorkingDirectory"]),
            descriptors=(listening.fileno(),) if listening else (),
        )


def installed(root: Path, port: int | None = None) -> Tree:
    done = install(root, "--port", str(port or free_port()))
    assert done.returncode == 0, done.stderr
    return Tree(root)

"""What `deploy/install.sh --root` has put into a folder, and its units' own commands, started as systemd would."""

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

# Takes the place of systemd: the listening socket becomes descriptor 3 of the process that it is meant for.
_WITH_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the installer for a folder, with the environment of these tests."""
    command = [str(HOME / "deploy" / "install.sh"), "--root", str(root), "--venv", sys.prefix, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def with_socket(listening: socket, words: list[str]) -> list[str]:
    """The command, to be started with the socket among its descriptors, as a service that systemd activates by it."""
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
        """With the places of an installation below our folder."""
        return re.sub(r"/(opt|var/lib|etc)/somamemory", lambda place: f"{self.root}{place.group()}", text)

    def unit(self, name: str) -> ConfigParser:
        """Its lines; of those that are there twice, the last."""
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
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **given}

    def words(self, name: str, key: str = "ExecStart") -> list[str]:
        return shlex.split(self.unit(name)["Service"][key])

    def run(self, name: str, key: str = "ExecStart") -> subprocess.CompletedProcess[str]:
        """A command that ends: of a one-shot, or the one after a start."""
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
        """A service, not yet started."""
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

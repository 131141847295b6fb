"""The command line `somamemory`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, and exit with its exit code."""
    from somamemory import files, installation

    files.create_privately()
    installation.use_process()
    from somamemory.cli.app import app
    from somamemory.cli.errors import run

    sys.exit(run(app, sys.argv[1:]))

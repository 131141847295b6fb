"""The `somamemory` command line."""

from __future__ import annotations

import codecs
import io
import os
import sys


def main() -> None:
    """Run the command line, and exit with its exit code."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:  # Ctrl-C while modules were being imported
        os.write(2, b"Interrupted.\n")
        sys.exit(130)


def _run() -> int:
    open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(errors="replace")  # a terminal may not support all characters in a memory
    from somamemory import files, installation

    files.create_privately()
    installation.use_process()
    from somamemory.cli.app import app
    from somamemory.cli.errors import run

    return run(app, sys.argv[1:])


def open_standard_streams() -> None:
    """Replace closed standard streams, so that no file opened later gets their descriptor numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends

"""The command line `somamemory`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from somamemory.cli.app import run

    run()

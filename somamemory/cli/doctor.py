"""`somamemory doctor`: find what is wrong with an installation."""

from __future__ import annotations

import click


@click.command()
def doctor() -> None:
    """Find what is wrong with an installation."""

"""`somamemory completion`: print a shell script that completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog='\b\nExamples:\n  eval "$(somamemory completion bash)"\n  somamemory completion fish | source')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101 - click has all of SHELLS
    click.echo(kind(ctx.find_root().command, {}, "somamemory", "_SOMAMEMORY_COMPLETE").source())

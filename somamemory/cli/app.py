"""The `somamemory` commands."""

from __future__ import annotations

import click

from somamemory import __version__
from somamemory.cli import conversations, local, memories, tenants, transfer
from somamemory.cli.completion import completion
from somamemory.cli.doctor import doctor

EPILOG = """\b
Examples:
  somamemory serve
  somamemory store "Ada drinks coffee" --user ada
  somamemory search "What does Ada drink?" --user ada
  somamemory search coffee --json --url https://memory.example.org

Without --url, SOMA_URL or a profile, commands use the local data folder. Exit codes: 0 done, 1 rejected or failed,
2 invalid usage or input, 3 the server cannot be reached, 4 not found, 130 interrupted.
"""


class Commands(click.Group):
    """The command group. It also runs `manage.py` commands, such as `list_keys`, but does not list them."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or local.management_command(name)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="somamemory %(version)s")
@click.option("--no-color", envvar="NO_COLOR", is_flag=True, help="Print without colours.")
@click.option("--traceback", is_flag=True, help="Show the traceback if an unexpected error occurs.")
@click.pass_context
def app(ctx: click.Context, no_color: bool, traceback: bool) -> None:
    """Store, find and administer memories."""
    if no_color:
        ctx.color = False


for command in (
    *local.COMMANDS,
    *memories.COMMANDS,
    *transfer.COMMANDS,
    conversations.conversations,
    tenants.tenants,
    tenants.keys,
    doctor,
    completion,
):
    app.add_command(command)

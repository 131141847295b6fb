"""Local commands, which run Django management commands on the local data folder."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from somamemory import installation
from somamemory.cli.connection import Target, targeted
from somamemory.cli.errors import USAGE, CliError
from somamemory.cli.output import print_fields, print_json

# A copy of the names in `api.mcp.endpoint`, which cannot be imported without Django.
TOOL_PROFILES = ("default", "chatgpt", "knowledge-graph", "sekha")
_NAMESPACE = re.compile(r"[A-Za-z0-9._:/-]{1,255}")


def manage(arguments: Sequence[str], target: Target) -> int:
    """Run a management command, and return its exit code.

    With --json, print a JSON document that contains the lines of the command's output.
    """
    _refuse_server(arguments[0], target)
    target.use_data_dir()
    if not target.json:
        return _execute(arguments)
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()) as output:
        code = _execute(arguments)
    print_json({"command": arguments[0], "exit_code": code, "output": output.getvalue().splitlines()})
    return code


def _execute(arguments: Sequence[str]) -> int:
    """Run a management command as `manage.py` does, but raise its CommandError instead of printing it."""
    from django.core.management import ManagementUtility

    from somamemory.management import existing_database

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    existing_database.require(arguments)
    import django
    from django.core.management import call_command, get_commands

    django.setup()
    if arguments[0] not in get_commands() or "--help" in arguments or "-h" in arguments:
        ManagementUtility(["somamemory", *arguments]).execute()
        return 0
    try:
        call_command(*arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _refuse_server(command: str, target: Target) -> None:
    if not target.is_local:
        raise CliError(f"--url: {command} works only on the local data folder; run it on the server's machine", USAGE)


def management_command(name: str) -> click.Command | None:
    """Return a hidden command that runs the management command `name`. Return None if there is no such command."""
    folders = [Path(installation.__file__).parent, *(installation.HOME / package for package in installation.PACKAGES)]
    if not any((folder / "management" / "commands" / f"{name}.py").is_file() for folder in folders):
        return None

    @click.command(name=name, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> int:
        return manage([name, *arguments], Target(None, None, None, None, json=False))

    return run


@click.command(epilog="\b\nExamples:\n  somamemory serve\n  somamemory serve --port 8080 --data-dir ~/memories")
@click.option("--host", envvar="SOMA_HOST", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", envvar="SOMA_PORT", type=click.IntRange(1, 65535), help="Port to listen on. Default: 9595.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder for all data (SOMA_DATA_DIR).")
def serve(host: str | None, port: int | None, data_dir: str | None) -> int:
    """Start a server and run it until Ctrl-C. The data folder may be empty."""
    for name, value in (("SOMA_HOST", host), ("SOMA_PORT", port), ("SOMA_DATA_DIR", data_dir)):
        if value is not None:
            os.environ[name] = str(value)
    return _execute(["serve"])


@click.command(epilog="\b\nExample:\n  somamemory init --data-dir ~/memories")
@targeted
def init(target: Target) -> int | None:
    """Create the data folder, its database and the first API key. Safe to run again."""
    _refuse_server("init", target)
    folder = target.use_data_dir()
    existed = (folder / "first-key").is_file()
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()):
        _execute(["bootstrap"])
    key = folder / "first-key"
    done = {"data_dir": str(folder), "key_file": str(key) if key.is_file() else None, "key_created": not existed}
    if target.json:
        print_json(done)
    else:
        click.secho("The database is ready.", fg="green")
        print_fields(done, ("data_dir", "key_file"))
        click.echo("Next: somamemory serve")
    return None


def _wrapped(name: str, command: str, text: str, example: str) -> click.Command:
    """Return a command that passes its arguments to a management command."""

    @click.command(
        name=name,
        help=text,
        epilog=f"\b\nExample:\n  somamemory {example}\n\nAll options: somamemory {command} --help",
        context_settings={"ignore_unknown_options": True, "help_option_names": ["-h"]},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @targeted
    def run(target: Target, arguments: tuple[str, ...]) -> int:
        return manage([command, *arguments], target)

    return run


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def manage_(arguments: tuple[str, ...]) -> int:
    """Run a Django command, such as createsuperuser, which creates a console user."""
    return manage(arguments or ["help"], Target(None, None, None, None, json=False))


def _check_namespace(_: click.Context, __: click.Parameter, namespace: str | None) -> str | None:
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        raise click.BadParameter("must be 1 to 255 characters: letters, digits and . _ : / -")
    return namespace


@click.command(
    epilog='\b\nExample, in the configuration of an assistant:\n  {"command": "somamemory", "args": ["mcp"]}'
)
@click.option("--namespace", callback=_check_namespace, help="Namespace for all memories.")
@click.option(
    "--profile",
    "tool_profile",
    type=click.Choice(TOOL_PROFILES),
    help="Set of tools to offer, such as chatgpt or sekha.",
)
@partial(targeted, without=("profile", "json"))  # here, --profile selects tools
def mcp(target: Target, namespace: str | None, tool_profile: str | None) -> None:
    """Serve the Model Context Protocol on standard input and output."""
    from somamemory import extras

    extras.require("mcp", "somamemory mcp")
    if target.is_local:
        target.use_data_dir()
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
        import django

        django.setup()
    from api.mcp import stdio

    stdio.main(target.url, target.api_key, target.tenant, namespace, tool_profile)


manage_.name = "manage"
COMMANDS: Sequence[Any] = (
    serve,
    init,
    _wrapped("backup", "backup", "Back up the installation while it is running.", "backup --to /backups"),
    _wrapped("restore", "restore", "Restore a backup into an empty installation.", "restore /backups/2026-11-28"),
    _wrapped(
        "reconcile", "reconcile", "Compare the vector index with the database and repair it.", "reconcile --repair"
    ),
    _wrapped("reembed", "reembed", "Embed all memories again, without downtime.", "reembed --provider openai"),
    _wrapped(
        "migrate-database", "migrate_database", "Move from SQLite to PostgreSQL.", "migrate-database --to postgres://…"
    ),
    manage_,
    mcp,
)

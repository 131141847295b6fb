"""Commands that store, read and search memories, and assemble a context."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Callable
from typing import Any

import click

from somamemory.cli.connection import Target, targeted
from somamemory.cli.errors import NOT_FOUND, USAGE, CliError
from somamemory.cli.output import (
    Column,
    Row,
    paged,
    print_fields,
    print_json,
    print_page,
    print_table,
    printable,
    text_of,
)

_NUMBER = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
_COORDINATE = re.compile(f"{_NUMBER}(,{_NUMBER})+")


def text_of_memory(memory: Row) -> object:
    payload = memory["payload"]
    return payload.get("text", payload)


def name_of(memory: Row) -> str:
    return str(memory["key"] or memory["coord"])


COLUMNS: list[Column] = [
    ("name", name_of),
    ("namespace", "namespace"),
    ("created", "created_at"),
    ("text", text_of_memory),
]
HITS: list[Column] = [("score", "score"), *COLUMNS[:2], COLUMNS[3]]


def scoped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--user`, `--agent` and `--session` to a command."""
    for name in reversed(("user", "agent", "session")):
        text = f"Id of the {name} to {'whom' if name == 'user' else 'which'} the data belongs."
        command = click.option(f"--{name}", f"{name}_id", metavar="ID", help=text)(command)
    return command


def json_object(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """Parse an option that takes a JSON object."""
    if value is None:
        return None
    try:
        parsed = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"must be JSON, such as '{{\"a\": 1}}': {error}") from None
    if not isinstance(parsed, dict):
        raise click.BadParameter("must be a JSON object, such as '{\"a\": 1}'")
    return parsed


def named(name: str) -> dict[str, str]:
    """Return `{"id": name}` for a UUID, `{"coord": name}` for a coordinate such as 1,2,3, or else `{"key": name}`."""
    try:
        return {"id": str(uuid.UUID(name))}
    except ValueError:
        return {"coord": name} if _COORDINATE.fullmatch(name) else {"key": name}


def operation_for(name: str, kind: str | None, verb: str) -> tuple[str, dict[str, str]]:
    fields = named(name) if kind is None else {kind: name}
    (kind,) = fields
    return f"memories.{verb}" if kind == "coord" else f"memories.{verb}_by_{kind}", fields


with_kind = click.option(
    "--as",
    "kind",
    type=click.Choice(["key", "coord", "id"]),
    help="Kind of NAME. Default: id for a UUID, coord for several numbers such as 1,2,3, otherwise key.",
)


@click.command(
    epilog='\b\nExamples:\n  somamemory store "Ada drinks coffee" --user ada\n'
    '  somamemory store --payload \'{"text": "Lisbon", "visited": 2024}\' --key trips/lisbon\n'
    "  cat note.txt | somamemory store -"
)
@click.argument("text", required=False)
@click.option("--payload", callback=json_object, metavar="JSON", help="A JSON object to store instead of text.")
@click.option("--key", help="Key of the memory. An existing memory with this key is replaced.")
@click.option("--coord", help="Coordinate, such as 1,2,3. An existing memory at this coordinate is replaced.")
@click.option("--namespace", help="Namespace. Default: 'default'.")
@click.option("--type", "memory_type", type=click.Choice(["episodic", "semantic"]))
@click.option("--importance", type=click.FloatRange(min=0))
@click.option("--metadata", callback=json_object, metavar="JSON")
@click.option(
    "--ttl", "ttl_seconds", type=click.IntRange(min=1), metavar="SECONDS", help="Time until the memory expires."
)
@scoped
@targeted
def store(target: Target, text: str | None, payload: dict[str, Any] | None, **fields: Any) -> None:
    """Store TEXT as a memory. If TEXT is -, read the text from standard input."""
    if (text is None) == (payload is None):
        raise CliError("TEXT: give either TEXT or --payload", USAGE, field="text")
    if payload is None:
        payload = {"text": sys.stdin.read().rstrip("\n") if text == "-" else text}
    stored = target.call("memories.store", payload=payload, **fields)
    if target.json:
        print_json(stored)
        return
    verb = "Stored" if stored["created"] else "Replaced"
    click.secho(f"{verb} {text_of(stored['key'] or stored['coord'])}", fg="green")
    print_fields(stored, ("id", "namespace", "version", "index_state"))


@click.command(epilog="\b\nExamples:\n  somamemory get users/ada/seat\n  somamemory get 1,2,3 --json")
@click.argument("name")
@with_kind
@click.option("--namespace", help="Namespace of the key or coordinate.")
@click.option("--as-of", metavar="TIME", help="Show the memory as it was at this time, such as 2026-01-31T12:00:00Z.")
@targeted
def get(target: Target, name: str, kind: str | None, namespace: str | None, as_of: str | None) -> None:
    """Show a memory by its key, coordinate or id."""
    operation, fields = operation_for(name, kind, "get")
    memory = target.call(operation, **fields, namespace=None if "id" in fields else namespace, as_of=as_of)["memory"]
    print_json(memory) if target.json else print_fields(memory)


@click.command(epilog="\b\nExamples:\n  somamemory delete users/ada/seat\n  somamemory delete 1,2,3 --purge")
@click.argument("name")
@with_kind
@click.option("--namespace", help="Namespace of the key or coordinate.")
@click.option("--purge", is_flag=True, help="Delete the memory permanently, including its history.")
@targeted
def delete(target: Target, name: str, kind: str | None, namespace: str | None, purge: bool) -> None:
    """Delete a memory by its key, coordinate or id."""
    operation, fields = operation_for(name, kind, "delete")
    done = target.call(operation, **fields, purge=purge or None, namespace=None if "id" in fields else namespace)
    if not done["deleted"]:
        raise CliError(f"there is no memory named '{name}'", NOT_FOUND, code="not_found")
    print_json(done) if target.json else click.secho(f"Deleted {text_of(name)}", fg="green")


@click.command(name="list", epilog="\b\nExample:\n  somamemory list --user ada --limit 20")
@click.option("--namespace", help="Namespace. Default: 'default'.")
@click.option("--key-prefix", metavar="KEY", help="List only this key and the keys below it.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@paged
@scoped
@targeted
def list_(target: Target, **fields: Any) -> None:
    """List memories."""
    page = target.call("memories.list", **fields)
    if target.json:
        print_json(page)
    else:
        print_page(page, COLUMNS, 'No memories. Store one: somamemory store "Ada drinks coffee"')


@click.command(
    epilog='\b\nExamples:\n  somamemory search "What does Ada drink?" --user ada\n'
    "  somamemory search coffee --mode keyword --top-k 3 --json"
)
@click.argument("query")
@click.option("--top-k", type=click.IntRange(min=1), default=10, show_default=True, help="Maximum number of results.")
@click.option("--namespace", help="Namespace. Default: 'default'.")
@click.option("--mode", type=click.Choice(["hybrid", "semantic", "keyword"]))
@click.option("--min-score", type=float)
@click.option("--filters", callback=json_object, metavar="JSON", help='Conditions, such as {"payload.city": "Lisbon"}.')
@scoped
@targeted
def search(target: Target, **fields: Any) -> None:
    """Search memories by meaning and keyword."""
    result = target.call("memories.search", **fields)
    if target.json:
        print_json(result)
        return
    print_table(result["memories"], HITS, "Nothing found.")
    warn_if_degraded(result)


@click.command(epilog='\b\nExample:\n  somamemory context "Plan the trip to Lisbon" --budget 2000 --user ada')
@click.argument("query")
@click.option("--budget", "context_budget", type=click.IntRange(min=1), help="Maximum number of tokens.")
@click.option("--conversation", "conversation_id", metavar="ID", help="Use only this conversation.")
@click.option("--folder", help="Use only this folder and its subfolders.")
@scoped
@targeted
def context(target: Target, **fields: Any) -> None:
    """Assemble the most useful messages for a prompt, within a token budget."""
    result = target.call("context.assemble", **fields, format="text")
    if target.json:
        print_json(result)
    else:
        click.echo(printable(result.get("text") or result.get("prompt") or "") or "No messages match the query.")
        warn_if_degraded(result)


def warn_if_degraded(result: Row) -> None:
    if result.get("degraded"):
        parts = ", ".join(result["degraded"])
        click.secho(
            f"The results are incomplete, because parts of the search are degraded: {parts}.", fg="yellow", err=True
        )


COMMANDS = (store, get, list_, delete, search, context)

"""Commands for conversations."""

from __future__ import annotations

from typing import Any

import click

from somamemory.cli.connection import Target, targeted
from somamemory.cli.memories import scoped, warn_if_degraded
from somamemory.cli.output import Column, paged, print_fields, print_json, print_page, print_table

ROLES = click.Choice(["user", "assistant", "system", "tool", "developer"])
LISTED: list[Column] = [
    ("id", "id"), ("label", "label"), ("folder", "folder"), ("status", "status"), ("messages", "message_count"),
    ("updated", "updated_at"),
]  # fmt: skip
MESSAGES: list[Column] = [("turn", "turn"), ("time", "timestamp"), ("role", "role"), ("content", "content")]
HITS: list[Column] = [
    ("score", "score"), ("conversation", "conversation_id"), ("role", "role"), ("content", "content"),
]  # fmt: skip


@click.group(
    epilog="\b\nExamples:\n  somamemory conversations create --label Coffee --folder /talk\n"
    '  somamemory conversations append ID user "No sugar today."\n  somamemory conversations search sugar'
)
def conversations() -> None:
    """Record, list, read and search conversations."""


@conversations.command(name="list")
@click.option("--label")
@click.option("--folder")
@click.option("--status", type=click.Choice(["active", "pinned", "archived"]))
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@paged
@scoped
@targeted
def list_(target: Target, **fields: Any) -> None:
    """List conversations, most recently changed first."""
    page = target.call("conversations.list", **fields)
    print_json(page) if target.json else print_page(page, LISTED, "No conversations.", "results")


@conversations.command()
@click.option("--label")
@click.option("--folder", help="Folder, such as /work/plans.")
@click.option("--external-id", help="Your own id. If a conversation with this id exists, it is returned unchanged.")
@scoped
@targeted
def create(target: Target, external_id: str | None, **fields: Any) -> None:
    """Create a conversation."""
    if external_id is None:
        _show(target, target.call("conversations.create", **fields))
    else:  # this route requires a body, even an empty one
        _show(target, target.call("conversations.create_once", external_id=external_id, messages=[], **fields))


@conversations.command()
@click.argument("id")
@targeted
def get(target: Target, id: str) -> None:
    """Show a conversation without its messages."""
    _show(target, target.call("conversations.get", id=id))


@conversations.command()
@click.argument("id")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True)
@paged
@targeted
def messages(target: Target, **fields: Any) -> None:
    """Show a conversation's messages."""
    page = target.call("conversations.list_messages", **fields)
    print_json(page) if target.json else print_page(page, MESSAGES, "No messages.")


@conversations.command()
@click.argument("id")
@click.argument("role", type=ROLES)
@click.argument("text")
@targeted
def append(target: Target, id: str, role: str, text: str) -> None:
    """Append a message to a conversation."""
    done = target.call("conversations.append", id=id, messages=[{"role": role, "content": text}])
    print_json(done) if target.json else click.secho("Added the message.", fg="green")


@conversations.command()
@click.argument("query")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True)
@scoped
@targeted
def search(target: Target, **fields: Any) -> None:
    """Search messages by meaning and keyword."""
    result = target.call("messages.search", **fields)
    if target.json:
        print_json(result)
        return
    print_table(result["results"], HITS, "Nothing found.")
    warn_if_degraded(result)


@conversations.command()
@click.argument("id")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@targeted
def delete(target: Target, id: str, yes: bool) -> None:
    """Delete a conversation and its messages. It can be restored during the retention period."""
    if not yes:
        target.confirm(f"Delete conversation {id} and its messages?")
    _show(target, target.call("conversations.delete", id=id))


def _show(target: Target, result: dict[str, Any]) -> None:
    print_json(result) if target.json else print_fields(result)

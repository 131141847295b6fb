"""Commands for tenants and API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from somamemory import times
from somamemory.cli.connection import Target, targeted
from somamemory.cli.output import Column, Row, paged, print_fields, print_json, print_page

TENANTS: list[Column] = [
    ("slug", "slug"), ("name", "name"), ("tier", "tier"), ("active", "active"), ("created", "created_at"),
]  # fmt: skip
KEYS: list[Column] = [
    ("prefix", "prefix"),
    ("state", lambda key: _state(key, datetime.now(UTC))),
    ("scopes", "scopes"),
    ("namespaces", lambda key: key["namespaces"] or "all"),
    ("user", lambda key: key["user_id"] or "all"),
    ("expires", "expires_at"),
    ("name", "name"),
]
DEFAULT = "default"
SCOPES = click.Choice(["read", "write", "delete", "admin"])


@click.group(epilog="\b\nExamples:\n  somamemory tenants create acme\n  somamemory tenants usage acme --json")
def tenants() -> None:
    """Create, list, change and erase tenants."""


@tenants.command(name="list")
@click.option("--limit", type=click.IntRange(1, 100), default=100, show_default=True)
@paged
@targeted
def list_tenants(target: Target, **fields: Any) -> None:
    """List tenants."""
    page = target.call("tenants.list", **fields)
    print_json(page) if target.json else print_page(page, TENANTS, "No tenants.")


@tenants.command(name="create")
@click.argument("slug")
@click.option("--name", help="Display name.")
@targeted
def create_tenant(target: Target, slug: str, name: str | None) -> None:
    """Create a tenant."""
    _show(target, target.call("tenants.create", slug=slug, name=name))


@tenants.command(name="get")
@click.argument("slug")
@targeted
def get_tenant(target: Target, slug: str) -> None:
    """Show a tenant."""
    _show(target, target.call("tenants.get", slug=slug))


@tenants.command(name="update")
@click.argument("slug")
@click.option("--name", help="Display name.")
@click.option("--active/--inactive", default=None, help="Accept or reject the tenant's keys.")
@click.option("--tier", type=click.Choice(["free", "standard", "premium"]))
@targeted
def update_tenant(target: Target, slug: str, **changes: Any) -> None:
    """Change a tenant."""
    _show(target, target.call("tenants.update", slug=slug, **changes))


@tenants.command(name="usage")
@click.argument("slug")
@targeted
def usage(target: Target, slug: str) -> None:
    """Show a tenant's usage and quotas."""
    _show(target, target.call("tenants.usage", slug=slug))


@tenants.command(name="erase")
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@targeted
def erase_tenant(target: Target, slug: str, yes: bool) -> None:
    """Erase a tenant and all its data. This cannot be undone."""
    if not yes:
        target.confirm(f"Erase tenant {slug} and all its memories and keys?")
    _show(target, target.call("tenants.erase", slug=slug))


@click.group(epilog="\b\nExamples:\n  somamemory keys create acme --scope read\n  somamemory keys revoke acme PREFIX")
def keys() -> None:
    """Create, list, rotate and revoke a tenant's API keys."""


@keys.command(name="list")
@click.argument("slug", default=DEFAULT)
@click.option("--limit", type=click.IntRange(1, 100), default=100, show_default=True)
@paged
@targeted
def list_keys(target: Target, slug: str, **fields: Any) -> None:
    """List a tenant's keys, without their secrets, which are not stored."""
    page = target.call("keys.list", slug=slug, **fields)
    empty = f"No keys. Create one: somamemory keys create {slug}"
    print_json(page) if target.json else print_page(page, KEYS, empty)


@keys.command(name="create")
@click.argument("slug", default=DEFAULT)
@click.option("--name", help="Description of the key.")
@click.option("--scope", "scopes", multiple=True, type=SCOPES, default=("read", "write", "delete"), show_default=True)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="Namespace that the key can access. May be repeated.",
)
@click.option("--user", "user_id", metavar="ID", help="Limit the key to this user's data.")
@click.option("--expires-at", metavar="TIME", help="When the key expires, such as 2027-01-31T00:00:00Z.")
@targeted
def create_key(target: Target, slug: str, **options: Any) -> None:
    """Create an API key and print its secret."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    issued = target.call("keys.create", slug=slug, **{name: value for name, value in given.items() if value})
    _show_secret(target, issued)


@keys.command(name="rotate")
@click.argument("slug")
@click.argument("prefix")
@targeted
def rotate_key(target: Target, slug: str, prefix: str) -> None:
    """Replace a key with a new one that has the same permissions."""
    _show_secret(target, target.call("keys.rotate", slug=slug, prefix=prefix))


@keys.command(name="revoke")
@click.argument("slug")
@click.argument("prefix")
@targeted
def revoke_key(target: Target, slug: str, prefix: str) -> None:
    """Revoke a key."""
    _show(target, target.call("keys.revoke", slug=slug, prefix=prefix))


def _state(key: Row, now: datetime) -> str:
    if key["revoked_at"]:
        return "revoked"
    return "expired" if key["expires_at"] and times.parse(key["expires_at"]) <= now else "active"


def _show(target: Target, result: dict[str, Any]) -> None:
    print_json(result) if target.json else print_fields(result)


def _show_secret(target: Target, issued: dict[str, Any]) -> None:
    if target.json:
        print_json(issued)
        return
    click.echo("Copy this key now; it cannot be shown again:", err=True)
    click.echo(issued["key"])

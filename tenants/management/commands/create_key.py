"""`manage.py create_key SLUG`: create an API key."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import key_form, keys, selectors
from tenants.caller import SCOPES
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Create an API key for a tenant or, with --operator, for all tenants."

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("slug", nargs="?", help="tenant slug; omit it with --operator")
        whose.add_argument(
            "--operator", action="store_true", help="create an operator key, which can act for all tenants"
        )
        parser.add_argument("--name", default="", help="a description of the key")
        parser.add_argument(
            "--scope",
            action="append",
            choices=SCOPES,
            help="scope of the key; may be repeated; default: read, write and delete, or all scopes with --operator",
        )
        parser.add_argument(
            "--namespace", action="append", default=[], help="restrict the key to this namespace; may be repeated"
        )
        parser.add_argument("--user", help="restrict the key to this user's data")
        form = parser.add_mutually_exclusive_group()
        form.add_argument(
            "--style",
            choices=tuple(key_form.STYLES),
            default="soma",
            help="beginning of the key: soma_ (default), or sk-sekha- for Sekha's clients",
        )
        form.add_argument(
            "--import-secret",
            action="store_true",
            help="read an existing secret of 32 or more characters from standard input",
        )

    def handle(self, *args: Any, slug: str | None, name: str, **options: Any) -> None:
        scopes = options["scope"] or (SCOPES if options["operator"] else ("read", "write", "delete"))
        with errors_as_one_line():
            tenant = selectors.get_tenant(operator(), slug) if slug is not None else None
            issued = keys.issue(
                operator(),
                tenant,
                name=name,
                scopes=scopes,
                namespaces=options["namespace"],
                user_id=options["user"],
                secret=_read_secret() if options["import_secret"] else None,
                style=options["style"],
            )
        if options["import_secret"]:
            self.stdout.write(self.style.SUCCESS(f"Imported the secret as a key with prefix {issued.key.prefix}."))
            return
        self.stderr.write("Copy this key now; it cannot be shown again:")
        self.stdout.write(issued.secret)


def _read_secret() -> str:
    """Read the secret from a pipe, or prompt for it without echoing it.

    The secret is not a command-line argument, because other users of the machine could see it there.
    """
    if sys.stdin.isatty():
        return getpass.getpass("Secret: ")
    return sys.stdin.readline().rstrip("\r\n")

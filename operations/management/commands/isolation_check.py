"""`manage.py isolation_check`: try to access one tenant's data with another tenant's key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from operations.isolation import check
from operations.isolation.http import Server
from somamemory import server_address
from somamemory.management.progress import ProgressBar
from tenants.management.command_line import errors_as_one_line, operator

NOT_ISOLATED = 1


class Command(BaseCommand):
    help = (
        "Check that no tenant or user of this installation can access another's data. The check creates two tenants, "
        "tries to access one tenant's data through every route, both with the other tenant's key and with a key that "
        "is limited to another user, and then erases both tenants. Requires a running server. Exits with code 0 if "
        "nothing was revealed or changed, and with 1 otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url", default=_default_url(), help="URL of the server; default: from SOMA_HOST and SOMA_PORT"
        )

    def handle(self, *args: Any, url: str, **options: Any) -> None:
        server, bar = Server(url), ProgressBar(self.stderr)
        try:
            with errors_as_one_line():
                result = check.run(operator(), server, bar)
        finally:
            bar.clear()
            server.close()
        for problem in result.problems:
            self.stdout.write(self.style.ERROR(problem))
        self.stdout.write(
            f"{result.requests} requests to {result.routes} routes; both tenants erased ({result.erased_rows} rows)."
        )
        if result.problems:
            raise SystemExit(NOT_ISOLATED)
        self.stdout.write(self.style.SUCCESS("OK: no other tenant's or user's data was revealed or changed."))


def _default_url() -> str:
    return server_address.local_url(settings.HOST, settings.PORT)

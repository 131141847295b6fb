"""`manage.py serve`: start a server, even if the data folder is empty."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from somamemory import checks, server_address
from somamemory.db import migration_stages
from somamemory.errors import ConfigurationError
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = (
        "Migrate the database, create the first API key if there is none, and serve on SOMA_HOST:SOMA_PORT until you "
        "press Ctrl-C."
    )
    requires_migrations_checks = False
    requires_system_checks: list[str] = []  # our own checks print each error on one line

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_as_one_line():
            checks.refuse_impossible_settings()
            _refuse_a_used_port()
            if connection.vendor == "sqlite":
                migration_stages.contract()  # no other server can run the previous version
            call_command("bootstrap")
        config = Path(settings.BASE_DIR) / "deploy" / "gunicorn.conf.py"
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
        os.environ["SOMA_DATA_DIR"] = str(settings.DATA_DIR)  # a relative path would change meaning
        os.chdir(settings.BASE_DIR)
        # Replace this process, so that gunicorn receives signals directly and the memory used for preparation is freed.
        command = [sys.executable, "-m", "gunicorn", "--config", str(config), "somamemory.wsgi:application"]
        sys.stdout.flush()
        os.execv(sys.executable, command)  # noqa: S606 - no shell


def _refuse_a_used_port() -> None:
    """Raise ConfigurationError if the server cannot listen on its port.

    Gunicorn itself would try five times and print eleven lines.
    """
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like the server, accept a port in TIME_WAIT
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                where = server_address.authority(settings.HOST, settings.PORT)
                raise ConfigurationError(f"cannot listen on {where}: {error.strerror}") from None
            raise ConfigurationError(
                f"port {settings.PORT} on {settings.HOST} is in use; if SomaMemory is not already running there, "
                "choose another port with SOMA_PORT"
            ) from None

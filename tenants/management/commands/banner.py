"""`manage.py banner`: print the server's URL and an example request."""

from __future__ import annotations

import shlex
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from somamemory import server_address
from tenants import bootstrap


class Command(BaseCommand):
    help = "Print the server's URL and an example request."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        url = server_address.local_url(settings.HOST, settings.PORT)
        key = "YOUR_KEY"
        if bootstrap.path().is_file():
            key = f"$(cat {shlex.quote(str(bootstrap.path()))})"
        self.stdout.write(
            f"\nSomaMemory is ready at {url}  (docs: {url}/api/v1/docs, data: {settings.DATA_DIR}, stop with "
            "Ctrl-C)\n\n"
            f"Store a first memory:\n\n"
            f"curl -s {url}/memories -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' "
            # A separate namespace, so that the example request does not replace another memory.
            """-d '{"coord": "1,2,3", "namespace": "hello", "payload": {"text": "The quick brown fox"}}'\n"""
        )
        self.stdout.flush()

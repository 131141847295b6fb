"""`manage.py import_conversations`: files of other services, of any size, one conversation in memory at a time."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from conversations.transfer import formats, importing
from conversations.transfer.importing import Report
from somamemory.errors import SomaError
from somamemory.management.progress import ProgressBar
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG

SUFFIXES = (".json", ".jsonl", ".ndjson", ".zip", ".md", ".markdown", ".txt", ".text")
_SETTLED_S = 5.0  # a file in a watched folder that has not changed for so long has been written
_LOOK_EVERY_S = 2.0
_WAIT_S = 5.0


def _path(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise ArgumentTypeError(f"there is no {text}")
    return path


class Command(BaseCommand):
    help = (
        "Take over conversations: ChatGPT's or Claude's export (as it comes, or unpacked), Markdown, text, or our own "
        "export. What is there already is not stored twice; what has grown gets its new messages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=_path, help="a file, or a folder of files")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="whose they become")
        parser.add_argument("--source", default=formats.AUTO, choices=formats.SOURCES)
        parser.add_argument("--dry-run", action="store_true", help="read and report, store nothing")
        parser.add_argument("--watch", action="store_true", help="go on with files as they come into the folder")

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_as_one_line():
            _map_nothing()
            caller = Caller.command(find_tenant(options["tenant"]))
            if options["watch"]:
                self._watch(caller, options)
                return
            failed = sum(self._take_in(caller, file, options).failed for file in _files(options["path"]))
        if failed:
            raise CommandError(f"{failed} could not be taken over; see above", returncode=2)

    def _watch(self, caller: Caller, options: dict[str, Any]) -> None:
        """Until Ctrl-C. After a start every file is looked at once more, which adds nothing."""
        if not options["path"].is_dir():
            raise CommandError("--watch needs a folder")
        done: dict[Path, float] = {}
        try:
            while True:
                for file in _files(options["path"]):
                    changed_at = file.stat().st_mtime
                    if done.get(file) != changed_at and time.time() - changed_at >= _SETTLED_S:
                        self._take_in(caller, file, options)
                        done[file] = changed_at
                time.sleep(_LOOK_EVERY_S)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _take_in(self, caller: Caller, path: Path, options: dict[str, Any]) -> Report:
        bar, size = ProgressBar(self.stdout), max(path.stat().st_size, 1)
        with path.open("rb") as file:

            def show(report: Report) -> None:
                share = 1.0 if file.closed else file.tell() / size
                bar(path.name, share, f"{report.seen:,} conversations")

            items = formats.read(file, options["source"], path.name)
            report = importing.take_in(caller, items, dry_run=options["dry_run"], progress=show, wait=self._wait)
        bar.clear()
        self._tell(path, report)
        return report

    def _wait(self, error: SomaError) -> None:
        """The server, or a worker, makes room: it must be running."""
        self.stderr.write(f"waiting: {error}")
        time.sleep(_WAIT_S)

    def _tell(self, path: Path, report: Report) -> None:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items())) or "nothing"
        self.stdout.write(f"{path}: {told}; {report.messages} messages.")
        if report.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.left_out.items()))
            self.stdout.write(f"  left out, as they are no messages: {kinds}")
        for error in report.errors:
            self.stdout.write(self.style.WARNING(f"  {error.place}: {error.reason}"))


def _map_nothing() -> None:
    """SQLite maps up to 256 MiB of its file into a process: good for many readers, here memory taken for nothing."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA mmap_size = 0")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and each.suffix.lower() in SUFFIXES)

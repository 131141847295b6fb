"""`manage.py import_conversations`: files of other services, of any size, one conversation in memory at a time."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from conversations.transfer import formats, importing
from conversations.transfer.formats.base import Broken, Imported
from conversations.transfer.importing import Report
from somamemory.errors import SomaError
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import speaking_errors
from tenants.models import DEFAULT_TENANT_SLUG

SUFFIXES = (".json", ".jsonl", ".ndjson", ".zip", ".md", ".markdown", ".txt", ".text")
_SHOW_EVERY_S = 0.5
_BAR = 30
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
        with speaking_errors():
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
        bar = _Bar(self, path)
        with path.open("rb") as file:
            found = formats.read(file, options["source"], path.name)
            report = importing.take_in(
                caller, bar.over(found, file), dry_run=options["dry_run"], progress=bar.show, wait=self._wait
            )
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


class _Bar:
    """How far a file has been read, on a terminal."""

    def __init__(self, command: BaseCommand, path: Path) -> None:
        self._command = command
        self._size = max(path.stat().st_size, 1)
        self._at = 0
        self._shown_at = 0.0
        self._visible = command.stdout.isatty()

    def over(self, found: Iterator[Imported | Broken], file: Any) -> Iterator[Imported | Broken]:
        for item in found:
            self._at = file.tell() if not file.closed else self._size
            yield item

    def show(self, report: Report) -> None:
        now = time.monotonic()
        if not self._visible or now - self._shown_at < _SHOW_EVERY_S:
            return
        self._shown_at = now
        share = min(self._at / self._size, 1.0)
        filled = "#" * round(share * _BAR)
        self._command.stdout.write(f"\r[{filled:<{_BAR}}] {share:4.0%} {report.seen} conversations", ending="")
        self._command.stdout.flush()

    def clear(self) -> None:
        if self._visible:
            self._command.stdout.write("\r" + " " * 70 + "\r", ending="")


def _map_nothing() -> None:
    """SQLite maps up to 256 MiB of its file into a process: good for many readers, here memory taken for nothing."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA mmap_size = 0")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and each.suffix.lower() in SUFFIXES)

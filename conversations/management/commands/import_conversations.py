"""`manage.py import_conversations`: import files of any size, holding one conversation in memory at a time."""

from __future__ import annotations

import os
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from conversations.transfer import files, formats, importing
from conversations.transfer.files import OpenFile
from conversations.transfer.formats.base import Broken
from conversations.transfer.importing import Report
from somamemory.errors import SomaError
from somamemory.management.progress import ProgressBar
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG

_SETTLED_S = 5.0  # a file in a watched folder counts as complete once it has not changed for this long
_POLL_S = 2.0
_WAIT_S = 5.0


def _path(text: str) -> Path:
    path = Path(text)
    if not os.path.lexists(path):
        raise ArgumentTypeError(f"{text} does not exist")
    return path


class Command(BaseCommand):
    help = (
        "Import conversations from a ChatGPT or Claude export (the ZIP file or its contents), Markdown, plain text, "
        "or a SomaMemory export. If you import again, only new conversations and "
        "messages are added."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=_path, help="file to import, or a folder of files to import")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="tenant slug")
        parser.add_argument("--source", default=formats.AUTO, choices=formats.SOURCES)
        parser.add_argument("--dry-run", action="store_true", help="only report what would be imported")
        parser.add_argument(
            "--watch", action="store_true", help="keep running and import files as they are added to the folder"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_as_one_line():
            _disable_mmap()
            caller = Caller.command(find_tenant(options["tenant"]))
            if options["watch"]:
                self._watch(caller, options)
                return
            failed = sum(self._import(caller, file, options).failed for file in files.files(options["path"]))
        if failed:
            raise CommandError(f"conversations not imported: {failed}; see the errors above", returncode=2)

    def _watch(self, caller: Caller, options: dict[str, Any]) -> None:
        """Import files until Ctrl-C. After a restart, all files are read again, which adds nothing."""
        if not options["path"].is_dir():
            raise CommandError(f"--watch requires a folder, but {options['path']} is a file")
        done: dict[Path, float] = {}
        refused: set[Broken] = set()
        try:
            while True:
                for file in files.files(options["path"]):
                    if isinstance(file, Broken):
                        if file not in refused:
                            self._import(caller, file, options)
                        refused.add(file)
                        continue
                    changed_at = file.status.st_mtime
                    if done.get(file.path) != changed_at and time.time() - changed_at >= _SETTLED_S:
                        self._import(caller, file, options)
                        done[file.path] = changed_at
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _import(self, caller: Caller, opened: OpenFile | Broken, options: dict[str, Any]) -> Report:
        if isinstance(opened, Broken):
            report = Report()
            report.note(opened)
            self._print_errors(report)
            return report
        bar, size = ProgressBar(self.stdout), max(opened.status.st_size, 1)

        def show(report: Report) -> None:
            share = 1.0 if opened.file.closed else opened.file.tell() / size
            bar(opened.path.name, share, f"{report.seen:,} conversations")

        may_be_text = opened.path.suffix.lower() not in files.NOT_TEXT
        items = formats.read(opened.file, options["source"], opened.path.name, may_be_text=may_be_text)
        report = importing.import_conversations(
            caller, items, dry_run=options["dry_run"], progress=show, wait=self._wait
        )
        if opened.has_changed():
            report.note(Broken(str(opened.path), "was written to during the import; import it again"))
        bar.clear()
        self._print(opened.path, report)
        return report

    def _wait(self, error: SomaError) -> None:
        """Wait until the server or a worker has indexed pending memories. One of them must be running."""
        self.stderr.write(f"waiting: {error}")
        time.sleep(_WAIT_S)

    def _print(self, path: Path, report: Report) -> None:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items())) or "nothing"
        self.stdout.write(f"{path}: {counts}; {report.messages} messages.")
        if report.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.left_out.items()))
            self.stdout.write(f"  skipped, because they are not messages: {kinds}")
        self._print_errors(report)

    def _print_errors(self, report: Report) -> None:
        for error in report.errors:
            self.stdout.write(self.style.WARNING(f"  {error.place}: {error.reason}"))


def _disable_mmap() -> None:
    """Turn off SQLite's memory mapping of up to 256 MiB.

    The mapping speeds up concurrent readers. An import would not benefit from the mapping, but would still use the
    memory.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA mmap_size = 0")

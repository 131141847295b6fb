"""`manage.py verify_audit`: detect changes to the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import selectors
from tenants.audit import chain, progress, publishing, verification
from tenants.audit.chain import Head
from tenants.audit.verification import Report
from tenants.management.command_line import errors_as_one_line, operator

TAMPERED = 1


class Command(BaseCommand):
    help = (
        "Verify every tenant's audit log: detect changed, deleted, inserted and swapped rows, missing blocks "
        "and, with --heads, a truncated chain. Exits with code 0 if the log is intact, and with 1 if it has been "
        "tampered with."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="verify only this tenant")
        parser.add_argument(
            "--heads",
            type=Path,
            metavar="FILE",
            help="file with chain heads that were exported or published earlier; default: the file in SOMA_AUDIT_HEADS",
        )
        parser.add_argument(
            "--export",
            type=Path,
            metavar="FILE",
            help="write the current chain heads to this file; store it on another machine",
        )

        parser.add_argument(
            "--accept",
            action="store_true",
            help="resume sealing after you have investigated tampering; rows that are not in any block stay "
            "unsealed, and every verification reports them",
        )

    def handle(
        self, *args: Any, tenant: str | None, heads: Path | None, export: Path | None, accept: bool, **options: Any
    ) -> None:
        if tenant is not None and (export or accept):
            raise CommandError("--export and --accept apply to all tenants; omit --tenant")
        with errors_as_one_line():
            only = selectors.get_tenant(operator(), tenant) if tenant is not None else None
            report = verification.check(operator(), _known(heads or _published()), only)
            self._print(report)
            if export and report.intact:
                export.write_text(chain.dump_heads(verification.heads(operator())))
                self.stdout.write(f"Wrote the heads to {export}.")
            if accept:
                progress.accept(operator())
                self.stdout.write("Accepted. New rows are sealed again; the audit log records this decision.")
        if not report.intact:
            raise SystemExit(TAMPERED)

    def _print(self, report: Report) -> None:
        for problem in report.problems:
            self.stdout.write(self.style.ERROR(str(problem)))
        self.stdout.write(f"{report.tenants:,} tenants, {report.blocks:,} blocks, {report.events:,} sealed rows.")
        if report.unsealed_since:
            since = f"{report.unsealed_since:%Y-%m-%d %H:%M:%S}"
            self.stdout.write(f"{report.unsealed:,} rows since {since} UTC are not sealed yet and cannot be verified.")
        if report.intact:
            self.stdout.write(self.style.SUCCESS("OK: the audit log is intact."))


def _published() -> Path | None:
    file = publishing.published_file()
    return file if file is not None and file.exists() else None


def _known(file: Path | None) -> list[Head]:
    if file is None:
        return []
    try:
        return verification.load_heads(file.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}") from None

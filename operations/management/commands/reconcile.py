"""`manage.py reconcile`: compare the vector index with the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from memories.index.reconcile import KINDS, Report
from memories.models import Job
from operations import jobs
from operations.management.watch_job import watch
from somamemory.errors import ConfigurationError, SomaError
from somamemory.installation import COMMAND
from tenants.management.command_line import operator

EQUAL, DIFFERENT, COULD_NOT_LOOK = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Compare the vector index with the database by id and version. Exit codes: 0 (equal), 1 (different), 2 "
        "(could not compare). If a server or worker is running, it does the work; otherwise, this command does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="queue missing and outdated memories for indexing, and delete orphaned entries",
        )
        parser.add_argument("--tenant", default="", metavar="SLUG", help="compare only this tenant's memories")

    def handle(self, *args: Any, repair: bool, tenant: str, **options: Any) -> None:
        try:
            job = watch(jobs.start_reconcile(operator(), repair=repair, tenant=tenant), self.stdout)
        except (SomaError, ConfigurationError, DatabaseError) as error:
            self.stderr.write(str(error))
            raise SystemExit(COULD_NOT_LOOK) from None
        if job.state == Job.State.FAILED:
            self.stderr.write(job.error)
            raise SystemExit(COULD_NOT_LOOK)
        report = Report(**job.data["report"])
        self._tell(report, repair)
        if report.different:
            raise SystemExit(DIFFERENT)

    def _tell(self, report: Report, repair: bool) -> None:
        self.stdout.write(f"{report.checked:,} memories compared, of which {report.pending:,} await indexing.")
        for kind in KINDS:
            shown = "".join(f"\n    {example}" for example in report.examples[kind])
            self.stdout.write(f"{kind:9} {report.counts[kind]:,}{shown}")
        for name in report.collections:
            self.stdout.write(f"orphaned  collection {name}")
        if not report.different:
            self.stdout.write(self.style.SUCCESS("Equal."))
        elif repair:
            self.stdout.write("Repaired: wrong entries have been queued for indexing, and orphans have been deleted.")
        else:
            self.stdout.write(f"Next: {COMMAND} reconcile --repair")

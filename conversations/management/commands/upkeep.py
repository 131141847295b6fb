"""`manage.py upkeep`: what the schedule does with conversations that nobody uses any more, now and before your eyes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from conversations.lifecycle import policy, tiers
from conversations.lifecycle.policy import Report
from somamemory.management.progress import ProgressBar
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG


class Command(BaseCommand):
    help = "Archive a tenant's idle conversations, put long archived ones into files, and prune, as its rules say."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG)
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument("--verify", action="store_true", help="read every file of cold conversations, and no more")

    def handle(self, *args: Any, tenant: str, dry_run: bool, verify: bool, **options: Any) -> None:
        bar = ProgressBar(self.stdout)
        with errors_as_one_line():
            caller = Caller.command(find_tenant(tenant))
            if verify:
                self._verify(caller)
                return
            rules, _ = policy.get(caller)
            report = policy.run(caller, timezone.now(), dry_run=dry_run, progress=bar)
            bar.clear()
            swept = 0 if dry_run else tiers.sweep()
        self._tell(report, rules)
        if swept:
            self.stdout.write(f"{swept} files that nobody needed were removed.")
        if report.errors:
            raise CommandError(f"{len(report.errors)} stay where they are; see above", returncode=2)

    def _tell(self, report: Report, rules: policy.Rules) -> None:
        would = "would be " if report.dry_run else ""
        for count, what, days in (
            (report.archived, "archived", rules.active_days),
            (report.cooled, "put into files", rules.archived_days),
        ):
            after = f"unused for {days} days" if days else "never: the rule is off"
            self.stdout.write(f"{count:,} conversations {would}{what} ({after})")
        if report.pruning is not None:
            told = report.pruning
            self.stdout.write(
                f"pruning ({told['mode']}): {told['suggested']:,} suggested, {told['archived']:,} archived"
            )
            for each in told["conversations"]:
                name = each["label"] or each["conversation_id"]
                self.stdout.write(f"  {each['score']:.2f}  {name}: {'; '.join(each['reasons'])}")
        for error in report.errors:
            self.stderr.write(error)

    def _verify(self, caller: Caller) -> None:
        good, bad = 0, 0
        for file, problem in tiers.damaged(caller.tenant):
            good += not problem
            if problem:
                bad += 1
                self.stderr.write(f"conversation {file.conversation_id}: {problem} ({file.name})")
        if bad:
            raise CommandError(f"{bad} files are damaged; their backups have them", returncode=1)
        self.stdout.write(self.style.SUCCESS(f"Good: {good:,} files are what was written."))

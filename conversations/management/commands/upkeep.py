"""`manage.py upkeep`: apply a tenant's lifecycle policy now instead of waiting for the schedule."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from conversations import restoring
from conversations.lifecycle import policy, tiers
from conversations.lifecycle.policy import Report
from somamemory.management.progress import ProgressBar
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG


class Command(BaseCommand):
    help = (
        "Archive and prune unused conversations, and move old archived conversations to cold storage, according to the "
        "tenant's lifecycle policy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="tenant slug")
        parser.add_argument("--dry-run", action="store_true", help="only report what would be done")
        parser.add_argument("--verify", action="store_true", help="only verify the files in cold storage")

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
            swept = 0
            if not dry_run:
                restoring.forget_expired()
                swept = tiers.sweep()
        self._print(report, rules)
        if swept:
            self.stdout.write(f"Removed {swept} unused files from cold storage.")
        if report.errors:
            raise CommandError(f"could not move {len(report.errors)} conversations; see the errors above", returncode=2)

    def _print(self, report: Report, rules: policy.Rules) -> None:
        would = "would be " if report.dry_run else ""
        for count, action, days in (
            (report.archived, "archived", rules.active_days),
            (report.cooled, "moved to cold storage", rules.archived_days),
        ):
            condition = f"unused for {days} days" if days else "this rule is off"
            self.stdout.write(f"{count:,} conversations {would}{action} ({condition})")
        if report.pruning is not None:
            self._print_pruning(report.pruning)
        for error in report.errors:
            self.stderr.write(error)

    def _print_pruning(self, section: dict[str, Any]) -> None:
        counts = f"{section['suggested']:,} suggested, {section['archived']:,} archived"
        self.stdout.write(f"pruning ({section['mode']}): {counts}")
        for row in section["conversations"]:
            name = row["label"] or row["conversation_id"]
            self.stdout.write(f"  {row['score']:.2f}  {name}: {'; '.join(row['reasons'])}")

    def _verify(self, caller: Caller) -> None:
        good, bad = 0, 0
        for file, problem in tiers.damaged(caller.tenant):
            good += not problem
            if problem:
                bad += 1
                self.stderr.write(f"conversation {file.conversation_id}: {problem} ({file.name})")
        if bad:
            raise CommandError(f"damaged files: {bad}; restore them from a backup", returncode=1)
        self.stdout.write(self.style.SUCCESS(f"OK: {good:,} files are intact."))

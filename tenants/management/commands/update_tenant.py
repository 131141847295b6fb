"""`manage.py update_tenant SLUG`: change a tenant."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import services
from tenants.management.command_line import errors_as_one_line, operator
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Rename, suspend or resume a tenant, or change its tier, quotas and policies."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="tenant slug")
        parser.add_argument("--name", help="display name")
        parser.add_argument("--tier", choices=Tenant.Tier.values)
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--suspend", action="store_true", help="reject the tenant's keys, but keep its data")
        state.add_argument("--resume", action="store_true", help="accept the tenant's keys again")
        parser.add_argument(
            "--quota",
            action="append",
            default=[],
            metavar="NAME=NUMBER",
            help=(
                f"set a quota; may be repeated; NAME is one of {', '.join(services.QUOTAS)}; NAME=none removes the "
                "limit"
            ),
        )
        parser.add_argument(
            "--auto-label",
            metavar="CONFIDENCE",
            help=(
                "label unlabelled conversations automatically if the confidence is at least this value (0 to 1); "
                "none: never"
            ),
        )
        parser.add_argument(
            "--extract-facts",
            choices=("yes", "no"),
            help="extract facts from conversations automatically, using the language model",
        )

        parser.add_argument(
            "--history-days",
            metavar="DAYS",
            help="number of days to keep earlier versions of memories, or none for the installation's default",
        )

    def handle(self, *args: Any, slug: str, **options: Any) -> None:
        active = False if options["suspend"] else True if options["resume"] else None
        with errors_as_one_line():
            services.update_tenant(
                operator(),
                slug,
                name=options["name"],
                tier=options["tier"],
                active=active,
                quotas=dict(_quota(text) for text in options["quota"]),
                policies=_policies(options["auto_label"], options["extract_facts"], options["history_days"]),
            )
        self.stdout.write(
            self.style.SUCCESS(f"Updated tenant '{slug}'.") + " Servers apply the change within 5 seconds."
        )


def _quota(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if value == "none":
        return name, None
    if not (value.isascii() and value.isdigit()):
        raise CommandError(f"--quota {text}: must be NAME=NUMBER or NAME=none")
    return name, int(value)


def _policies(auto_label: str | None, extract_facts: str | None, history_days: str | None) -> dict[str, Any]:
    policies: dict[str, Any] = {}
    if auto_label is not None:
        try:
            policies["auto_label"] = None if auto_label == "none" else float(auto_label)
        except ValueError:
            raise CommandError(f"--auto-label {auto_label}: must be a number from 0 to 1, or none") from None
    if extract_facts is not None:
        policies["extract_facts"] = extract_facts == "yes"
    if history_days is not None:
        if history_days != "none" and not (history_days.isascii() and history_days.isdigit()):
            raise CommandError(f"--history-days {history_days}: must be a number of days, or none")
        policies["history_days"] = None if history_days == "none" else int(history_days)
    return policies

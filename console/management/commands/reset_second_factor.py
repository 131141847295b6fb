"""`manage.py reset_second_factor USERNAME`: remove a staff user's second factor."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from console import second_factor
from tenants import audit
from tenants.management.command_line import operator


class Command(BaseCommand):
    help = (
        "Remove the second factor of a staff user who has lost access to the authenticator app and the recovery codes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="the staff user's user name")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"user '{username}' does not exist")
        with transaction.atomic():
            if not second_factor.turn_off(user):
                raise CommandError(f"user '{username}' has no second factor")
            audit.record(operator(), "staff.second_factor_off", [str(user.pk)])
        self.stdout.write(self.style.SUCCESS(f"Removed the second factor of '{username}'."))

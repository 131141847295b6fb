"""Audit log rows for tests, and the results of a verification."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from tenants import audit
from tenants.audit import verification
from tenants.audit.chain import Head
from tenants.audit.verification import Report
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant


def record(caller: Caller, *targets: str) -> None:
    with transaction.atomic():
        audit.record(caller, "test.do", targets)


def operators() -> Caller:
    return Caller.command(Tenant.objects.get_or_create(slug="default")[0])


def check(known: list[Head] | None = None) -> Report:
    return verification.check(operators(), known or [])


def heads() -> list[Head]:
    return list(verification.heads(operators()))


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


def events(caller: Caller) -> Any:
    return AuditEvent.objects.filter(tenant=caller.tenant, action="test.do").order_by("id")

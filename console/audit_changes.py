"""Describe an audit event as a sentence and as a list of differences, and verify a tenant's log."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.template.defaultfilters import pluralize

from console import memory_page, staff
from memories import audit_state, coordinates, lookup
from somamemory import deadline
from somamemory.errors import DeadlineExceeded, SomaError
from tenants.audit import verification
from tenants.audit.verification import Problem, Report
from tenants.models import AuditEvent, Tenant

MAX_VERSIONS = 50  # maximum number of versions to search for the one that an event wrote
VERIFICATION_TIMEOUT_S = 10.0
MAX_PROBLEMS = 5  # maximum number of problems in one message
VERBS = {
    "memory.store": "stored the memory", "memory.patch": "changed the memory", "memory.delete": "deleted the memory",
    "memory.purge": "purged the memory", "memory.restore": "restored the memory",
    "memory.supersede": "ended the validity of the memory", "memory.reinstate": "restored the validity of the memory",
    "graph.link": "linked", "graph.unlink": "removed the link", "conversation.create": "created the conversation",
    "conversation.change": "changed the conversation", "conversation.delete": "deleted the conversation",
    "conversation.restore": "restored the conversation", "conversation.purge": "purged the conversation",
    "conversation.label": "labelled the conversation", "key.issue": "created the API key",
    "key.rotate": "rotated the API key", "key.renew": "renewed the API key", "key.revoke": "revoked the API key",
    "tenant.create": "created the tenant", "tenant.update": "changed the tenant",
    "job.start": "started the job", "job.cancel": "cancelled the job", "staff.sign_in": "signed in as user",
}  # fmt: skip
ACTORS = {"key": "API key", "staff": "staff user", "command": "the command line", "retention": "the retention period"}


def sentence(event: AuditEvent) -> str:
    """Return a sentence such as "API key abc stored the memory 1.0 in default"."""
    kind, _, name = event.actor.partition(":")
    actor = " ".join(filter(None, [ACTORS.get(kind, kind), name.partition(":")[2] or name]))
    place = f" in {event.namespace}" if event.namespace else ""
    return f"{actor} {VERBS.get(event.action, event.action)} {event.target}{place}"


def changes(request: HttpRequest, event: AuditEvent) -> dict[str, Any] | None:
    """Return the version of the memory that an event wrote, with its differences from the previous version.

    Return None if the event changed no memory, if the user may not view memories, or if the version is no longer
    available.
    """
    user: Any = request.user
    if event.tenant is None or event.after_hash is None or not event.action.startswith("memory."):
        return None
    if not user.has_perm("memories.view_memory"):
        return None
    try:
        caller = staff.caller(request, event.tenant)
        at = coordinates.parse(event.target)
        items = lookup.history(caller, event.namespace, at, MAX_VERSIONS).items
    except SomaError:
        return None
    written = bytes(event.after_hash)
    for version, before in zip_longest(items, items[1:]):
        if audit_state.state(version.row) == written:
            return memory_page.version_shown(version, before)
    return None


def verify(request: HttpRequest, tenant: Tenant) -> None:
    """Verify a tenant's log, for at most `VERIFICATION_TIMEOUT_S` seconds, and show the result as messages."""
    caller = staff.caller(request, tenant, permission="tenants.view_auditevent")
    try:
        with deadline.within(VERIFICATION_TIMEOUT_S):
            report = verification.check(caller, only=tenant)
    except DeadlineExceeded:
        messages.warning(
            request,
            f"The audit log for {tenant.slug} is too long to verify here. Run somamemory verify_audit on the server.",
        )
        return
    problems = _visible(request, report, tenant)
    if not problems:
        messages.success(request, _intact(report, tenant))
        return
    more = f" Further problems: {len(problems) - MAX_PROBLEMS}." if len(problems) > MAX_PROBLEMS else ""
    details = "; ".join(f"{problem.kind}: {problem.detail}" for problem in problems[:MAX_PROBLEMS])
    messages.error(request, f"The audit log for {tenant.slug} has been changed outside the service. {details}.{more}")


def _visible(request: HttpRequest, report: Report, tenant: Tenant) -> list[Problem]:
    """Return the problems that the user may see: all of them for superusers, and the tenant's own for other users."""
    if getattr(request.user, "is_superuser", False):
        return report.problems
    return [problem for problem in report.problems if problem.tenant == tenant.id]


def _intact(report: Report, tenant: Tenant) -> str:
    events = f"{report.events:,} event{pluralize(report.events)}"
    blocks = f"{report.blocks:,} block{pluralize(report.blocks)}"
    verified = f"The audit log for {tenant.slug} is intact: verified {events} in {blocks}."
    if not report.unsealed:
        return verified
    unsealed = f"{report.unsealed:,} event{pluralize(report.unsealed)}"
    return f"{verified} Not yet sealed, and therefore not verified: the last {unsealed}."

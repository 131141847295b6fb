"""Admin pages for the audit log: read-only, with filters."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from console import staff
from console.model_admin import Searched
from console.site import site
from tenants.models import AuditEvent

ACTIONS = [
    "memory.store", "memory.patch", "memory.delete", "memory.purge", "memory.restore", "memory.supersede",
    "memory.reinstate", "proposal.accepted", "proposal.rejected", "proposal.open",
    "graph.link", "graph.unlink",
    "namespace.rename", "namespace.delete", "namespace.purge",
    "conversation.create", "conversation.change", "conversation.delete", "conversation.purge",
    "conversation.label", "conversation.archive_idle", "conversation.freeze", "conversation.thaw", "upkeep.change",
    "upkeep.prune", "key.issue", "key.rotate", "key.revoke", "tenant.create", "tenant.update", "tenant.erase",
    "tenant.erased", "job.start", "job.cancel", "index.retry", "staff.sign_in",
    "staff.second_factor_on", "staff.second_factor_off", "audit.accept","user.create", "user.update",
    "user.delete", "user.password", "group.create", "group.update", "group.delete",
]  # fmt: skip


class ByTenant(admin.SimpleListFilter):
    """Filters by the tenants that the user can access."""

    title = "tenant"
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(slug, slug) for slug in staff.slugs(request.user)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        # The id itself, for which the planner has statistics.
        tenant = staff.tenants_of(request.user).filter(slug=self.value()).values_list("id", flat=True).first()
        return queryset.filter(tenant_id=tenant) if tenant else queryset.none()


class ByAction(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, action) for action in ACTIONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class AuditAdmin(Searched):
    list_display = ("at", "who", "address", "action", "whose", "namespace", "target")
    list_display_links = ("at",)
    list_filter = (ByTenant, ByAction)
    fields = (
        "id", "at", "actor", "address", "action", "whose", "namespace", "target", "before", "after", "request_id",
    )  # fmt: skip
    readonly_fields = ("id", "whose", "before", "after")
    list_select_related = ("tenant",)
    search_fields = ("actor", "request_id")
    search_help_text = "Search for an exact actor (key:…, staff:…, command, retention) or request id"
    order = ("-id",)

    @display(description="who")
    def who(self, row: AuditEvent) -> str:
        return row.actor

    @display(description="hash before", empty_value="none (did not exist, or has no hash)")
    def before(self, row: AuditEvent) -> str | None:
        return bytes(row.before_hash).hex() if row.before_hash else None

    @display(description="hash after", empty_value="none (does not exist, or has no hash)")
    def after(self, row: AuditEvent) -> str | None:
        return bytes(row.after_hash).hex() if row.after_hash else None

    @display(description="tenant")
    def whose(self, row: AuditEvent) -> str:
        return row.tenant.slug if row.tenant else "—"

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if ":" in term or term in ("command", "retention"):
            return rows.filter(actor=term)
        return rows.filter(request_id=term)


site.register(AuditEvent, AuditAdmin)

"""Admin pages for the audit log: read-only, with filters."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from console import audit_changes, staff
from console.model_admin import Searched, dialog, report_outcome
from console.site import site
from console.templatetags.humane import moment
from memories import coordinates
from memories.models import Memory
from somamemory.errors import InvalidCoordinate
from tenants.models import AuditEvent, Tenant

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

ACTIONS = [
    "memory.store", "memory.patch", "memory.delete", "memory.purge", "memory.restore", "memory.supersede",
    "memory.reinstate", "proposal.accepted", "proposal.rejected", "proposal.open",
    "graph.link", "graph.unlink",
    "namespace.rename", "namespace.delete", "namespace.purge",
    "conversation.create", "conversation.change", "conversation.delete", "conversation.purge", "conversation.restore",
    "conversation.label", "conversation.archive_idle", "conversation.freeze", "conversation.thaw", "upkeep.change",
    "upkeep.prune", "key.issue", "key.rotate", "key.renew", "key.revoke", "grant.approve", "grant.revoke",
    "tenant.create", "tenant.update", "tenant.erase", "tenant.erased", "job.start", "job.cancel", "index.retry",
    "staff.sign_in", "staff.second_factor_on", "staff.second_factor_off", "audit.accept","user.create", "user.update",
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
        # Filter by the id itself, because the planner has statistics for it.
        tenant = staff.tenants_of(request.user).filter(slug=self.value()).values_list("id", flat=True).first()
        return queryset.filter(tenant_id=tenant) if tenant else queryset.none()


class ByAction(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, action) for action in ACTIONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class VerifyForm(BaseDialogForm):  # type: ignore[misc]
    tenant = forms.ChoiceField(widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].choices = [(slug, slug) for slug in staff.slugs(self.request.user)]


class AuditAdmin(Searched):
    list_display = ("when", "who", "address", "action", "tenant_slug", "namespace", "target")
    list_display_links = ("when",)
    list_filter = (ByTenant, ByAction)
    fields = (
        "id", "when", "actor", "address", "action", "tenant_slug", "namespace", "target", "subject", "before", "after",
        "request_id",
    )  # fmt: skip
    readonly_fields = ("id", "when", "tenant_slug", "subject", "before", "after")
    list_select_related = ("tenant",)
    search_fields = ("actor", "request_id")
    search_help_text = "Search by exact actor (key:…, staff:…) or request ID"
    order = ("-id",)
    change_form_template = "console/audit_event.html"
    actions_list = ("verify",)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row: AuditEvent | None = self.get_object(request, object_id)
        shown: dict[str, Any] = {}
        if row is not None and self.has_view_permission(request):
            is_of_memory = row.action.startswith("memory.") and row.after_hash is not None
            version = audit_changes.changes(request, row)
            shown = {"sentence": audit_changes.sentence(row), "version": version, "is_of_memory": is_of_memory}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})  # type: ignore[no-any-return]

    def has_verify_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "tenants.view_auditevent")

    @dialog(
        "Verify",
        "Verify an audit log?",
        "This recomputes the hashes of all events and compares them with the sealed chain.",
        icon="verified",
        permission="verify",
        form=VerifyForm,
    )
    def verify(self, request: HttpRequest, form: VerifyForm) -> HttpResponse:
        with report_outcome(request):
            audit_changes.verify(request, staff.tenant_named(request, form.cleaned_data["tenant"]))
        return self.back(request)

    @display(description="time")
    def when(self, row: AuditEvent) -> str:
        return moment(row.at)

    @display(description="what changed", empty_value="—")
    def subject(self, row: AuditEvent) -> str | None:
        """Link to the page that shows the change: the memory's history, or the conversation."""
        if row.tenant is None:
            return None
        link = changed_row(row.tenant, row.action, row.namespace, row.target)
        return link and format_html(
            '<a class="text-primary-600 underline dark:text-primary-500" href="{}">Open the {}</a>', *link
        )

    @display(description="who")
    def who(self, row: AuditEvent) -> str:
        return row.actor

    @display(description="hash before", empty_value="none (the object did not exist or had no hash)")
    def before(self, row: AuditEvent) -> str | None:
        return _hash(row.before_hash)

    @display(description="hash after", empty_value="none (the object does not exist or has no hash)")
    def after(self, row: AuditEvent) -> str | None:
        return _hash(row.after_hash)

    @display(description="tenant")
    def tenant_slug(self, row: AuditEvent) -> str:
        return row.tenant.slug if row.tenant else "—"

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if ":" in term or term in ("command", "retention"):
            return rows.filter(actor=term)
        return rows.filter(request_id=term)


def _hash(value: bytes | memoryview | None) -> str | None:
    return format_html('<code class="console-hash">{}</code>', bytes(value).hex()) if value else None


def changed_row(tenant: Tenant, action: str, namespace: str, target: str) -> tuple[str, str] | None:
    """Return the URL and name of the page for the row that an action changed, if the row still exists."""
    kind = action.partition(".")[0]
    if kind == "memory":
        try:
            key = coordinates.parse(target).key
        except InvalidCoordinate:
            return None
        rows = Memory.objects.for_tenant(tenant).filter(namespace=namespace, coordinate_key=key)
        id = rows.values_list("id", flat=True).first()
        page = reverse("admin:memories_memory_change", args=[f"{tenant.slug}/{id}"])
        return (page, "memory and its history") if id else None
    if kind == "conversation" and _UUID.fullmatch(target):
        page = reverse("admin:conversations_conversation_change", args=[target], query={"tenant": tenant.slug})
        return page, "conversation"
    return None


site.register(AuditEvent, AuditAdmin)

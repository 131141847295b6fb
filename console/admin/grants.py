"""Admin pages for connected apps (OAuth).

Users see their own apps. Users who may see a tenant's keys also see all of that tenant's apps.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import staff
from console.admin.audit import ByTenant
from console.admin.scope_columns import ScopeColumns
from console.model_admin import Listed, dialog, existing, report_outcome
from console.models import OAuthGrant
from console.oauth import grants
from console.site import site


class GrantAdmin(ScopeColumns, Listed):
    list_display = ("client", "approved_by", "tenant", "state", "scope_verbs", "user_id", "created_at", "expires_at")
    list_display_links = ("client",)
    list_filter = (ByTenant,)
    list_select_related = ("client", "approved_by", "tenant", "key")
    order = ("-created_at", "-id")
    fields = (
        "client", "public_id", "approved_by", "tenant", "state", "scope_descriptions", "allowed_namespaces", "user_id",
        "resource", "redirect_uri", "prefix", "created_at", "expires_at",
    )  # fmt: skip
    readonly_fields = ("public_id", "prefix", "state", "scope_descriptions", "allowed_namespaces")
    actions_detail = ("disconnect",)

    @display(description="client ID")
    def public_id(self, row: OAuthGrant) -> str:
        return row.client.client_id

    @display(description="key", empty_value="none yet")
    def prefix(self, row: OAuthGrant) -> str | None:
        return row.key.prefix if row.key else None

    @display(description="state", label={"connected": "success", "disconnected": "danger", "pending": "warning"})
    def state(self, row: OAuthGrant) -> str:
        if row.revoked_at or (row.key and row.key.revoked_at) or row.expires_at <= timezone.now():
            return "disconnected"
        return "connected" if row.key else "pending"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if self.may(request, "tenants.view_apikey"):
            return rows
        return rows.filter(Q(approved_by_id=request.user.pk))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_staff", False))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        if row is None or self.state(row) == "disconnected":
            return False
        return row.approved_by_id == request.user.pk or self.may(request, "tenants.change_apikey")

    @dialog(
        "Disconnect",
        "Disconnect this app?",
        "The app loses access within five seconds. To use it again, you have to reconnect it.",
        icon="link_off",
        permission="end",
        variant=ActionVariant.DANGER,
    )
    def disconnect(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The app was disconnected."):
            grant: OAuthGrant = existing(self.get_object(request, object_id))
            grants.revoke(staff.recorder(request, grant.tenant), grant)
        return self.back(request)


site.register(OAuthGrant, GrantAdmin)

"""Admin pages for API keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from console import scope_words, staff
from console.admin.audit import ByTenant
from console.admin.scope_columns import ScopeColumns
from console.model_admin import Searched, dialog, existing, report_outcome
from console.site import site
from console.templatetags.humane import moment
from somamemory.errors import SomaError
from tenants import keys
from tenants.models import MAX_ID_LENGTH, ApiKey

OPERATOR = "*"  # not a valid slug
NAMESPACE = r"^[A-Za-z0-9._:/-]{1,255}$"


class NewKeyForm(BaseDialogForm):  # type: ignore[misc]
    tenant = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)
    scopes = forms.MultipleChoiceField(
        choices=scope_words.choices(),
        initial=["read", "write", "delete"],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    namespaces = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One namespace per line. Leave blank for all of the tenant's namespaces.",
    )

    user_id = forms.CharField(
        label="user",
        max_length=MAX_ID_LENGTH,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Limits the key to this user's data. Leave blank to allow access to all users' data.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        slugs = staff.slugs(self.request.user)
        operator = [(OPERATOR, "(none: operator key for all tenants)")] if self.request.user.is_superuser else []
        # Nothing is preselected, especially not an operator key.
        self.fields["tenant"].choices = [("", "choose"), *((slug, slug) for slug in slugs), *operator]

    def clean_namespaces(self) -> list[str]:
        field = forms.RegexField(NAMESPACE)
        return [field.clean(name.strip()) for name in self.cleaned_data["namespaces"].splitlines() if name.strip()]


class KeyAdmin(ScopeColumns, Searched):
    list_display = (
        "prefix", "name", "tenant_slug", "user_id", "state", "scope_verbs", "last_used", "created", "expires",
    )  # fmt: skip
    list_display_links = ("prefix",)
    list_filter = (ByTenant,)
    list_select_related = ("tenant",)
    search_fields = ("prefix", "name")
    search_help_text = "Search by name, prefix (after soma_) or exact user"
    order = ("-created_at", "-id")
    fields = (
        "prefix_to_copy", "name", "tenant_slug", "state", "scope_descriptions", "allowed_namespaces", "user_id",
        "last_used", "created", "expires", "revoked",
    )  # fmt: skip
    readonly_fields = (
        "prefix_to_copy", "tenant_slug", "state", "scope_descriptions", "allowed_namespaces", "last_used", "created",
        "expires", "revoked",
    )  # fmt: skip
    actions_list = ("issue",)
    actions_detail = ("rotate", "revoke")

    @display(description="tenant")
    def tenant_slug(self, row: ApiKey) -> str:
        return row.tenant.slug if row.tenant else "(operator)"

    @display(description="state", label={"active": "success", "revoked": "danger", "expired": "warning"})
    def state(self, row: ApiKey) -> str:
        if row.revoked_at:
            return "revoked"
        return "expired" if row.expires_at and row.expires_at <= timezone.now() else "active"

    @display(description="prefix")
    def prefix_to_copy(self, row: ApiKey) -> str:
        return render_to_string("console/prefix.html", {"prefix": row.prefix})

    @display(description="last used")
    def last_used(self, row: ApiKey) -> str:
        return moment(row.last_used_at) if row.last_used_at else "never"

    @display(description="revoked")
    def revoked(self, row: ApiKey) -> str:
        return moment(row.revoked_at)

    @display(description="created")
    def created(self, row: ApiKey) -> str:
        return moment(row.created_at)

    @display(description="expires")
    def expires(self, row: ApiKey) -> str:
        return moment(row.expires_at) if row.expires_at else "never"

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        prefix = term.removeprefix("soma_").removeprefix("sk-sekha-")[:8]
        return rows.filter(Q(prefix__startswith=prefix) | Q(name__icontains=term) | Q(user_id=term))

    def has_issue_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "tenants.add_apikey")

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        return self.may(request, "tenants.change_apikey") and row is not None and self.state(row) == "active"

    @dialog(
        "New key",
        "New key",
        "The secret is shown only once and is not stored.",
        icon="add",
        permission="issue",
        button="Create the key",
        form=NewKeyForm,
        variant=ActionVariant.PRIMARY,
    )
    def issue(self, request: HttpRequest, form: NewKeyForm) -> HttpResponse:
        values = form.cleaned_data
        try:
            if values["tenant"] != OPERATOR:
                tenant = staff.tenant_named(request, values["tenant"])
                caller = staff.caller(request, tenant, permission="tenants.add_apikey")
            else:
                tenant, caller = None, staff.installation_caller(request)
            issued = keys.issue(
                caller,
                tenant,
                name=values["name"],
                scopes=values["scopes"],
                namespaces=values["namespaces"],
                user_id=values["user_id"] or None,
            )
        except SomaError as error:
            messages.error(request, error.detail)
            return self.back(request)
        return self._shown(request, issued, "The new key")

    @dialog(
        "Rotate",
        "Rotate this key?",
        "A new key with the same permissions is created. The old key keeps working for 24 hours.",
        icon="autorenew",
        permission="end",
    )
    def rotate(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        try:
            key, caller = self._key_and_caller(request, object_id)
            issued = keys.rotate(caller, key.prefix, key.tenant)
        except SomaError as error:
            messages.error(request, error.detail)
            return self.back(request)
        return self._shown(request, issued, "The replacement key")

    @dialog(
        "Revoke",
        "Revoke this key?",
        "The key stops working within five seconds. This cannot be undone.",
        icon="block",
        permission="end",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The key was revoked."):
            key, caller = self._key_and_caller(request, object_id)
            keys.revoke(caller, key.prefix, key.tenant)
        return self.back(request)

    def _key_and_caller(self, request: HttpRequest, object_id: str) -> tuple[ApiKey, Any]:
        key: ApiKey = existing(self.get_object(request, object_id))
        if key.tenant is None:
            return key, staff.installation_caller(request)
        return key, staff.caller(request, key.tenant, permission="tenants.change_apikey")

    def _shown(self, request: HttpRequest, issued: keys.IssuedKey, what: str) -> HttpResponse:
        """Show the secret only in the dialog, so that neither the session nor a reloadable page contains it."""
        return render(request, "console/secret.html", {"secret": issued.secret, "key": issued.key, "what": what})

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "tenants.view_apikey")


site.register(ApiKey, KeyAdmin)

"""Tenants and their keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from console import staff
from console.admin.audit import ByTenant
from console.model_admin import Searched, dialog, found, telling
from console.site import site
from operations import statistics
from somamemory.errors import SomaError
from tenants import keys, services, usage
from tenants.caller import SCOPES, Caller
from tenants.models import ApiKey, Tenant
from tenants.selectors import live_keys

OPERATOR = "*"  # not a valid slug
NAMESPACE = r"^[A-Za-z0-9._:/-]{1,255}$"


class NewTenantForm(BaseDialogForm):  # type: ignore[misc]
    slug = forms.CharField(max_length=63, widget=UnfoldAdminTextInputWidget, help_text="a-z, 0-9, - and _")
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)


_EMPTY = dict.fromkeys(("llm_tokens_per_month", "llm_cents_per_month"), "empty: the default of the installation")


class QuotaForm(BaseDialogForm):  # type: ignore[misc]
    tier = forms.ChoiceField(choices=[(tier, tier) for tier in Tenant.Tier.values], widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenant = _tenant(self.request, self.object_id)
        self.fields["tier"].initial = tenant and tenant.tier
        for name in services.QUOTAS:
            self.fields[name] = forms.IntegerField(
                label=name.replace("_", " "),
                required=False,
                min_value=0,
                max_value=services.MAX_QUOTA,
                initial=tenant and getattr(tenant, f"quota_{name}"),
                widget=UnfoldAdminIntegerFieldWidget,
                help_text=_EMPTY.get(name, "empty: no limit"),
            )


class PolicyForm(BaseDialogForm):  # type: ignore[misc]
    auto_label = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="the minimum confidence, 0 to 1, for labelling an unlabelled conversation automatically; "
        "empty: never",
    )
    extract_facts = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="extract facts from conversations automatically; needs a language model",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenant = _tenant(self.request, self.object_id)
        for name in services.POLICIES:
            self.fields[name].initial = tenant and getattr(tenant, name)


def _tenant(request: HttpRequest, id: Any) -> Tenant | None:
    try:
        return staff.tenants_of(request.user).filter(pk=id).first()
    except ValidationError:  # not a UUID
        return None


class TenantAdmin(Searched):
    list_display = ("slug", "name", "state", "tier", "created_at")
    list_display_links = ("slug",)
    search_fields = ("slug",)
    search_help_text = "the beginning of a slug"
    order = ordering = ("slug",)
    tenant_field = "pk"
    fields = ("slug", "name", "active", "tier", "used", "created_at", "id")
    readonly_fields = ("used", "id")
    actions_list = ("create",)
    actions_detail = ("quotas", "policies", "suspend", "resume")

    @display(description="state", label={"active": "success", "suspended": "danger"})
    def state(self, row: Tenant) -> str:
        return "active" if row.active else "suspended"

    @display(description="usage")
    def used(self, row: Tenant) -> str:
        return render_to_string("console/usage.html", {"rows": _usage(row)})

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        term = term.lower()
        return rows.filter(slug__gte=term, slug__lt=term + "\x7f")

    def has_create_permission(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def has_quotas_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_create_permission(request)

    def has_suspend_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.may(request, "tenants.change_tenant") and self._is(request, object_id, active=True)

    def has_resume_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.may(request, "tenants.change_tenant") and self._is(request, object_id, active=False)

    def _is(self, request: HttpRequest, object_id: Any, *, active: bool) -> bool:
        row = self.get_object(request, object_id)
        return row is not None and row.active == active

    @dialog(
        "New tenant",
        "New tenant",
        icon="add",
        permission="create",
        button="Create",
        form=NewTenantForm,
        variant=ActionVariant.PRIMARY,
    )
    def create(self, request: HttpRequest, form: NewTenantForm) -> HttpResponse:
        with telling(request, "The tenant was created. Next, create an API key for it."):
            caller = staff.installation_caller(request)
            services.create_tenant(caller, form.cleaned_data["slug"], form.cleaned_data["name"])
        return self.back(request)

    @dialog("Policies", "Policies", icon="rule", permission="quotas", button="Set", form=PolicyForm)
    def policies(self, request: HttpRequest, form: PolicyForm, object_id: str) -> HttpResponse:
        with telling(request, "The policies were saved."):
            tenant = found(self.get_object(request, object_id))
            wanted = {name: form.cleaned_data[name] for name in services.POLICIES}
            services.update_tenant(staff.installation_caller(request), tenant.slug, policies=wanted)
        return self.back(request)

    @dialog(
        "Quotas",
        "Quotas",
        icon="speed",
        permission="quotas",
        button="Set",
        form=QuotaForm,
    )
    def quotas(self, request: HttpRequest, form: QuotaForm, object_id: str) -> HttpResponse:
        with telling(request, "The quotas were saved."):
            tenant = found(self.get_object(request, object_id))
            wanted = {name: form.cleaned_data[name] for name in services.QUOTAS}
            caller = staff.installation_caller(request)
            services.update_tenant(caller, tenant.slug, tier=form.cleaned_data["tier"], quotas=wanted)
        return self.back(request)

    @dialog(
        "Suspend",
        "Suspend this tenant?",
        "Its API keys stop working within five seconds. Its data is kept.",
        icon="pause_circle",
        permission="suspend",
        variant=ActionVariant.DANGER,
    )
    def suspend(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._set_active(request, object_id, active=False)

    @dialog(
        "Resume",
        "Resume this tenant?",
        "Its API keys that have not expired work again.",
        icon="play_circle",
        permission="resume",
        button="Let in",
        variant=ActionVariant.SUCCESS,
    )
    def resume(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._set_active(request, object_id, active=True)

    def _set_active(self, request: HttpRequest, object_id: str, *, active: bool) -> HttpResponse:
        with telling(request, "The tenant was resumed." if active else "The tenant was suspended."):
            tenant = found(self.get_object(request, object_id))
            caller = staff.caller(request, tenant, permission="tenants.change_tenant")
            services.update_tenant(caller, tenant.slug, active=active)
        return self.back(request)


def _usage(tenant: Tenant) -> list[dict[str, Any]]:
    """Return rows of quota, usage, limit (None: no limit) and usage in percent.

    Exact where a quota exists; otherwise memories are up to a minute old, and bytes are unknown.
    """
    if usage.is_limited(tenant):
        memories, size = usage.stored(tenant)
        kept: dict[str, Any] = {"memories": f"{memories:,}", "bytes": f"{size:,}"}
        numbers = {"memories": memories, "bytes": size}
    else:
        known, counted = statistics.of_tenants(Caller.command(tenant))
        numbers = {"memories": known.get(tenant.pk, 0)}
        kept = {} if counted else {"memories": f"about {numbers['memories']:,}"}
    numbers["keys"] = live_keys(tenant).count()
    numbers["requests_per_day"] = usage.requests_today(tenant)
    numbers |= usage.llm_used(tenant)
    kept = {**{name: f"{number:,}" for name, number in numbers.items()}, **kept}
    rows = []
    for name, limit in (services.quotas_of(tenant) | usage.llm_limits(tenant)).items():
        if name not in kept:
            continue
        full = None if limit is None else 100 if not limit else min(100, round(100 * numbers[name] / limit))
        rows.append({"name": name.replace("_", " "), "used": kept[name], "limit": limit, "full": full})
    return rows


class NewKeyForm(BaseDialogForm):  # type: ignore[misc]
    tenant = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        initial=["read", "write", "delete"],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    namespaces = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="one per line; empty: all namespaces of the tenant",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        slugs = staff.slugs(self.request.user)
        operator = [(OPERATOR, "(none: an operator key, for all tenants)")] if self.request.user.is_superuser else []
        # Nothing is preselected, least of all an operator key.
        self.fields["tenant"].choices = [("", "choose"), *((slug, slug) for slug in slugs), *operator]

    def clean_namespaces(self) -> list[str]:
        field = forms.RegexField(NAMESPACE)
        return [field.clean(name.strip()) for name in self.cleaned_data["namespaces"].splitlines() if name.strip()]


class KeyAdmin(Searched):
    list_display = ("prefix", "name", "whose", "state", "scopes", "created_at", "expires_at")
    list_display_links = ("prefix",)
    list_filter = (ByTenant,)
    list_select_related = ("tenant",)
    search_fields = ("prefix",)
    search_help_text = "the beginning of a prefix: the 8 letters after soma_"
    order = ("-created_at", "-id")
    fields = ("prefix", "name", "whose", "state", "scopes", "namespaces", "created_at", "expires_at", "revoked_at")
    readonly_fields = ("whose", "state")
    actions_list = ("issue",)
    actions_detail = ("rotate", "revoke")

    @display(description="tenant")
    def whose(self, row: ApiKey) -> str:
        return row.tenant.slug if row.tenant else "(operator)"

    @display(description="state", label={"active": "success", "revoked": "danger", "expired": "warning"})
    def state(self, row: ApiKey) -> str:
        if row.revoked_at:
            return "revoked"
        return "expired" if row.expires_at and row.expires_at <= timezone.now() else "active"

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        return rows.filter(prefix__startswith=term.removeprefix("soma_")[:8])

    def has_issue_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "tenants.add_apikey")

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        return self.may(request, "tenants.change_apikey") and row is not None and self.state(row) == "active"

    @dialog(
        "New key",
        "New key",
        "The secret is shown only once, here, and is not stored.",
        icon="add",
        permission="issue",
        button="Create the key",
        form=NewKeyForm,
        variant=ActionVariant.PRIMARY,
    )
    def issue(self, request: HttpRequest, form: NewKeyForm) -> HttpResponse:
        wanted = form.cleaned_data
        try:
            if wanted["tenant"] != OPERATOR:
                tenant = staff.tenant_named(request, wanted["tenant"])
                caller = staff.caller(request, tenant, permission="tenants.add_apikey")
            else:
                tenant, caller = None, staff.installation_caller(request)
            issued = keys.issue(
                caller, tenant, name=wanted["name"], scopes=wanted["scopes"], namespaces=wanted["namespaces"]
            )
        except SomaError as error:
            messages.error(request, error.detail)
            return self.back(request)
        return self._shown(request, issued, "The new key")

    @dialog(
        "Rotate",
        "Rotate this key?",
        "A new key with the same rights is created. This one keeps working for 24 hours.",
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
        "It stops working within five seconds. This cannot be undone.",
        icon="block",
        permission="end",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with telling(request, "The key was revoked."):
            key, caller = self._key_and_caller(request, object_id)
            keys.revoke(caller, key.prefix, key.tenant)
        return self.back(request)

    def _key_and_caller(self, request: HttpRequest, object_id: str) -> tuple[ApiKey, Any]:
        key: ApiKey = found(self.get_object(request, object_id))
        if key.tenant is None:
            return key, staff.installation_caller(request)
        return key, staff.caller(request, key.tenant, permission="tenants.change_apikey")

    def _shown(self, request: HttpRequest, issued: keys.IssuedKey, what: str) -> HttpResponse:
        """Show the secret in the dialog only: neither the session nor a page that can be reloaded contains it."""
        return render(request, "console/secret.html", {"secret": issued.secret, "key": issued.key, "what": what})

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "tenants.view_apikey")


site.register(Tenant, TenantAdmin)
site.register(ApiKey, KeyAdmin)

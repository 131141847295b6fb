"""Admin pages for tenants."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from console import charts, staff
from console.model_admin import Searched, dialog, existing, report_outcome
from console.site import site
from operations import statistics
from tenants import services, usage
from tenants.caller import Caller
from tenants.models import Tenant
from tenants.selectors import live_keys


class NewTenantForm(BaseDialogForm):  # type: ignore[misc]
    slug = forms.CharField(
        max_length=63, widget=UnfoldAdminTextInputWidget, help_text="Lowercase letters, digits, - and _."
    )
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)


DAYS = 30
_EMPTY = dict.fromkeys(("llm_tokens_per_month", "llm_cents_per_month"), "Leave blank for the installation's default.")


class QuotaForm(BaseDialogForm):  # type: ignore[misc]
    tier = forms.ChoiceField(choices=[(tier, tier) for tier in Tenant.Tier.values], widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenant = _tenant(self.request, self.object_id)
        self.fields["tier"].initial = tenant and tenant.tier
        for name in services.QUOTAS:
            self.fields[name] = forms.IntegerField(
                label=name.replace("_", " ").replace("llm", "LLM"),
                required=False,
                min_value=0,
                max_value=services.MAX_QUOTA,
                initial=tenant and getattr(tenant, f"quota_{name}"),
                widget=UnfoldAdminIntegerFieldWidget,
                help_text=_EMPTY.get(name, "Leave blank for no limit."),
            )


class PolicyForm(BaseDialogForm):  # type: ignore[misc]
    auto_label = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Minimum confidence, from 0 to 1, for labelling conversations automatically. "
        "Leave blank to turn automatic labelling off.",
    )
    extract_facts = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Extract facts from conversations automatically. Requires a language model.",
    )
    history_days = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=services.MAX_HISTORY_DAYS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Number of days to keep earlier versions of memories. Leave blank for the installation's default.",
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
    search_fields = ("slug", "name")
    search_help_text = "Search by slug or name"
    order = ordering = ("slug",)
    tenant_field = "pk"
    fields = ("slug", "name", "active", "tier", "used", "over_time", "created_at", "id")
    readonly_fields = ("used", "over_time", "id")
    actions_list = ("create",)
    actions_detail = ("quotas", "policies", "suspend", "resume")

    @display(description="state", label={"active": "success", "suspended": "danger"})
    def state(self, row: Tenant) -> str:
        return "active" if row.active else "suspended"

    @display(description="usage")
    def used(self, row: Tenant) -> str:
        return render_to_string("console/usage.html", {"rows": _usage(row)})

    @display(description="usage over time")
    def over_time(self, row: Tenant) -> str:
        return render_to_string("console/usage_over_time.html", _over_time(row, timezone.now().date()))

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        return rows.filter(Q(slug__contains=term.lower()) | Q(name__icontains=term))

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
        with report_outcome(request, "The tenant was created. Next, create an API key for it."):
            caller = staff.installation_caller(request)
            services.create_tenant(caller, form.cleaned_data["slug"], form.cleaned_data["name"])
        return self.back(request)

    @dialog("Policies", "Policies", icon="rule", permission="quotas", button="Set", form=PolicyForm)
    def policies(self, request: HttpRequest, form: PolicyForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The policies were saved."):
            tenant = existing(self.get_object(request, object_id))
            values = {name: form.cleaned_data[name] for name in services.POLICIES}
            services.update_tenant(staff.installation_caller(request), tenant.slug, policies=values)
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
        with report_outcome(request, "The quotas were saved."):
            tenant = existing(self.get_object(request, object_id))
            values = {name: form.cleaned_data[name] for name in services.QUOTAS}
            caller = staff.installation_caller(request)
            services.update_tenant(caller, tenant.slug, tier=form.cleaned_data["tier"], quotas=values)
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
        "Its API keys work again, except those that have expired.",
        icon="play_circle",
        permission="resume",
        button="Resume",
        variant=ActionVariant.SUCCESS,
    )
    def resume(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._set_active(request, object_id, active=True)

    def _set_active(self, request: HttpRequest, object_id: str, *, active: bool) -> HttpResponse:
        with report_outcome(request, "The tenant was resumed." if active else "The tenant was suspended."):
            tenant = existing(self.get_object(request, object_id))
            caller = staff.caller(request, tenant, permission="tenants.change_tenant")
            services.update_tenant(caller, tenant.slug, active=active)
        return self.back(request)


def _over_time(tenant: Tenant, today: date) -> dict[str, Any]:
    days = usage.per_day(tenant, DAYS, today)
    stacks = [(f"{day}  {requests:,} requests", {"good": requests}) for day, requests, _ in days]
    stored, most = charts.lines([memories for _, _, memories in days])
    return {
        "days": DAYS,
        "requests": charts.columns(stacks),
        "requests_total": sum(requests for _, requests, _ in days),
        "stored": stored,
        "most": round(most),
        "first": days[0][0],
        "last": today,
    }


def _usage(tenant: Tenant) -> list[dict[str, Any]]:
    """Return a row per quota: its name, usage, limit (None if unlimited) and usage in percent.

    The usage is exact if there is a quota. Otherwise, the number of memories can be up to a minute old, and the number
    of bytes is unknown.
    """
    if usage.is_limited(tenant):
        memories, size = usage.stored(tenant)
        texts: dict[str, Any] = {"memories": f"{memories:,}", "bytes": f"{size:,}"}
        numbers = {"memories": memories, "bytes": size}
    else:
        counts, is_exact = statistics.of_tenants(Caller.command(tenant))
        numbers = {"memories": counts.get(tenant.pk, 0)}
        texts = {} if is_exact else {"memories": f"about {numbers['memories']:,}"}
    numbers["keys"] = live_keys(tenant).count()
    numbers["requests_per_day"] = usage.requests_today(tenant)
    numbers |= usage.llm_used(tenant)
    texts = {**{name: f"{number:,}" for name, number in numbers.items()}, **texts}
    rows = []
    for name, limit in (services.quotas_of(tenant) | usage.llm_limits(tenant)).items():
        if name not in texts:
            continue
        full = None if limit is None else 100 if not limit else min(100, round(100 * numbers[name] / limit))
        rows.append(
            {"name": name.replace("_", " ").replace("llm", "LLM"), "used": texts[name], "limit": limit, "full": full}
        )
    return rows


site.register(Tenant, TenantAdmin)

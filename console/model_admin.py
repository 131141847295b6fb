"""Base classes for the admin pages: read-only by default, with keyset pagination and the audit log as history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import staff
from console.columns import Column, readable
from console.lists import KeysetChangeList
from memories import selectors
from somamemory.errors import NotFound, SomaError
from tenants import audit
from tenants.models import Tenant

PAGE = 50


class Listed(ModelAdmin):  # type: ignore[misc]
    """A list in index order, and a page for each row."""

    list_per_page = PAGE
    list_fullwidth = True
    list_filter_sheet = True
    show_full_result_count = False
    sortable_by: Sequence[str] = ()
    actions = None
    order: tuple[str, ...] = ("-pk",)
    tenant_field = "tenant"  # "" for rows of the installation, which only superusers see

    @property
    def media(self) -> Media:
        """Exclude Django's admin scripts, such as jQuery. Forms add the scripts that their fields need."""
        return Media()

    def keyset(self, request: HttpRequest) -> tuple[str, ...]:
        return self.order

    def get_list_display(self, request: HttpRequest) -> list[Column]:
        return [readable(self.model, name) for name in super().get_list_display(request)]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Return the fieldsets, with a readable version of each field that the user cannot change."""
        fieldsets = super().get_fieldsets(request, obj)
        changeable = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        fixed = super().get_readonly_fields(request, obj)

        def shown(name: Any) -> Any:
            return name if changeable and name not in fixed else readable(self.model, name)

        return [
            (title, {**options, "fields": [shown(name) for name in options["fields"]]}) for title, options in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Column]:
        return [readable(self.model, name) for name in super().get_readonly_fields(request, obj)]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the parameters of the list's own filters.

        Django also allows conditions on any column, such as `label__regex`. On SQLite, a pattern can take forever to
        match, and neither the deadline nor another thread can stop it.
        """
        own = {name if isinstance(name, str) else name.parameter_name for name in self.get_list_filter(request)}
        return lookup.removesuffix("__exact").removesuffix("__isnull") in own

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if getattr(request.user, "is_superuser", False):
            return rows
        if not self.tenant_field:
            return rows.none()
        return rows.filter(**{f"{self.tenant_field}__in": staff.tenants_of(request.user)})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not self.tenant_field:
            return bool(getattr(request.user, "is_superuser", False))
        return bool(super().has_view_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def may(self, request: HttpRequest, permission: str) -> bool:
        return bool(request.user.has_perm(permission))

    # Django's own log would be a second history, which could be edited.
    def log_addition(self, request: HttpRequest, object: Model, message: Any) -> None:
        self.audited(request, "create", object)

    def log_change(self, request: HttpRequest, object: Model, message: Any) -> None:
        self.audited(request, "update", object)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            self.audited(request, "delete", row)

    def audited(self, request: HttpRequest, verb: str, row: Model) -> None:
        tenant = row if isinstance(row, Tenant) else getattr(row, "tenant", None)
        name = self.opts.model_name
        audit.record(staff.recorder(request, tenant), f"{name}.{verb}", [f"{row.pk} {row}"])

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return redirect("admin:tenants_auditevent_changelist")

    def back(self, request: HttpRequest, url: str | None = None) -> HttpResponse:
        """Reload the page after a dialog, with a response that htmx understands."""
        return HttpResponse(headers={"HX-Redirect": url or self.page(request.resolver_match)})

    def page(self, match: Any) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        if object_id := match.kwargs.get("object_id"):
            return reverse(f"{name}_change", args=[object_id])
        return reverse(f"{name}_changelist")


class Searched(Listed):
    """A list with a search that uses an index."""

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows that match a search. `term` is not empty."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (self.matching(queryset, term) if term else queryset), False


class OfTenant(Searched):
    """Pages for rows that belong to a tenant. A list shows one tenant and, if applicable, one namespace."""

    list_before_template = "console/place.html"
    namespaced = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        tenant = tenant_asked_for(request)
        if tenant is None:
            return Listed.get_queryset(self, request).none()
        rows: QuerySet[Any] = self.model.objects.for_tenant(tenant)
        if self.namespaced and not (request.resolver_match and request.resolver_match.kwargs.get("object_id")):
            rows = rows.filter(namespace=request.GET.get("namespace", "default"))
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenant = tenant_asked_for(request)
        namespace = request.GET.get("namespace", "default")
        names = selectors.namespaces(staff.caller(request, tenant)) if tenant and self.namespaced else []
        place = {
            "tenant": tenant,
            "tenants": staff.slugs(request.user),
            "namespace": namespace,
            "namespaces": names if namespace in names or not self.namespaced else [*names, namespace],
        }
        response: HttpResponse = super().changelist_view(request, {**place, **(extra_context or {})})
        return response


def tenant_asked_for(request: HttpRequest) -> Tenant | None:
    """Return the requested tenant, or None if none was requested or the user cannot access it."""
    try:
        return staff.chosen_tenant(request)
    except NotFound:
        return None


def dialog(
    name: str,
    question: str,
    explained: str = "",
    *,
    icon: str,
    permission: str,
    button: str = "",
    form: type[BaseDialogForm] = BaseDialogForm,
    variant: ActionVariant = ActionVariant.DEFAULT,
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Declare an action with a confirmation dialog. The label of `button` defaults to the action's name."""
    options = {"title": question, "description": explained, "form_class": form, "form_submit_text": button or name}
    decorated: Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]] = action(
        description=name, icon=icon, permissions=[permission], variant=variant, dialog=options
    )
    return decorated


@contextmanager
def report_outcome(request: HttpRequest, done: Callable[[], str] | str = "") -> Iterator[None]:
    """Show the outcome, or the error, as a message on the next page. If `done` is empty, only errors are shown."""
    try:
        yield
    except SomaError as error:
        messages.error(request, error.detail)
    except PermissionDenied:
        messages.error(request, "You do not have permission to do that.")
    else:
        if done:
            messages.success(request, done if isinstance(done, str) else done())


def existing(row: Any) -> Any:
    """Return the row. Raises NotFound if it does not exist or the user cannot access it."""
    if row is None:
        raise NotFound
    return row

"""Admin pages for staff users and groups, for superusers only."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from console.model_admin import Listed
from console.models import StaffTenant
from console.site import site


class _Superusers(Listed):
    """Restricts a page to superusers, because anyone who can change users can become one."""

    tenant_field = ""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(getattr(request.user, "is_superuser", False)) and request.user.is_active

    has_change_permission = has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


class StaffTenants(TabularInline):  # type: ignore[misc]
    model = StaffTenant
    extra = 0
    autocomplete_fields = ("tenant",)


class UserAdmin(DjangoUserAdmin, _Superusers):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    inlines = (StaffTenants,)
    order = ("id",)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():  # in the same transaction as its audit event
            response: HttpResponse = super().user_change_password(request, id, form_url)
        return response

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return super().get_inline_instances(request, obj) if obj else []


class GroupAdmin(DjangoGroupAdmin, _Superusers):  # type: ignore[misc]
    order = ("id",)


site.register(User, UserAdmin)
site.register(Group, GroupAdmin)

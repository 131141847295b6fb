"""Admin pages for staff users and groups, for superusers only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from console import staff
from console.model_admin import Listed
from console.models import OAuthGrant, StaffTenant
from console.oauth import grants
from console.site import site
from tenants.models import Tenant


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


class SlugInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """A text field that suggests tenant slugs. Django's autocomplete fields would load 390 kB of JavaScript."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field_id = f"{(attrs or {}).get('id', name)}-slugs"
        slugs = Tenant.objects.order_by("slug").values_list("slug", flat=True)[: staff.CHOICES]
        options = format_html_join("", '<option value="{}">', ((slug,) for slug in slugs))
        field = super().render(name, value, {**(attrs or {}), "list": field_id}, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', field, field_id, options)


class TenantField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A tenant, entered as its slug."""

    def __init__(self) -> None:
        super().__init__(Tenant.objects.all(), to_field_name="slug", widget=SlugInput)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, UUID):
            return Tenant.objects.values_list("slug", flat=True).get(pk=value)
        return super().prepare_value(value)


class StaffTenantForm(forms.ModelForm):  # type: ignore[type-arg]
    tenant = TenantField()

    class Meta:
        model = StaffTenant
        fields = ("tenant",)


class StaffTenants(TabularInline):  # type: ignore[misc]
    model = StaffTenant
    form = StaffTenantForm
    extra = 0
    media = forms.Media()  # unfold's own script adds the rows


class UserAdmin(DjangoUserAdmin, _Superusers):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    inlines = (StaffTenants,)
    readonly_fields = ("last_login", "date_joined")
    order = ("id",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and hasattr(field.widget, "can_add_related"):  # its links need scripts that are not loaded
            field.widget = field.widget.widget
        return field

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Allow the deletion of a user who has connected apps; `delete_model` disconnects them."""
        listed, counts, missing, protected = super().get_deleted_objects(objs, request)
        return listed, counts, missing - {OAuthGrant._meta.verbose_name}, protected

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete a user and disconnect their apps, whose keys would otherwise remain valid."""
        for grant in OAuthGrant.objects.filter(approved_by=obj, revoked_at=None).select_related("tenant"):
            grants.revoke(staff.recorder(request, grant.tenant), grant)
        super().delete_model(request, obj)

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

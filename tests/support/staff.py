"""Staff users of the admin console."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client

from console.models import StaffTenant
from tenants.models import Tenant


def sign_in_staff(tenant: Tenant, *permissions: str, all_but: str | None = None, name: str = "staff") -> Client:
    """Create a staff user of one tenant, and return a client that is signed in as this user.

    The user has the permissions with these codenames or, with `all_but`, all others.
    """
    user = User.objects.create_user(name, is_staff=True)
    chosen = Permission.objects.filter(codename__in=permissions)
    user.user_permissions.set(chosen if all_but is None else Permission.objects.exclude(codename=all_but))
    StaffTenant.objects.create(user=user, tenant=tenant)
    client = Client()
    client.force_login(user)
    return client

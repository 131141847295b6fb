"""The page that lists deleted conversations, which can be restored during the retention period."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from console import staff
from console.model_admin import PAGE, report_outcome
from console.site import site
from console.templatetags.humane import moment
from conversations import restoring
from conversations.restoring import Deleted
from somamemory.errors import NotFound, SomaError
from tenants.caller import Caller
from tenants.models import Tenant


def page(request: HttpRequest) -> HttpResponse:
    """List a tenant's deleted conversations. A POST restores one."""
    tenant = staff.chosen_tenant(request)
    if tenant is None or not _has_permission(request, "conversations.view_conversation"):
        raise PermissionDenied
    caller = staff.caller(request, tenant)
    if request.method == "POST":
        return _restore(request, caller)
    context = {
        **site.each_context(request),
        "title": "Deleted conversations",
        "tenant": tenant,
        "tenants": staff.slugs(request.user),
        "may_restore": may_restore(request, caller),
        "may_read": "read" in caller.scopes,
    }
    if context["may_read"]:
        context |= _list(request, caller)
    return TemplateResponse(request, "console/deleted.html", context)


def url(tenant: Tenant) -> str:
    return reverse("admin:deleted_conversations", query={"tenant": tenant.slug})


def may_restore(request: HttpRequest, caller: Caller) -> bool:
    return _has_permission(request, "memories.change_memory") and "read" in caller.scopes


def is_restorable(request: HttpRequest, tenant: Tenant, id: str) -> bool:
    """Return whether a conversation is in the list of deleted conversations that the user can see."""
    try:
        restoring.find(staff.caller(request, tenant), _id(id))
    except SomaError:
        return False
    return _has_permission(request, "conversations.view_conversation")


def report_deletion(request: HttpRequest, caller: Caller, id: UUID) -> None:
    """Report a deletion in a message that explains how to undo it."""
    try:
        until = moment(restoring.find(caller, id).restorable_until)
    except SomaError:  # the user may not read conversations, or the retention period is 0
        messages.success(request, "The conversation was deleted.")
        return
    if may_restore(request, caller):
        text = 'The conversation was deleted. You can <a href="{}">restore it</a> until {}.'
        messages.success(request, format_html(text, url(caller.tenant), until))
    else:
        text = "The conversation was deleted. A user who may change memories can restore it until {}."
        messages.success(request, format_html(text, until))


def _restore(request: HttpRequest, caller: Caller) -> HttpResponse:
    if not may_restore(request, caller):
        raise PermissionDenied
    restored: list[Any] = []
    with report_outcome(request, "The conversation was restored."):
        restored.append(restoring.restore(caller, _id(request.POST.get("id", ""))))
    if not restored:
        return redirect(url(caller.tenant))
    query = {"tenant": caller.tenant.slug}
    return redirect(reverse("admin:conversations_conversation_change", args=[restored[0].id], query=query))


def _list(request: HttpRequest, caller: Caller) -> dict[str, Any]:
    try:
        deleted = restoring.page(caller, limit=PAGE, cursor=request.GET.get("cursor") or None)
    except SomaError:  # an invalid cursor shows the first page, as in other lists
        deleted = restoring.page(caller, limit=PAGE)
    more = {"tenant": caller.tenant.slug, "cursor": deleted.next_cursor}
    return {
        "rows": [_row(item) for item in deleted.items],
        "more": reverse("admin:deleted_conversations", query=more) if deleted.next_cursor else "",
        "first": url(caller.tenant) if request.GET.get("cursor") else "",
    }


def _row(deleted: Deleted) -> dict[str, Any]:
    return {"deleted": deleted, "conversation": deleted.conversation}


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("unknown conversation") from None


def _has_permission(request: HttpRequest, permission: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(permission))

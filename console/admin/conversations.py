"""Admin pages for conversations, with links to their messages, which are memories."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import conversation_page, deleted_page, staff
from console.model_admin import OfTenant, dialog, existing, report_outcome, tenant_asked_for
from console.site import site
from console.templatetags.humane import moment
from conversations import services
from conversations.models import Conversation
from conversations.query import ConversationQuery, in_folder
from conversations.search.semantic import search_messages
from memories.search.relevance import FLOOR

FOUND = 50  # the maximum number of matching messages whose conversations a search lists
LABELS = {"active": "success", "pinned": "info", "archived": "warning"}


class ByStatus(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in Conversation.Status.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() else queryset


class ByTier(admin.SimpleListFilter):
    title = "tier"
    parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in Conversation.Tier.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(tier=self.value()) if self.value() else queryset


class ConversationAdmin(OfTenant):
    namespaced = False
    list_display = (
        "number",
        "label",
        "folder",
        "user_id",
        "state",
        "tier",
        "importance",
        "message_count",
        "changed",
    )
    list_display_links = ("number", "label")
    list_filter = (ByStatus, ByTier)
    change_form_template = "console/conversation.html"
    search_fields = ("label",)
    search_help_text = "Search by label or message, or by exact folder, user or number"
    order = ("-updated_at", "-number")
    fields = ()
    actions_list = ("deleted",)
    actions_detail = ("archive", "remove")

    @display(description="status", label=LABELS)
    def state(self, row: Conversation) -> str:
        return row.status

    @display(description="changed")
    def changed(self, row: Conversation) -> str:
        return moment(row.updated_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the conversation as a chat. A POST changes its label and folder."""
        row: Conversation | None = self.get_object(request, object_id)
        tenant = tenant_asked_for(request)
        if row is None and tenant is not None and deleted_page.is_restorable(request, tenant, object_id):
            return redirect(deleted_page.url(tenant))
        if row is None or not self.has_view_permission(request):
            return super().change_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        if request.method == "POST":
            with report_outcome(request, "The conversation was changed."):
                conversation_page.change(request, row)
            return redirect(self.page(request.resolver_match))
        shown = conversation_page.described(request, row)
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search the labels and other columns, and search the messages by meaning and by keyword."""
        term = search_term.strip()
        tenant = tenant_asked_for(request)
        if not term or tenant is None:
            return queryset, False
        condition = self._columns(term)
        caller = staff.caller(request, tenant)
        if "read" in caller.scopes:
            results = search_messages(
                caller, term[:8192], limit=FOUND, include_archived=True, min_relevance=FLOOR, shown=False
            )
            condition |= Q(id__among={hit.conversation.id for hit in results.hits})
        return queryset.filter(condition), False

    def _columns(self, term: str) -> Q:
        condition = ConversationQuery(part_of_label=term).condition() | Q(user_id=term) | in_folder(term)
        if term.isascii() and term.isdigit() and len(term) <= 18:
            condition |= Q(number=int(term))
        return condition

    @action(description="Deleted", icon="restore_from_trash", permissions=["view"])
    def deleted(self, request: HttpRequest) -> HttpResponse:
        return redirect("admin:deleted_conversations")

    def has_archive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        may = self.may(request, "memories.change_memory")
        return may and row is not None and row.status != Conversation.Status.ARCHIVED

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.may(request, "memories.delete_memory")

    @dialog(
        "Archive",
        "Archive this conversation?",
        "Its messages are kept, and searches can include them on request.",
        icon="archive",
        permission="archive",
    )
    def archive(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The conversation was archived."):
            row = existing(self.get_object(request, object_id))
            services.archive(staff.caller(request, row.tenant), row.id)
        return self.back(request)

    @dialog(
        "Delete",
        "Delete this conversation?",
        f"This also deletes its messages, summaries and facts. You can restore it for {settings.RETENTION_DAYS} days."
        if settings.RETENTION_DAYS
        else "This also deletes its messages, summaries and facts, and cannot be undone.",
        icon="delete",
        permission="remove",
        variant=ActionVariant.DANGER,
    )
    def remove(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request):
            row = existing(self.get_object(request, object_id))
            caller = staff.caller(request, row.tenant)
            services.delete(caller, row.id)
            deleted_page.report_deletion(request, caller, row.id)
        return self.back(request, reverse("admin:conversations_conversation_changelist"))


site.register(Conversation, ConversationAdmin)

"""Admin pages for conversations, with links to their messages, which are memories."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import staff
from console.model_admin import OfTenant, dialog, existing, report_outcome
from console.site import site
from conversations import services
from conversations.models import Conversation
from conversations.query import in_folder
from memories.reserved_namespaces import CONVERSATIONS

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
        "updated_at",
    )
    list_display_links = ("number", "label")
    list_filter = (ByStatus, ByTier)
    search_fields = ("label",)
    search_help_text = "Search for an exact label, folder or user, or a number"
    order = ("-updated_at", "-number")
    fields = (
        "number", "label", "folder", "state", "tier", "importance", "message_count", "word_count", "messages",
        "user_id", "agent_id", "session_id", "metadata", "created_at", "updated_at", "id",
    )  # fmt: skip
    readonly_fields = ("state", "messages", "id")
    actions_detail = ("archive", "remove")

    @display(description="status", label=LABELS)
    def state(self, row: Conversation) -> str:
        return row.status

    @display(description="messages")
    def messages(self, row: Conversation) -> str:
        query = {"tenant": row.tenant.slug, "namespace": CONVERSATIONS, "q": row.root.text}
        url = reverse("admin:memories_memory_changelist", query=query)
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">Show them</a>', url)

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        condition = Q(label=term) | Q(user_id=term) | in_folder(term)
        if term.isascii() and term.isdigit() and len(term) <= 18:
            condition |= Q(number=int(term))
        return rows.filter(condition)

    def has_archive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        may = self.may(request, "memories.change_memory")
        return may and row is not None and row.status != Conversation.Status.ARCHIVED

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.may(request, "memories.delete_memory")

    @dialog(
        "Archive",
        "Archive this conversation?",
        "Its messages are kept; searches include them on request.",
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
        "Its messages are deleted as well.",
        icon="delete",
        permission="remove",
        variant=ActionVariant.DANGER,
    )
    def remove(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The conversation was deleted."):
            row = existing(self.get_object(request, object_id))
            services.delete(staff.caller(request, row.tenant), row.id)
        return self.back(request, reverse("admin:conversations_conversation_changelist"))


site.register(Conversation, ConversationAdmin)

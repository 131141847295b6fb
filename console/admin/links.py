"""Admin pages for links between addresses."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import staff
from console.model_admin import OfTenant, dialog, existing, report_outcome
from console.site import site
from graph import services
from graph.models import Link
from memories import coordinates
from somamemory.errors import InvalidCoordinate


class LinkAdmin(OfTenant):
    list_display = ("begin", "kind", "goal", "strength", "valid_from", "valid_to", "updated_at")
    list_display_links = ("begin",)
    search_fields = ("from_key",)
    search_help_text = "Search by the coordinate of either end"
    order = ("from_key", "to_key", "link_type")
    fields = (
        "namespace", "begin", "kind", "goal", "strength", "valid_from", "valid_to", "metadata", "created_at",
        "updated_at",
    )  # fmt: skip
    readonly_fields = ("begin", "goal", "kind")
    actions_detail = ("unlink",)

    @display(description="from")
    def begin(self, row: Link) -> str:
        return row.start.text

    @display(description="to")
    def goal(self, row: Link) -> str:
        return row.end.text

    @display(description="type", label=True)
    def kind(self, row: Link) -> str:
        return str(row.link_type)

    def matching(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        try:
            key = coordinates.parse(term.replace(" ", "").strip("[]()")).key
        except InvalidCoordinate:
            return rows.none()
        return rows.filter(Q(from_key=key) | Q(to_key=key))

    def has_unlink_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.may(request, "memories.delete_memory")

    @dialog(
        "Remove",
        "Remove this link?",
        "The memories at both ends are kept.",
        icon="link_off",
        permission="unlink",
        variant=ActionVariant.DANGER,
    )
    def unlink(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        row: Link | None = self.get_object(request, object_id)
        with report_outcome(request, "The link was removed."):
            row = existing(row)
            services.unlink(staff.caller(request, row.tenant), row.namespace, row.start, row.end, row.link_type)
        namespace = row.namespace if row else "default"
        return self.back(request, reverse("admin:graph_link_changelist", query={"namespace": namespace}))


site.register(Link, LinkAdmin)

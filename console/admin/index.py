"""Admin pages for memories that could not be indexed, jobs, and embedding generations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from console import job_page, staff
from console.admin.memories import link
from console.model_admin import PAGE, Listed, dialog, report_outcome, tenant_asked_for
from console.site import site
from memories import services
from memories.index import generations
from memories.index.drain import MAX_BACKOFF_S
from memories.models import FAILED_ATTEMPTS, EmbeddingGeneration, Job, Memory, VectorEmbedding
from operations import jobs
from tenants.caller import Caller
from tenants.models import Tenant

LABELS = {"queued": "info", "running": "warning", "done": "success", "failed": "danger"}


class FailedAdmin(Listed):
    """Lists one tenant's memories that could not be indexed after several attempts."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenant = tenant_asked_for(request)
        if request.method == "POST" and tenant is not None:
            with report_outcome(request, "Indexing will be retried immediately."):
                services.retry_failed(staff.caller(request, tenant))
            return redirect(f"{request.path}?tenant={tenant.slug}")
        slugs = staff.slugs(request.user)
        context = {
            **self.admin_site.each_context(request),
            "title": "Failed rows",
            "tenant": tenant,
            "tenants": slugs,
            "rows": _failed(tenant) if tenant else [],
            "page": PAGE,
            "may_retry": self.may(request, "tenants.change_tenant"),
        }
        return TemplateResponse(request, "console/failed.html", context)


def _failed(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the failed rows, latest retry first.

    The delay increases with each attempt, so the rows with the most attempts usually come first.
    """
    soon = timezone.now() + timedelta(seconds=MAX_BACKOFF_S)
    rows: QuerySet[VectorEmbedding] = VectorEmbedding.objects.for_tenant(tenant)
    rows = rows.filter(generation=generations.active(), due_at__lte=soon, attempts__gte=FAILED_ATTEMPTS)
    failures = list(rows.defer("vector").order_by("-due_at")[:PAGE])
    ids: list[Any] = [row.memory_id for row in failures]
    # Purged memories are missing from this dictionary.
    memories = {memory.id: memory for memory in Memory.objects.for_tenant(tenant).filter(id__among=ids)}
    return [
        {"row": row, "memory": memories.get(id), "link": link(tenant.slug, id)}
        for row, id in zip(failures, ids, strict=True)
    ]


class JobAdmin(Listed):
    tenant_field = ""
    list_display = ("kind", "state_label", "progress", "error", "created_at", "finished_at")
    list_display_links = ("kind",)
    list_filter = ("kind", "state")
    order = ("-created_at", "-id")
    fields = ()
    change_form_template = "console/job.html"
    actions_list = ("compare", "rebuild")
    actions_detail = ("give_up",)

    @display(description="state", label=LABELS)
    def state_label(self, row: Job) -> str:
        return row.state

    @display(description="progress")
    def progress(self, row: Job) -> str:
        if row.total is None:
            return f"{row.done:,}"
        return f"{row.done:,} of {row.total:,}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row: Job | None = self.get_object(request, object_id)
        shown = job_page.described(row) if row is not None and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})  # type: ignore[no-any-return]

    def has_start_permission(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        row = self.get_object(request, object_id)
        return row is not None and row.kind == Job.Kind.REBUILD and row.state in (Job.State.QUEUED, Job.State.RUNNING)

    @dialog(
        "Compare index and database",
        "Compare the index with the database?",
        "Differences are repaired. The service keeps running.",
        icon="compare_arrows",
        permission="start",
        button="Compare",
    )
    def compare(self, request: HttpRequest, form: BaseDialogForm) -> HttpResponse:
        return self._started(request, lambda caller: jobs.start_reconcile(caller, repair=True))

    @dialog(
        "Rebuild embeddings",
        "Rebuild all embeddings?",
        "All memories are embedded again. Meanwhile, searches use the old vectors. This takes time and may cost money.",
        icon="refresh",
        permission="start",
        button="Rebuild",
    )
    def rebuild(self, request: HttpRequest, form: BaseDialogForm) -> HttpResponse:
        return self._started(request, jobs.start_rebuild)

    def _started(self, request: HttpRequest, start: Callable[[Caller], Job]) -> HttpResponse:
        """Start a job and open its page."""
        page = None
        with report_outcome(request, "The job starts within seconds."):
            page = reverse("admin:memories_job_change", args=[start(staff.installation_caller(request)).pk])
        return self.back(request, page)

    @dialog(
        "Cancel rebuild",
        "Cancel this rebuild?",
        "The new vectors are removed. Searches keep using the old vectors.",
        icon="cancel",
        permission="cancel",
        variant=ActionVariant.DANGER,
    )
    def give_up(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with report_outcome(request, "The job is being cancelled."):
            jobs.cancel_rebuild(staff.installation_caller(request))
        return self.back(request)


class GenerationAdmin(Listed):
    tenant_field = ""
    list_display = ("named", "state_label", "dimension", "collection", "created_at")
    list_display_links = ("named",)
    order = ("-created_at", "-id")
    fields = ("provider", "model", "dimension", "collection", "state", "created_at", "id")
    readonly_fields = ("id",)

    @display(description="model")
    def named(self, row: EmbeddingGeneration) -> str:
        return f"{row.provider}/{row.model}"

    @display(description="state", label={"active": "success", "building": "warning", "retired": "info"})
    def state_label(self, row: EmbeddingGeneration) -> str:
        return row.state


site.register(VectorEmbedding, FailedAdmin)
site.register(Job, JobAdmin)
site.register(EmbeddingGeneration, GenerationAdmin)

"""Admin pages for memories, using the same selectors and services as the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from console import memory_edit, memory_page, row_counts, staff
from console.memory_edit import Draft
from console.model_admin import PAGE, Listed, report_outcome
from console.playground.parts import contributions
from console.site import site
from memories import coordinates, density_map, lookup, restoring, selectors, services
from memories.models import Memory
from memories.search import hybrid
from memories.selectors import Narrowing
from somamemory.errors import InvalidCoordinate, NotFound, SomaError
from tenants.caller import Caller
from tenants.models import MAX_ID_LENGTH

ORDERS = {"coordinate": "by coordinate", "-created_at": "newest first", "-updated_at": "last changed first"}
FOUND = 100  # maximum number of search hits


class MemoryAdmin(Listed):
    """Lists the memories in one tenant's namespace, in index order."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "title": "Memories"}
        try:
            context |= _listed(request)
        except SomaError as error:
            messages.error(request, error.detail)
            context |= {"problem": True}
        return TemplateResponse(request, "console/memories.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a memory. `object_id` is `tenant/uuid`, so that the memory can only be read within its tenant."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            caller, memory = _named(request, object_id)
        except (SomaError, ValueError):
            messages.error(request, "This memory does not exist.")
            return redirect("admin:memories_memory_changelist")
        draft = memory_edit.begin(request, memory)
        if request.method == "POST":
            draft = _do(request, caller, memory, request.POST.get("do", ""))
            if draft is None:
                return redirect(link(caller.tenant.slug, memory.id))
        described = memory_page.described(request, caller, memory, _state(memory), draft)
        context = {**self.admin_site.each_context(request), **described}
        return TemplateResponse(request, "console/memory.html", context)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "memories.view_memory")


def link(slug: str, id: UUID) -> str:
    return reverse("admin:memories_memory_change", args=[f"{slug}/{id}"])


def _listed(request: HttpRequest) -> dict[str, Any]:
    tenant = staff.chosen_tenant(request)
    slugs = staff.slugs(request.user)
    if tenant is None:
        return {"tenants": slugs}
    caller = staff.caller(request, tenant)
    namespaces = selectors.namespaces(caller)
    namespace = staff.chosen_namespace(request, namespaces)
    text = request.GET.get("q", "").strip()[:8192]
    order = request.GET.get("order", "")
    chosen = {
        "tenant": tenant,
        "tenants": slugs,
        "namespaces": namespaces if namespace in namespaces else [*namespaces, namespace],
        "namespace": namespace,
        "q": text,
        "order": order if order in ORDERS else "coordinate",
        "orders": ORDERS,
        "deleted": request.GET.get("deleted") == "on",
        "kind": request.GET.get("type", "") if request.GET.get("type", "") in Memory.Type.values else "",
        "kinds": Memory.Type.values,
        "whose": request.GET.get("user", "").strip()[:MAX_ID_LENGTH],
    }
    return {**chosen, **_page(request, caller, chosen)}


def _page(request: HttpRequest, caller: Caller, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return a page of search hits, of the subtree under a coordinate, or of all memories."""
    prefix = None
    if chosen["q"]:
        try:
            prefix = coordinates.parse(chosen["q"].replace(" ", "").strip("[]()"))
        except InvalidCoordinate:
            return _searched(caller, chosen)
    narrowing = Narrowing(memory_type=chosen["kind"] or None, prefix=prefix, user_id=chosen["whose"] or None)
    page = selectors.list_memories(
        caller,
        chosen["namespace"],
        narrowing,
        order=chosen["order"],
        include_deleted=chosen["deleted"],
        limit=PAGE,
        cursor=request.GET.get("cursor") or None,
    )
    rows = selectors.stored if chosen["deleted"] else selectors.live
    total = row_counts.estimate(narrowing.apply(rows(caller, [chosen["namespace"]])))
    more = _query(request, cursor=page.next_cursor) if page.next_cursor else ""
    first = _query(request, cursor="") if request.GET.get("cursor") else ""
    return {"rows": [_row(row, caller) for row in page.items], "total": total, "more": more, "first": first}


def _searched(caller: Caller, chosen: dict[str, Any]) -> dict[str, Any]:
    query = hybrid.Search(
        chosen["q"],
        namespaces=(chosen["namespace"],),
        narrowing=Narrowing(memory_type=chosen["kind"] or None, user_id=chosen["whose"] or None),
        top_k=FOUND,
        explain=True,
        shown=False,
    )
    results = hybrid.search(caller, query)
    weights = query.effective_weights()
    rows = [
        {**_row(hit.memory, caller), "score": hit.score, "parts": contributions(hit.scores or {}, weights)}
        for hit in results.hits
    ]
    return {"rows": rows, "total": row_counts.Total(len(rows)), "searched": True, "degraded": results.degraded}


def _row(memory: Memory, caller: Caller) -> dict[str, Any]:
    return {
        "memory": memory,
        "coord": memory.coordinate.text,
        "text": density_map.excerpt(memory),
        "link": link(caller.tenant.slug, memory.id),
        "state": _state(memory),
    }


def _state(memory: Memory) -> str:
    if memory.deleted_at is not None:
        return "deleted"
    if memory.has_expired(timezone.now()):
        return "expired"
    return memory.index_state if "indexed_version" in vars(memory) else "live"


def _query(request: HttpRequest, **changed: str) -> str:
    parameters = request.GET.copy()
    for name, value in changed.items():
        if value:
            parameters[name] = value
        else:
            parameters.pop(name, None)
    return "?" + parameters.urlencode()


def _named(request: HttpRequest, object_id: str) -> tuple[Caller, Memory]:
    slug, _, id = object_id.partition("/")
    caller = staff.caller(request, staff.tenant_named(request, slug))
    return caller, selectors.inspect(caller, UUID(id))


def _do(request: HttpRequest, caller: Caller, memory: Memory, what: str) -> Draft | None:
    """Perform the action that a form submits. Return the editor if its text could not be saved."""
    version = request.POST.get("version", "")
    if what == "edit":
        draft = memory_edit.save(request, caller, memory)
        if draft is None:
            messages.success(request, "The payload was saved.")
        return draft
    if what == "delete":
        restorable = " You can restore it on this page." if memory_page.may_write(request, memory) else ""
        with report_outcome(request, f"The memory was deleted.{restorable}"):
            services.delete(caller, memory.namespace, memory.coordinate)
    elif what == "restore":
        with report_outcome(request, "The memory was restored."):
            restoring.restore(caller, memory.namespace, memory.coordinate)
    elif what == "restore_version" and version.isascii() and version.isdigit() and len(version) < 10:
        with report_outcome(request, f"The content of version {version} has been restored as a new version."):
            lookup.restore(caller, memory.namespace, memory.coordinate, int(version))
    else:
        with report_outcome(request, ""):
            raise NotFound("unknown action")
    return None


site.register(Memory, MemoryAdmin)

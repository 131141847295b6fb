"""The playground: run a search, or assemble the context for a prompt, with two sets of options side by side.

It calls the same functions as the API's routes, with the same request bodies, but counts nothing as a read. The
page's URL contains all options, so they can be shared as a link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from api.context.schemas import ContextBody
from api.search.schemas import SearchBody
from console import staff
from console.playground import code, options, results
from console.playground.options import Control, Option
from console.site import site
from console.validation import validated
from memories import selectors
from somamemory.errors import SomaError
from tenants.caller import Caller

MAX_QUERY_LENGTH = 1500  # in a URL, which servers limit to about 8,000 bytes
SECOND = "b."
Run = Callable[[Caller, Any], dict[str, Any]]


def search_page(request: HttpRequest) -> HttpResponse:
    """Search with every option."""
    return _page(request, "search", options.SEARCH)


def context_page(request: HttpRequest) -> HttpResponse:
    """Assemble the context for a prompt, and show what is in it, what was left out, and why."""
    return _page(request, "context", options.CONTEXT)


# by page: (request schema, function that runs the request, route path, client method)
_KINDS: dict[str, tuple[Any, Run, str, str]] = {
    "search": (SearchBody, results.of_search, "/api/v1/memories/search", "memories.search"),
    "context": (ContextBody, results.of_context, "/api/v1/context/assemble", "context.assemble"),
}


def _page(request: HttpRequest, kind: str, known: Sequence[Option]) -> HttpResponse:
    user: Any = request.user
    if not user.has_perm("memories.view_memory"):
        raise PermissionDenied
    tenant = staff.chosen_tenant(request)
    compare = request.GET.get("compare") == "on"
    context = {
        **site.each_context(request),
        "title": "Playground",
        "kind": kind,
        "tenant": tenant,
        "tenants": staff.slugs(request.user),
        "query": request.GET.get("query", "").strip()[:MAX_QUERY_LENGTH],
        "compare": compare,
        "max_length": MAX_QUERY_LENGTH,
    }
    if tenant is not None:
        caller = staff.caller(request, tenant)
        names = selectors.namespaces(caller)
        prefixes = ("", SECOND) if compare else ("",)
        context["panels"] = [_panel(request, caller, kind, known, prefix, names) for prefix in prefixes]
        if compare:
            results.compare(*context["panels"])
    return TemplateResponse(request, "console/playground.html", context)


def _panel(
    request: HttpRequest, caller: Caller, kind: str, known: Sequence[Option], prefix: str, names: Sequence[str]
) -> dict[str, Any]:
    controls = options.controls(known, request.GET, prefix, names)
    panel: dict[str, Any] = {
        "name": "Settings B" if prefix else "Settings A" if request.GET.get("compare") == "on" else "Settings",
        "controls": [control for control in controls if control.option.kind != options.FLAG],
        "flags": [control for control in controls if control.option.kind == options.FLAG],
        "changed": sum(control.is_changed for control in controls),
        "id": "b" if prefix else "a",
    }
    query = request.GET.get("query", "").strip()[:MAX_QUERY_LENGTH]
    if not query:
        return panel
    try:
        return {**panel, **_answer(request, caller, kind, query, controls)}
    except SomaError as error:
        return {**panel, "problem": error.detail, "fields": getattr(error, "fields", {})}


def _answer(request: HttpRequest, caller: Caller, kind: str, query: str, controls: Sequence[Control]) -> dict[str, Any]:
    schema, run, path, method = _KINDS[kind]
    body = options.body(query, controls)
    answer = run(caller, validated(schema, body))
    base = request.build_absolute_uri("/").rstrip("/")
    return {**answer, "samples": code.samples(base, path, method, body)}

"""The page that lists slow searches, with the likely reason for each. Superusers only."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from console import staff
from console.site import site
from memories.search import slow_searches
from memories.search.slow_searches import SlowSearch

REASONS = {
    "statistics": "Most of the time went into counting how common the words are. "
    "The first search after a pause takes longer.",
    "words": "Most of the time went into ranking by words. Queries with many common words match many memories.",
    "candidates": "Most of the time went into the search by meaning, and into checking the candidates in the database. "
    "Filters that few memories match, and a slow embedding provider or index, make this slower.",
    "neighbours": "Most of the time went into comparing the memories that are adjacent to the best hits.",
    "expansion": "Most of the time went into following links (expand). Fewer hops make this faster.",
    "ranking": "Most of the time went into ranking the candidates. A smaller top_k or offset makes this faster.",
    "page": "Most of the time went into reading the hits' payloads. A smaller top_k makes this faster.",
}


def page(request: HttpRequest) -> HttpResponse:
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    searches = slow_searches.recent(staff.installation_caller(request))
    context = {
        **site.each_context(request),
        "title": "Slow searches",
        "rows": [_row(search) for search in searches],
        "slow_ms": slow_searches.SLOW_MS,
        "limit": slow_searches.MAX_SEARCHES,
    }
    return TemplateResponse(request, "console/slow.html", context)


def _row(search: SlowSearch) -> dict[str, Any]:
    total = search.took_ms or 1.0
    at, steps = 0.0, []
    for name, ms in search.steps:
        width = min(100.0 - at, 100 * ms / total)
        steps.append({"name": name, "ms": ms, "x": round(at, 2), "width": round(width, 2)})
        at += width
    longest = max(search.steps, key=lambda step: step[1], default=("", 0.0))[0]
    return {"search": search, "steps": steps, "reason": REASONS.get(longest, "")}

"""The page at `/`, with links to other pages. It contains no data."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>SomaMemory</title>
<style>
  body {{ max-width: 40rem; margin: 15vh auto; padding: 0 1rem; font: 1.1rem/1.6 system-ui, sans-serif;
    color: #1d2b29; background: #fff }}
  a {{ color: #146b61 }}
  @media (prefers-color-scheme: dark) {{ body {{ color: #e6efed; background: #14201e }} a {{ color: #6cc7bb }} }}
</style>
<h1>SomaMemory</h1>
<p>A memory service for AI agents and applications.</p>
<ul>{}</ul>
</html>
"""
_LINKS = [
    ("/docs", "Interactive API documentation"),
    ("/api/v1/openapi.json", "OpenAPI document for client generators"),
    ("/healthz", "Liveness check"),
    ("/readyz", "Readiness check"),
]
_CONSOLE = ("/admin/", "Admin console")


@require_safe
def landing_page(request: HttpRequest) -> HttpResponse:
    links = [*_LINKS, _CONSOLE] if settings.ADMIN else _LINKS
    return HttpResponse(format_html(_PAGE, format_html_join("", '<li><a href="{}">{}</a></li>', links)))

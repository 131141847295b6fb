"""Responses for the URLs of an extra that is not installed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from somamemory import extras
from somamemory.errors import NotFound
from somamemory.web.problems import problem


@csrf_exempt
def mcp(request: HttpRequest, namespace: str = "") -> HttpResponse:
    return problem(request, NotFound(extras.missing("mcp", "/mcp")))

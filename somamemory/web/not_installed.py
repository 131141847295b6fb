"""Answer at the URLs of an extra that is not installed."""

from __future__ import annotations

from typing import NoReturn

from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt

from somamemory import extras
from somamemory.errors import NotFound


@csrf_exempt
def mcp(request: HttpRequest, namespace: str = "") -> NoReturn:
    raise NotFound(extras.missing("mcp", "/mcp"))

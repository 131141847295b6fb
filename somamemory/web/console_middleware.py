"""Middleware for the console under /admin/: sessions, sign-in and security headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from somamemory.db import tenant_scope
from somamemory.web.handler import Handler

CONSOLE_PREFIX = "/admin/"
# Scripts are loaded from our own files only. unfold's pages use Alpine, which evaluates attributes (unsafe-eval). Their
# colours are in a style element and some widths in style attributes (unsafe-inline).
_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class ConsoleMiddleware:
    """Apply Django's session and security middleware to the console only. The API needs no session."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = self.get_console_response = get_response
        innermost_first: tuple[Callable[[Handler], Any], ...] = (
            MessageMiddleware,
            AuthenticationMiddleware,
            SessionMiddleware,
            XFrameOptionsMiddleware,
            SecurityMiddleware,
        )
        for middleware in innermost_first:
            self.get_console_response = middleware(self.get_console_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(CONSOLE_PREFIX):
            return self.get_response(request)
        tenant_scope.cross()  # a member of staff may see several tenants
        response = self.get_console_response(request)
        response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

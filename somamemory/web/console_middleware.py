"""Middleware for the console under /admin/: sessions, sign-in and security headers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils import timezone

from somamemory.db import tenant_scope
from somamemory.web.handler import Handler

CONSOLE_PREFIX = "/admin/"


def policy(form_action: str = "") -> str:
    """Return the content security policy for a page.

    Scripts are loaded from our own files only, and no text is run as code: see console/static/console/alpine_data.js.
    The colours of unfold's pages are in a style element, and some widths in style attributes (unsafe-inline).

    form_action: an additional origin to which a form may submit or redirect.
    """
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            f"form-action 'self' {form_action}".rstrip(),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


_CONTENT_SECURITY_POLICY = policy()
_SEEN = "seen"
_SEEN_EVERY_S = 60
_MARGIN_S = 5


class IdleTimeout:
    """End a signed-in session after SOMA_ADMIN_IDLE_MINUTES without a request. Writes to the session at most once a
    minute.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if SESSION_KEY in request.session and settings.SESSION_IDLE_S:
            now = int(time.time())
            seen = request.session.setdefault(_SEEN, now)  # missing from sessions created by earlier versions
            if now - seen > settings.SESSION_IDLE_S:
                request.session.flush()
            elif now - seen > _SEEN_EVERY_S:
                request.session[_SEEN] = now
        response = self.get_response(request)
        if SESSION_KEY in request.session:
            # When the session ends, the browser reloads the page, so that its data does not stay visible.
            response.headers["Refresh"] = str((settings.SESSION_IDLE_S or settings.SESSION_COOKIE_AGE) + _MARGIN_S)
        return response


def begin_session(request: HttpRequest, **kwargs: Any) -> None:
    """Record the sign-in time in the new session, which is saved anyway. Connected by `console.apps`."""
    request.session[_SEEN] = int(time.time())
    # By default, Django counts from the last change to the session, so a session in use would never end.
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))


class ConsoleMiddleware:
    """Apply Django's session and security middleware to the console only. The API needs no session."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = self.get_console_response = get_response
        innermost_first: tuple[Callable[[Handler], Any], ...] = (
            MessageMiddleware,
            AuthenticationMiddleware,
            IdleTimeout,
            SessionMiddleware,
            XFrameOptionsMiddleware,
            SecurityMiddleware,
        )
        for middleware in innermost_first:
            self.get_console_response = middleware(self.get_console_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(CONSOLE_PREFIX):
            return self.get_response(request)
        tenant_scope.cross()  # staff users may have access to several tenants
        if not request.COOKIES.get(settings.SESSION_COOKIE_NAME, "").isalnum():
            # Session keys contain only letters and digits. PostgreSQL would raise an error for a NUL character.
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
        response = self.get_console_response(request)
        response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

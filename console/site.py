"""The admin site, served under /admin/."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any, NoReturn

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import InvalidPage
from django.db import DataError, transaction
from django.forms import CharField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminTextInputWidget

from console import second_factor, staff
from somamemory.errors import SomaError
from somamemory.web.problems import PROBLEM, problem
from somamemory.web.request_state import state_of
from tenants import audit
from tenants.limits import policy

log = logging.getLogger("soma.signin")
TOO_MANY = "too_many"


# Each delayed attempt occupies a thread, so only a few may wait at a time.
DELAYED_AT_ONCE = 2
_delayed = threading.BoundedSemaphore(DELAYED_AT_ONCE)
pause = time.sleep


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """Checks the rate limits before hashing the password, which takes half a second of CPU time."""

    code = CharField(
        required=False,
        max_length=64,
        label="Code (if you use a second factor)",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code"}),
    )

    def clean(self) -> Any:
        name = str(self.cleaned_data.get("username", ""))
        decision = policy.sign_in(state_of(self.request).client_address, name)
        if not decision.allowed:
            self._refuse(decision.retry_after_s)
        if delay_s := policy.sign_in_delay_s(name):
            self._delay(delay_s)
        cleaned = super().clean()
        user = self.get_user()
        if user and second_factor.is_on(user):
            self._check_code(user)
        return cleaned

    def _check_code(self, user: AbstractBaseUser) -> None:
        if not second_factor.accepts(user, self.cleaned_data["code"], timezone.now()):
            raise ValidationError(
                "Enter the current code from your app, or a recovery code. Each code works once.", code="second_factor"
            )

    def _delay(self, delay_s: float) -> None:
        """Slow down attempts from many addresses to guess a user's password, without locking that user out."""
        if not _delayed.acquire(blocking=False):
            self._refuse(delay_s)
        try:
            pause(delay_s)
        finally:
            _delayed.release()

    def _refuse(self, seconds: float) -> NoReturn:
        self.retry_after_s = max(1, round(seconds))
        raise ValidationError(f"Too many attempts. Try again in {self.retry_after_s} seconds.", code=TOO_MANY)


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    site_title = site_header = "SomaMemory"
    index_title = "Dashboard"
    login_form = SignInForm
    login_template = "console/login.html"
    index_template = "console/dashboard.html"
    enable_nav_sidebar = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Set by `console.urls`, because the modules that define them need this site.
        self.figures: Callable[[HttpRequest], dict[str, Any]] = lambda request: {}
        self.pages: list[tuple[str, str, Callable[..., Any]]] = []

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        """Report errors as the API does.

        Django's forms pass ids to queries exactly as they were sent, so an id that the column cannot store is reported
        as a bad request. So is a nonexistent page of command search results.
        """

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except (DataError, InvalidPage, OverflowError, ValidationError) as error:
                raise BadRequest from error
            except SomaError as error:
                return self._refused(request, error)

        inner: Callable[..., HttpResponse] = super().admin_view(guarded, cacheable)
        return inner

    def _search_apps(self, app_list: list[dict[str, Any]], search_term: str) -> list[dict[str, Any]]:
        """Return the results as dictionaries, because unfold puts them in the cache, which can store only JSON."""
        return [asdict(result) for result in super()._search_apps(app_list, search_term)]

    def _refused(self, request: HttpRequest, error: SomaError) -> HttpResponse:
        """Render an error: as a page for people, and as problem+json for scripts and other clients."""
        if request.get_preferred_type([PROBLEM, "application/json", "text/html"]) != "text/html":
            return problem(request, error)
        response = self.error_page(request, error.status, error.title, error.detail)
        for name, value in error.headers.items():
            response[name] = value
        return response

    def error_page(self, request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
        """Render an error, with the sidebar if the user is signed in."""
        template = "console/error.html" if self._is_signed_in(request) else "console/error_signed_out.html"
        context = {
            **self.each_context(request),
            "title": title,
            "text": text,
            "status": status,
            "request_id": state_of(request).request_id,
        }
        return render(request, template, context, status=status)

    def _is_signed_in(self, request: HttpRequest) -> bool:
        return hasattr(request, "user") and bool(self.has_permission(request))

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        response: Any = super().login(request, extra_context)
        if request.method != "POST":
            return response  # type: ignore[no-any-return]
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is None:
            _signed_in(request)
            return response  # type: ignore[no-any-return]
        log.warning(
            "sign-in refused",
            extra={"ip": state_of(request).client_address, "request_id": state_of(request).request_id},
        )
        if form.has_error("__all__", TOO_MANY):
            response.status_code = 429
            response["Retry-After"] = str(form.retry_after_s)
        return response  # type: ignore[no-any-return]

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        with transaction.atomic():
            response: HttpResponse = super().password_change(request, extra_context)
            if request.method == "POST" and response.status_code == 302:
                audit.record(staff.recorder(request), "user.password", [str(request.user.pk)])
        return response

    def index(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().index(request, {**self.figures(request), **(extra_context or {})})  # type: ignore[no-any-return]

    def extra_urls(self) -> list[URLPattern]:
        return [path(route, self.admin_view(view), name=name) for route, name, view in self.pages]


def _signed_in(request: HttpRequest) -> None:
    if not request.user.is_authenticated:
        return
    with transaction.atomic():
        audit.record(staff.recorder(request), "staff.sign_in", [str(request.user.pk)])
    SessionStore.clear_expired()  # rarely called, and nothing else clears expired sessions


site = ConsoleSite(name="admin")

"""The page on which staff users turn their second factor on and off."""

from __future__ import annotations

from typing import Any

import segno
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from console import second_factor, staff
from console.site import site
from somamemory.web.request_state import state_of
from tenants import audit
from tenants.limits import policy

_SECRET = "second_factor_secret"  # noqa: S105 - session key of the secret, until the first correct code
WRONG = "This code is wrong or has been used before. Enter the current code from your app."


def page(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, AbstractBaseUser)  # noqa: S101 - the site admits only users
    if request.method == "POST":
        return _submitted(request, user)
    return _form(request, user)


def _submitted(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    decision = policy.sign_in(state_of(request).client_address, user.get_username())
    if not decision.allowed:
        wait = f"Too many attempts. Try again in {max(1, round(decision.retry_after_s))} seconds."
        return _form(request, user, error=wait, status=429)
    code = request.POST.get("code", "")
    return _turn_off(request, user, code) if second_factor.is_on(user) else _turn_on(request, user, code)


def _turn_on(request: HttpRequest, user: AbstractBaseUser, code: str) -> HttpResponse:
    with transaction.atomic():
        codes = second_factor.turn_on(user, _secret(request), code, timezone.now())
        if codes:
            audit.record(staff.recorder(request), "staff.second_factor_on", [str(user.pk)])
    if not codes:
        return _form(request, user, error=WRONG)
    del request.session[_SECRET]
    return _render(request, {"codes": codes})


def _turn_off(request: HttpRequest, user: AbstractBaseUser, code: str) -> HttpResponse:
    with transaction.atomic():
        right = second_factor.accepts(user, code, timezone.now())
        if right:
            second_factor.turn_off(user)
            audit.record(staff.recorder(request), "staff.second_factor_off", [str(user.pk)])
    if not right:
        return _form(request, user, error=WRONG)
    messages.success(request, "The second factor is off.")
    return redirect("admin:second_factor")


def _form(request: HttpRequest, user: AbstractBaseUser, error: str = "", status: int = 200) -> HttpResponse:
    if second_factor.is_on(user):
        return _render(request, {"on": True, "error": error}, status)
    secret = _secret(request)
    code = segno.make(second_factor.uri(secret, user.get_username()))
    picture = code.svg_data_uri(scale=5, dark="black", light="white")
    return _render(request, {"secret": secret, "picture": picture, "error": error}, status)


def _secret(request: HttpRequest) -> str:
    """Return the secret that this session shows until the user enters a correct code."""
    if _SECRET not in request.session:
        request.session[_SECRET] = second_factor.new_secret()
    return str(request.session[_SECRET])


def _render(request: HttpRequest, content: dict[str, Any], status: int = 200) -> HttpResponse:
    context = {**site.each_context(request), "title": "Second factor", **content}
    return render(request, "console/second_factor.html", context, status=status)

"""Error pages for the console. `somamemory.web.problems` renders the API's errors."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse

from console.site import site
from somamemory.web.console_middleware import CONSOLE_PREFIX


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(
        request, 400, "Invalid request", "The URL or the form contains an invalid value. Correct it, and try again."
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    text = (
        "Your account does not have the permission that this page requires. A superuser can grant it on your user page."
    )
    return _page(request, 403, "You do not have access to this page", text)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    text = (
        "The form does not belong to your session, for example because you have signed in or out in another tab, or "
        "because your browser blocks cookies. Nothing was changed. Go back, reload the page and submit the form again."
    )
    return _page(request, 403, "The form has expired", text)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    text = "There is no page at this URL. The object that it showed may have been deleted."
    return _page(request, 404, "Page not found", text)


def failed(request: HttpRequest) -> HttpResponse:
    """Render the page for an unexpected error, without using the database, because it may be the cause."""
    if request.path_info.startswith(CONSOLE_PREFIX):
        request.user = AnonymousUser()
    text = "The error is in the server's log, with the request ID below. Try again later."
    return _page(request, 500, "Something went wrong", text)


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    if not request.path_info.startswith(CONSOLE_PREFIX):
        return HttpResponse(status=status)  # becomes problem+json
    return site.error_page(request, status, title, text)

"""Headers that restrict what browsers may run, embed and guess. The console sets its own content security policy."""

from __future__ import annotations

from django.http.response import HttpResponseBase

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
# The page at /api/v1/docs. Swagger UI sets some styles inline and has images in its style sheet.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def add(response: HttpResponseBase) -> None:
    """Add the headers that the response does not have yet."""
    if response.get("Content-Type", "").startswith("text/html"):
        response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)

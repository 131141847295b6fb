"""Scopes, described in words."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from tenants.caller import SCOPES

VERBS = {"read": "read", "write": "write", "delete": "delete", "admin": "administer"}
DESCRIPTIONS = {
    "read": "search, fetch and list memories and conversations",
    "write": "store and change memories and conversations",
    "delete": "delete memories and conversations",
    "admin": "change lifecycle settings, and retry failed indexing",
}


def choices(scopes: Iterable[str] = SCOPES) -> list[tuple[str, str]]:
    """Return the choices for a form field."""
    return [(scope, f"{VERBS[scope].capitalize()}: {DESCRIPTIONS[scope]}") for scope in scopes]


def verbs(scopes: Iterable[str]) -> str:
    return ", ".join(VERBS.get(scope, scope) for scope in scopes)


def descriptions(scopes: Iterable[str]) -> SafeString:
    """Return one line of HTML per scope."""
    lines = ((VERBS.get(scope, scope), DESCRIPTIONS.get(scope, "")) for scope in scopes)
    return format_html_join("", "<div><b>{}</b>: {}</div>", lines)

"""Conditional requests (RFC 9110, section 13): a memory's ETag is its version."""

from __future__ import annotations

import re

from django.http import HttpRequest

from memories.services import Precondition
from somamemory.errors import MalformedRequest

# gzip turns a strong tag weak on its way out, so the weak form comes back and means the same version.
_TAG = re.compile(r'(?:W/)?"([0-9]{1,10})"')


def etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def of(request: HttpRequest) -> Precondition:
    """What If-Match and If-None-Match ask of a write. Raises MalformedRequest."""
    match = request.headers.get("If-Match")
    none_match = request.headers.get("If-None-Match")
    if none_match not in (None, "*"):
        raise MalformedRequest("If-None-Match on a write must be *")
    if match is None:
        return Precondition(absent=none_match == "*")
    if match.strip() == "*":
        return Precondition(present=True, absent=none_match == "*")
    tag = _TAG.fullmatch(match.strip())
    if tag is None:
        raise MalformedRequest('If-Match must be one version in quotes, like "3", or *')
    return Precondition(version=int(tag[1]), absent=none_match == "*")


def refuse(request: HttpRequest) -> None:
    """For writes that take no condition: one that is ignored could do what the caller wanted to prevent."""
    for name in ("If-Match", "If-None-Match"):
        if name in request.headers:
            raise MalformedRequest(f"{name} is for writes to one memory; this route takes no condition")


def not_modified(request: HttpRequest, version: int) -> bool:
    """Whether the caller's If-None-Match names this very version."""
    given = request.headers.get("If-None-Match", "")
    return given.strip() == "*" or str(version) in _TAG.findall(given)

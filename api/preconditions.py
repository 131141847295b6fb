"""Conditional requests (RFC 9110, section 13). A memory's ETag is its version."""

from __future__ import annotations

import re

from django.http import HttpRequest

from memories.precondition import Precondition
from somamemory.errors import MalformedRequest

# Compression turns a strong ETag into a weak one, so clients send the weak form back. Both identify the same version.
_TAG = re.compile(r'(?:W/)?"([0-9]{1,10})"')


def etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def of_write(request: HttpRequest) -> Precondition:
    """Parse If-Match and If-None-Match. Raises MalformedRequest if one of them is not valid for a write."""
    # Not `request.headers`, which would convert all header names.
    if_match = request.META.get("HTTP_IF_MATCH")
    if_none_match = request.META.get("HTTP_IF_NONE_MATCH")
    if if_none_match not in (None, "*"):
        raise MalformedRequest("If-None-Match must be * for a write")
    absent = if_none_match == "*"
    if if_match is None:
        return Precondition(absent=absent)
    if if_match.strip() == "*":
        return Precondition(present=True, absent=absent)
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:
        raise MalformedRequest('If-Match must be * or one version in quotes, such as "3"')
    return Precondition(version=int(tag[1]), absent=absent)


def reject(request: HttpRequest) -> None:
    """Raise MalformedRequest if the request has a condition. For routes that do not support conditions.

    Ignoring a condition could overwrite data.
    """
    for name, variable in (("If-Match", "HTTP_IF_MATCH"), ("If-None-Match", "HTTP_IF_NONE_MATCH")):
        if variable in request.META:
            raise MalformedRequest(f"{name} is not supported by this route; remove the header")


def is_not_modified(request: HttpRequest, version: int) -> bool:
    """Return whether If-None-Match contains this version."""
    if_none_match = request.META.get("HTTP_IF_NONE_MATCH", "")
    return if_none_match.strip() == "*" or str(version) in _TAG.findall(if_none_match)

"""The validity of a memory: from `valid_from` until just before `valid_to`. Without either, it is always valid.

Validity is stated by the caller, unlike the times at which the service stored and changed the memory (`history`).
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from somamemory.errors import InvalidInput


def valid_at(moment: datetime) -> Q:
    """Return the condition that a memory is valid at this time. It is never NULL."""
    started = Q(valid_from__isnull=True) | Q(valid_from__lte=moment)
    return started & (Q(valid_to__isnull=True) | Q(valid_to__gt=moment))


def start(valid_from: datetime | None, *, supersedes: bool) -> datetime | None:
    """Return the start of a memory's validity. By default, a memory that supersedes others is valid from now on."""
    return timezone.now() if valid_from is None and supersedes else valid_from


def check(valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Raise InvalidInput for a memory that would never be valid."""
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        raise InvalidInput("valid_to", "must be after valid_from; otherwise the memory would never be valid")

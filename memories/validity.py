"""When a memory holds in the world: from `valid_from` until just before `valid_to`. Without either, it always holds.

This is a statement of the caller, unlike the times at which the service stored and changed the memory (`history`).
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from somamemory.errors import InvalidInput


def holds_at(moment: datetime) -> Q:
    """Return the condition that a memory holds at this moment. It is never unknown."""
    begun = Q(valid_from__isnull=True) | Q(valid_from__lte=moment)
    return begun & (Q(valid_to__isnull=True) | Q(valid_to__gt=moment))


def beginning(valid_from: datetime | None, *, supersedes: bool) -> datetime | None:
    """Return when a memory begins to hold. One that supersedes others holds from now on, unless it says otherwise."""
    return timezone.now() if valid_from is None and supersedes else valid_from


def check(valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Raise InvalidInput for a memory that would never hold."""
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        raise InvalidInput("valid_to", "must be after valid_from; otherwise the memory would never hold")

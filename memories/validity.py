"""A memory's validity: from `valid_from` until just before `valid_to`. If neither is set, it is always valid.

The caller states the validity. It is independent of when the service stored and changed the memory (see `history`).
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from somamemory.errors import InvalidInput


def valid_at(moment: datetime) -> Q:
    """Return the condition for memories that are valid at this time. The condition is never NULL."""
    started = Q(valid_from__isnull=True) | Q(valid_from__lte=moment)
    return started & (Q(valid_to__isnull=True) | Q(valid_to__gt=moment))


def start(valid_from: datetime | None, *, supersedes: bool) -> datetime | None:
    """Return the start of a memory's validity: the given one or, if the memory supersedes others, now by default."""
    return timezone.now() if valid_from is None and supersedes else valid_from


def check(valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Raise InvalidInput if a memory with this validity would never be valid."""
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        raise InvalidInput("valid_to", "must be after valid_from; otherwise the memory would never be valid")

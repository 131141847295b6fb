"""Leases: each row is processed by one process at a time, and by another one if that process is killed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

# The field values that an update sets to release a row.
RELEASED: dict[str, None] = {"lease": None, "lease_until": None}


class Leased(models.Model):
    """A row held by a process until `lease_until`. If `lease` has changed, another process has taken the row."""

    lease = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def is_leased(self, now: datetime) -> bool:
        return self.lease_until is not None and self.lease_until > now


Row = TypeVar("Row", bound=Leased)


def not_leased(now: datetime) -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=now)


def take(rows: QuerySet[Row], duration: timedelta, limit: int = 1) -> list[Row]:
    """Lease up to `limit` free rows, in order, and return them.

    Rows currently locked by a writer are skipped. Later updates of a leased row must filter by its `lease`, because
    another process can take the row once the lease has expired.
    """
    now = timezone.now()
    free = rows.filter(not_leased(now))
    if not free.exists():  # no transaction: on SQLite it would wait for writers
        return []
    with transaction.atomic():
        taken = list(free.select_for_update(skip_locked=True, of=("self",))[:limit])
        lease, lease_until = uuid.uuid4(), now + duration
        ids = [row.pk for row in taken]
        _all(rows).filter(pk__among=ids).update(lease=lease, lease_until=lease_until)
    for row in taken:
        row.lease, row.lease_until = lease, lease_until
    return taken


def _all(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return all rows of the model, without the filters of `rows`, which may contain joins."""
    return QuerySet(rows.model, using=rows.db)

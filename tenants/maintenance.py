"""Scheduled tenant maintenance: confirm erasures, recount usage, and seal, publish and prune the audit log."""

from __future__ import annotations

from django.conf import settings

from somamemory.scheduling import ShouldStop, periodic
from tenants import erasure, usage
from tenants.audit import pruning, publishing, sealing

HOUR_S = 3600.0


@periodic(
    "tenants.maintain",
    every_s=lambda: settings.AUDIT_SEAL_INTERVAL_S,
    thread="maintenance",
    first_s=lambda: usage.FLUSH_S,
)
def maintain() -> None:
    erasure.confirm()
    usage.recount_stale()
    sealing.seal()  # runs late, because it raises an error if someone has tampered with the log
    publishing.publish()


@periodic(
    "tenants.maintain_hourly",
    every_s=lambda: HOUR_S if settings.AUDIT_RETENTION_DAYS else 0,
    thread="audit-pruning",
    first_s=lambda: HOUR_S / 60,
)
def maintain_hourly(should_stop: ShouldStop) -> None:
    pruning.prune(should_stop)

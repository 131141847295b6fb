"""Scheduled tenant maintenance: seal the audit log, check erased tenants again, and correct the recorded usage."""

from __future__ import annotations

from django.conf import settings

from somamemory.scheduling import periodic
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


@periodic("tenants.maintain_hourly", every_s=lambda: HOUR_S, thread="maintenance", first_s=lambda: HOUR_S / 60)
def maintain_hourly() -> None:
    pruning.prune()

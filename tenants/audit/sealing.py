"""Seal the audit log: group rows into blocks and append each tenant's blocks to its chain. Writers never wait for it.

1. Find an id up to which the log is *settled*: no running transaction can still add a row below it.
2. Take the rows after the last sealed row, up to that id, in order, and build one block per tenant.
3. Write the blocks and the id of the last sealed row in one transaction.

Only one sealer runs at a time. A crash at any point leaves the log unchanged.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from tenants.audit import chain, progress
from tenants.models import AuditBlock, AuditEvent, AuditSealer, ErasedTenant

log = logging.getLogger("soma.audit")

BATCH = 2_000
# Writers commit within milliseconds. If one takes longer, the next run tries again.
PATIENCE_S = 10.0
_PAUSE_S = 0.02


def seal(limit: int = 200_000) -> int:
    """Seal up to about `limit` rows. Return the number of rows sealed.

    Raises Tampered if the audit log was changed outside this service.
    """
    sealer = progress.require_valid(AuditSealer.objects.first())
    # No transaction, because on SQLite it would wait for writers
    if not AuditEvent.objects.filter(id__gt=sealer.sealed_to).exists():
        return 0
    horizon = settled()
    sealed = 0
    while horizon is not None and sealed < limit and (count := _seal_batch(horizon)):
        sealed += count
    return sealed


def settled() -> int | None:
    """Return an id up to which no more rows can be added, or None if a long transaction makes this unknown.

    SQLite has one writer at a time, which commits before the next one gets an id. In PostgreSQL, a row may become
    visible after rows with higher ids. A transaction locks the table before it takes an id; the lock conflicts only
    with changes to the table's definition. Once all transactions that held the lock after we read the last id have
    ended, no lower id can appear.
    """
    horizon: int = AuditEvent.objects.aggregate(last=Max("id"))["last"] or 0
    if connection.vendor != "postgresql":
        return horizon
    until = time.monotonic() + PATIENCE_S
    writing = _writers()
    while writing:
        if time.monotonic() > until:
            log.warning("the audit log cannot be sealed yet because a long transaction is still writing to it")
            return None
        time.sleep(_PAUSE_S)
        writing &= _writers()
    return horizon


def _writers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted "
            "AND relation = 'sfm_audit_log'::regclass AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return {row[0] for row in cursor.fetchall()}


def _seal_batch(horizon: int) -> int:
    with transaction.atomic():
        sealer = AuditSealer.objects.select_for_update(skip_locked=True).first()
        if sealer is None:  # another process is sealing
            return 0
        progress.require_valid(sealer)
        rows = list(AuditEvent.objects.filter(id__gt=sealer.sealed_to, id__lte=horizon).order_by("id")[:BATCH])
        by_tenant: dict[UUID, list[AuditEvent]] = {}
        erased = _erased({row.tenant_id for row in rows if row.tenant_id is not None})
        for row in rows:
            if row.tenant_id is not None and row.tenant_id not in erased:
                by_tenant.setdefault(row.tenant_id, []).append(row)
        blocks = [_block(sealer, tenant, events) for tenant, events in by_tenant.items()]
        AuditBlock.all_tenants.bulk_create(blocks)
        if rows:
            progress.advance(sealer, rows[-1].id, sum(block.number == 1 for block in blocks))
    for block in blocks:  # so that copies of the server log also contain the chain heads
        log.info("audit block sealed", extra=asdict(chain.head(block)))
    return len(rows)


def _erased(tenants: set[UUID]) -> set[UUID]:
    """Return which of these tenants have been erased or are being erased. Their rows are about to be removed."""
    return set(ErasedTenant.objects.filter(tenant_id__in=tenants).values_list("tenant_id", flat=True))


def _block(sealer: AuditSealer, tenant: UUID, events: list[AuditEvent]) -> AuditBlock:
    head = head_of(tenant)
    progress.require_continuing(sealer, head, tenant)
    now = timezone.now()
    digests = [chain.digest(event) for event in events]
    block = AuditBlock(
        tenant_id=tenant,
        number=head.number + 1 if head else 1,
        first_id=events[0].id,
        last_id=events[-1].id,
        count=len(events),
        last_at=max(event.at for event in events),
        sealed_at=now,
        previous=bytes(head.hash) if head else chain.NOTHING_BEFORE,
        marks=chain.marks(zip((event.id for event in events), digests, strict=True)),
    )
    block.hash = chain.hash_of(block, digests)
    block.signature = chain.sign(chain.Position.of(block))
    return block


def head_of(tenant: UUID) -> AuditBlock | None:
    """Return the last block of a tenant's chain. Pruning never removes it."""
    return AuditBlock.all_tenants.filter(tenant_id=tenant).order_by("-number").first()

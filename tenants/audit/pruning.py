"""Remove audit log rows that are older than the retention period, one whole block at a time.

A signed checkpoint replaces the removed blocks. A removed block can no longer be checked, so the pruner verifies each
one first. Otherwise, someone with access to the database could mark new blocks as old, and the service itself would
remove the evidence and sign a checkpoint for it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from somamemory.scheduling import ShouldStop
from tenants.audit import chain, erasures, progress, sealing
from tenants.audit.chain import Position
from tenants.audit.progress import Tampered
from tenants.models import AuditBlock, AuditCheckpoint, AuditEvent, AuditSealer, Tenant

log = logging.getLogger("soma.audit")

# One checkpoint covers up to this many blocks. They are verified and removed in seconds.
BLOCKS = 200
DELETE_BATCH = 1_000


def prune(should_stop: ShouldStop = lambda: False) -> int:
    """Remove every tenant's expired rows. Return the number of rows removed.

    If a tenant's log was tampered with, the changed block and all later ones are kept until an operator accepts them.
    `should_stop` is checked before each block. If it returns True, this run ends, and the next run continues.

    Raises Tampered if the progress is not valid.
    """
    if not settings.AUDIT_RETENTION_DAYS:
        return 0
    accepted_to = progress.require_valid(AuditSealer.objects.first()).accepted_to
    before = timezone.now() - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    pruned = 0
    for tenant in Tenant.objects.order_by("id").values_list("id", flat=True).iterator():
        if should_stop():
            break
        pruned += _prune(tenant, before, accepted_to, should_stop)
    return pruned


def _prune(tenant: UUID, before: datetime, accepted_to: int, should_stop: ShouldStop) -> int:
    """Remove a tenant's expired rows. Return the number of rows removed.

    First writes a signed checkpoint that covers these rows. Without the checkpoint, the database would reject the
    deletion.
    """
    pruned = _remove_covered(tenant, should_stop)  # the previous run may have been stopped
    while not erasures.has_begun(tenant):
        checkpoint = last_checkpoint(tenant)
        try:
            last = _last_expired(tenant, before, accepted_to, should_stop)
        except Tampered as error:
            if last_checkpoint(tenant) != checkpoint or erasures.has_begun(tenant):
                continue  # the service itself has removed rows in the meantime
            log.error("the audit log for tenant %s was not pruned: %s; run verify_audit", tenant, error)
            break
        if last is None:
            break
        _checkpoint(last)
        pruned += _remove_covered(tenant, should_stop)
    return pruned


def _last_expired(tenant: UUID, before: datetime, accepted_to: int, should_stop: ShouldStop) -> AuditBlock | None:
    """Return the last expired block among the next BLOCKS blocks. Raises Tampered if one of them was changed.

    The last block of the chain is never removed, so it is never returned. Blocks that an operator has accepted are not
    verified again.
    """
    head, checkpoint = sealing.head_of(tenant), last_checkpoint(tenant)
    if head is None:
        return None
    earlier = Position.of(checkpoint) if checkpoint else Position(tenant, 0, chain.BEFORE_ALL, chain.NOTHING_BEFORE)
    expired = None
    blocks = AuditBlock.all_tenants.filter(tenant_id=tenant, number__gt=earlier.number, number__lt=head.number)
    for block in blocks.order_by("number")[:BLOCKS].iterator(chunk_size=50):
        if block.last_at >= before or should_stop():
            break
        rows = _rows(tenant, max(earlier.last_id, accepted_to), block.last_id)
        if block.last_id > accepted_to:
            _require_intact(block, earlier, rows)
        if rows.filter(at__gte=before).exists():
            raise Tampered(f"block {block.number} contains rows that are newer than it claims")
        expired, earlier = block, Position.of(block)
    return expired


def _require_intact(block: AuditBlock, earlier: Position, rows: Any) -> None:
    follows = block.number == earlier.number + 1 and bytes(block.previous) == earlier.hash
    computed = chain.hash_of(block, [chain.digest(row) for row in rows])
    is_signed = chain.is_signed(block.signature, chain.sign(Position.of(block)))
    if not (follows and is_signed and computed == bytes(block.hash)):
        raise Tampered(f"block {block.number} or its rows were changed")


def _checkpoint(block: AuditBlock) -> None:
    """Write a checkpoint, unless another process has already written one at this block or a later one."""
    now = timezone.now()
    with transaction.atomic():
        AuditSealer.objects.select_for_update().first()  # one process at a time extends the chain of checkpoints
        earlier = last_checkpoint(block.tenant_id)
        if earlier is not None and earlier.number >= block.number:
            return
        previous = bytes(earlier.signature) if earlier else chain.NOTHING_BEFORE
        AuditCheckpoint.all_tenants.create(
            tenant_id=block.tenant_id,
            number=block.number,
            last_id=block.last_id,
            hash=bytes(block.hash),
            at=now,
            previous=previous,
            signature=chain.sign_checkpoint(Position.of(block), previous, now),
        )


def last_checkpoint(tenant: UUID) -> AuditCheckpoint | None:
    return AuditCheckpoint.all_tenants.filter(tenant_id=tenant).order_by("-number").first()


def _remove_covered(tenant: UUID, should_stop: ShouldStop) -> int:
    """Delete the blocks that the tenant's last checkpoint covers, each together with its rows. Can be resumed.

    Until a block is deleted, its rows can therefore be verified. Afterwards, the log must not contain any rows of this
    tenant with ids in that block's range.
    """
    checkpoint = last_checkpoint(tenant)
    if checkpoint is None:
        return 0
    removed = 0
    covered = AuditBlock.all_tenants.filter(tenant_id=tenant, number__lte=checkpoint.number).order_by("number")
    while not should_stop() and (block := covered.first()) is not None:
        unsealed = _rows(tenant, chain.BEFORE_ALL, block.first_id - 1)  # rows that an operator accepted
        while ids := list(unsealed.values_list("id", flat=True)[:DELETE_BATCH]):
            removed += AuditEvent.objects.filter(id__among=ids).delete()[0]
        with transaction.atomic():
            removed += _rows(tenant, chain.BEFORE_ALL, block.last_id).delete()[0]
            covered.filter(id=block.id).delete()
    return removed


def _rows(tenant: UUID, after: int, to: int) -> Any:
    return AuditEvent.objects.filter(tenant_id=tenant, id__gt=after, id__lte=to).order_by("id")

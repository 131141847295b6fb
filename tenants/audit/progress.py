"""The sealer's signed progress: the last sealed row, and the number of chains.

Without the signature, someone with access to the database could delete blocks, change rows and reset the progress, and
the sealer would then sign the forged rows. The sealer therefore continues only if its progress is signed and every
chain reaches it. Otherwise it raises Tampered, and an operator decides whether to continue: see `accept`.
"""

from __future__ import annotations

import secrets
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Max

from tenants import audit
from tenants.audit import chain, erasures
from tenants.audit.chain import Position
from tenants.caller import Caller
from tenants.models import AuditBlock, AuditEvent, AuditSealer, ErasedTenant


class Tampered(Exception):
    """The audit log was changed outside this service. Nothing is sealed until an operator accepts the changes."""


def begin(using: str = DEFAULT_DB_ALIAS) -> AuditSealer:
    """Create the row that records the sealer's progress in a new installation.

    The sealer itself never calls this function.
    """
    sealer = AuditSealer(genesis=secrets.token_bytes(16))
    sealer.signature = _signature(sealer)
    sealer.save(force_insert=True, using=using)
    return sealer


def problem(sealer: AuditSealer | None) -> str:
    """Return the problem with the sealer's recorded progress, or "" if it is valid."""
    if sealer is None:
        return "the sealer's progress was deleted"
    if not chain.is_signed(sealer.signature, _signature(sealer)):
        return "the sealer's progress is not signed by this installation"
    if sealer.sealed_to < sealer.signed_to:
        return "the sealer's progress was reset"
    if sealer.sealed_to > sealer.signed_to and (lost := _uncovered(sealer)):
        return f"rows up to {lost} are marked as sealed, but no block covers them"
    return ""


def require_valid(sealer: AuditSealer | None) -> AuditSealer:
    """Raise Tampered unless the progress is valid."""
    if reason := problem(sealer):
        raise Tampered(f"{reason}; run verify_audit")
    assert sealer is not None  # noqa: S101 - `problem` reports a missing sealer
    return sealer


def advance(sealer: AuditSealer, sealed_to: int, new_chains: int) -> None:
    """Sign and save the progress. Must be called in the transaction that writes the blocks."""
    sealer.sealed_to = sealer.signed_to = sealed_to
    sealer.chains += new_chains
    sealer.signature = _signature(sealer)
    sealer.save(update_fields=["sealed_to", "signed_to", "chains", "accepted_to", "signature"])


def require_continuing(sealer: AuditSealer, head: AuditBlock | None, tenant_id: UUID) -> None:
    """Raise Tampered unless a tenant's chain reaches the recorded progress. Only then may a block be appended."""
    if head is not None and not chain.is_signed(head.signature, chain.sign(Position.of(head))):
        raise Tampered(f"block {head.number} of tenant {tenant_id} is not signed by this installation")
    if head is not None and head.last_id > sealer.sealed_to:  # one transaction writes the blocks and `sealed_to`
        raise Tampered("the sealer's progress was rolled back; run verify_audit")
    after = max(head.last_id if head else 0, sealer.accepted_to)
    between = AuditEvent.objects.filter(tenant_id=tenant_id, id__gt=after, id__lte=sealer.sealed_to)
    if between.exists():
        raise Tampered(f"blocks of tenant {tenant_id} were deleted; run verify_audit")


def accept(caller: Caller) -> None:
    """Resume sealing a log that was tampered with, after an operator has investigated the tampering.

    The next block of each chain contains new rows only. Existing rows without a block stay unsealed, and every later
    verification reports them. The records of erased tenants are signed again. The audit log records the decision.
    """
    caller.require_operator()
    with transaction.atomic():
        sealer = AuditSealer.objects.select_for_update().first() or begin()
        audit.record(caller, "audit.accept", ["all earlier rows"])
        # The new row's id is higher than all earlier ids, including those of deleted rows.
        last = AuditEvent.objects.filter(action="audit.accept").latest("id").id - 1
        sealer.accepted_to = last
        for gone in ErasedTenant.objects.iterator():
            erasures.sign(gone)
        advance(sealer, last, chains() - sealer.chains)


def chains() -> int:
    """Return the number of chains, including those of erased tenants.

    A chain that is being erased is counted only once.
    """
    begun = set(AuditBlock.all_tenants.order_by().values_list("tenant_id", flat=True).distinct())
    erased = ErasedTenant.objects.filter(had_chain=True).iterator()
    return len(begun.union(gone.tenant_id for gone in erased if erasures.is_signed(gone)))


def _signature(sealer: AuditSealer) -> bytes:
    return chain.sign_progress(bytes(sealer.genesis), sealer.signed_to, sealer.accepted_to, sealer.chains)


def _uncovered(sealer: AuditSealer) -> int:
    """Return the id of the last row that is marked as sealed but not covered by a signed block, or 0.

    During a rolling upgrade, the previous version advances `sealed_to` without signing it, and signs only the blocks.
    """
    rows = AuditEvent.objects.filter(id__gt=sealer.signed_to, id__lte=sealer.sealed_to, tenant__isnull=False)
    for tenant_id, last in rows.order_by().values_list("tenant_id").annotate(Max("id")):
        head = AuditBlock.all_tenants.filter(tenant_id=tenant_id).order_by("-number").first()
        if head is None or head.last_id < last or not chain.is_signed(head.signature, chain.sign(Position.of(head))):
            return int(last)
    return 0

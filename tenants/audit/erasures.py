"""The signed records of erased tenants.

The database allows the rows of erased tenants to be deleted. Without signatures, someone with access to the database
could delete a tenant's whole chain and record the tenant as erased. The operators' log contains each erasure, but
is pruned after the retention period; these records are kept.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from tenants.audit import chain
from tenants.audit.chain import Position
from tenants.models import AuditBlock, AuditSealer, ErasedTenant, Tenant


def record(tenant: Tenant, slug_digest: bytes) -> None:
    """Record that a tenant is being erased.

    Must be called in the transaction that adds the erasure to the operators' log.
    """
    earlier = ErasedTenant.objects.filter(tenant_id=tenant.id).first()
    had_chain = earlier is not None and earlier.had_chain and is_signed(earlier)
    columns = {"slug_digest": slug_digest, "had_chain": had_chain, "signature": _signature(tenant.id, had_chain)}
    ErasedTenant.objects.update_or_create(tenant_id=tenant.id, defaults=columns)


def record_chain(tenant: Tenant) -> None:
    """Record whether an erased tenant has a chain. Must be called before the blocks are deleted.

    Only a chain that this installation has signed counts, and only if the record is signed as well. Otherwise, someone
    with access to the database could delete another tenant's chain and add blocks for an erased tenant, which would
    leave the number of chains unchanged.
    """
    with transaction.atomic():
        AuditSealer.objects.select_for_update().first()  # afterwards, the sealer adds no block for this tenant
        gone = ErasedTenant.objects.filter(tenant_id=tenant.id).first()
        head = AuditBlock.objects.for_tenant(tenant).order_by("-number").first()
        if gone is None or head is None or not is_signed(gone):
            return
        if chain.is_signed(head.signature, chain.sign(Position.of(head))):
            gone.had_chain = True
            sign(gone)


def has_begun(tenant_id: UUID) -> bool:
    """Return whether the service has begun to erase a tenant. If so, the tenant's rows may be missing."""
    gone = ErasedTenant.objects.filter(tenant_id=tenant_id).first()
    # One transaction writes the record and suspends the tenant.
    return gone is not None and is_signed(gone) and not Tenant.objects.filter(id=tenant_id, active=True).exists()


def sign(gone: ErasedTenant) -> None:
    gone.signature = _signature(gone.tenant_id, gone.had_chain)
    gone.save(update_fields=["had_chain", "signature"])


def is_signed(gone: ErasedTenant) -> bool:
    return chain.is_signed(gone.signature or b"", _signature(gone.tenant_id, gone.had_chain))


def _signature(tenant_id: UUID, had_chain: bool) -> bytes:
    return chain.sign_erasure(tenant_id, had_chain)

"""Has anybody touched the audit log? Walks each tenant's chain, and compares it with heads that were kept elsewhere.

Found are: rows that were changed, swapped, deleted or put in; blocks that were changed, or are missing; a chain that
was cut off behind an exported head, or made anew without the key. What is not sealed yet is named, and not judged.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from tenants.audit import chain
from tenants.audit.chain import Head, Place
from tenants.caller import Caller
from tenants.models import (
    DEFAULT_TENANT_SLUG,
    AuditBlock,
    AuditCheckpoint,
    AuditEvent,
    AuditSealer,
    ErasedTenant,
    Tenant,
)

EXAMPLES = 20


@dataclass(frozen=True)
class Problem:
    """kind: changed, missing, inserted, block, gap, forged or truncated."""

    tenant: UUID
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:9} tenant {self.tenant}: {self.detail}"


@dataclass
class Report:
    tenants: int = 0
    blocks: int = 0
    events: int = 0
    unsealed: int = 0
    unsealed_since: datetime | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        return not self.problems


def heads(caller: Caller) -> Iterator[Head]:
    """The head of every tenant's chain."""
    caller.require_operator("read")
    for tenant in Tenant.objects.order_by("slug").iterator():
        block = AuditBlock.objects.for_tenant(tenant).order_by("-number").first()
        if block is not None:
            yield chain.head(block)


def exported(found: Iterable[Head]) -> str:
    """Heads as lines of JSON."""
    return "".join(json.dumps(asdict(head)) + "\n" for head in found)


def imported(lines: str) -> list[Head]:
    """Heads from lines of JSON: exported ones, or those that the sealer has logged. Raises ValueError."""
    names = [each.name for each in fields(Head)]
    try:
        found = [json.loads(line) for line in lines.splitlines() if line.strip()]
        return [_possible(Head(**{name: line[name] for name in names})) for line in found]
    except (KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"a line is no exported head: {error}") from None


def _possible(head: Head) -> Head:
    """The head, if it can be compared at all. Raises what its parts raise."""
    chain.sign(Place(UUID(head.tenant), head.number, head.last_id, bytes.fromhex(head.hash)))
    bytes.fromhex(head.signature)
    return head


def check(caller: Caller, known: Iterable[Head] = (), only: Tenant | None = None) -> Report:
    """Walk every chain (or one), in memory for one block. `known`: heads that were exported earlier."""
    caller.require_operator("read")
    report = Report()
    by_tenant: dict[UUID, list[Head]] = {}
    for head in known:
        by_tenant.setdefault(UUID(head.tenant), []).append(head)
    sealed_to = AuditSealer.objects.values_list("sealed_to", flat=True).first() or 0
    erased = _erased(report)
    tenants = [only] if only else Tenant.objects.order_by("slug").iterator()
    for tenant in tenants:
        known_heads = by_tenant.pop(tenant.id, [])
        if tenant.id in erased and not tenant.active:
            continue  # an erasure that is not over yet
        _Walk(tenant, report, known_heads, sealed_to).run()
    if only is None:
        _strangers(report, by_tenant, erased)
    return report


def _erased(report: Report) -> set[UUID]:
    """The tenants that are noted as erased, for which the database gives way. Each must be in the operators' own log.

    There a row is as old as the erasure; one that has been pruned by rule is taken for granted.
    """
    operators = Tenant.objects.filter(slug=DEFAULT_TENANT_SLUG).first()
    log = AuditEvent.objects.filter(tenant=operators).order_by("id")
    told = set(log.filter(action="tenant.erase").values_list("target", flat=True))
    pruned = operators is not None and AuditCheckpoint.objects.for_tenant(operators).exists()
    since = log.values_list("at", flat=True).first() if pruned else None
    noted = set()
    for gone in ErasedTenant.objects.order_by("erased_at").iterator():
        noted.add(gone.tenant_id)
        if str(gone.tenant_id) not in told and (since is None or gone.erased_at > since):
            report.problems.append(
                Problem(gone.tenant_id, "forged", "it is noted as erased, but not in the operators' log")
            )
    return noted


class _Walk:
    """Along the chain of one tenant."""

    def __init__(self, tenant: Tenant, report: Report, known: list[Head], sealed_to: int) -> None:
        self.tenant, self.report, self.sealed_to = tenant, report, sealed_to
        self.known = {head.number: head for head in known}
        self.number, self.last_id, self.hash = 0, -(2**63), chain.NOTHING_BEFORE

    def run(self) -> None:
        self.report.tenants += 1
        if ErasedTenant.objects.filter(tenant_id=self.tenant.id).exists() and self.tenant.active:
            self._found("forged", "it is noted as erased, and still there")
        self._checkpoints()
        blocks = AuditBlock.objects.for_tenant(self.tenant).filter(number__gt=self.number).order_by("number")
        for block in blocks.iterator(chunk_size=50):
            self._block(block)
        for head in self.known.values():
            if head.number > self.number:
                self._found("truncated", f"the chain ends at block {self.number}; block {head.number} was exported")
        self._tail()

    def _found(self, kind: str, detail: str) -> None:
        self.report.problems.append(Problem(self.tenant.id, kind, detail))

    def _checkpoints(self) -> None:
        """What has been pruned by rule: the chain begins behind the last checkpoint."""
        previous = chain.NOTHING_BEFORE
        for each in AuditCheckpoint.objects.for_tenant(self.tenant).order_by("number"):
            expected = chain.sign_checkpoint(Place.of(each), previous, each.at)
            if bytes(each.previous) != previous or not chain.is_signed(each.signature, expected):
                self._found("forged", f"the checkpoint at block {each.number} is not signed by this installation")
            previous = bytes(each.signature)
            self.number, self.last_id, self.hash = each.number, each.last_id, bytes(each.hash)
            self._compare_with_export(self.number, self.hash)

    def _block(self, block: AuditBlock) -> None:
        self.report.blocks += 1
        if block.number != self.number + 1:
            self._found("gap", f"block {self.number + 1} is missing")
        elif bytes(block.previous) != self.hash:
            self._found("block", f"block {block.number} does not follow block {self.number}")
        if not chain.is_signed(block.signature, chain.sign(Place.of(block))):
            self._found("forged", f"block {block.number} is not signed by this installation")
        rows = AuditEvent.objects.filter(tenant=self.tenant, id__gt=self.last_id, id__lte=block.last_id).order_by("id")
        digests = {row.id: chain.digest(row) for row in rows}
        self.report.events += len(digests)
        made = chain.block_hash(
            bytes(block.previous),
            self.tenant.id,
            block.number,
            block.first_id,
            block.last_id,
            list(digests.values()),
            block.sealed_at,
        )
        if made != bytes(block.hash):
            self._point_out(block, digests)
        self._compare_with_export(block.number, bytes(block.hash))
        self.number, self.last_id, self.hash = block.number, block.last_id, bytes(block.hash)

    def _point_out(self, block: AuditBlock, digests: dict[int, bytes]) -> None:
        """Say which rows of a block are not as they were sealed."""
        sealed = dict(chain.marked(block.marks))
        missing = sorted(sealed.keys() - digests.keys())
        inserted = sorted(digests.keys() - sealed.keys())
        changed = sorted(id for id in sealed.keys() & digests.keys() if digests[id][:8] != sealed[id])
        for kind, ids in (("missing", missing), ("inserted", inserted), ("changed", changed)):
            if ids:
                more = f" and {len(ids) - EXAMPLES} more" if len(ids) > EXAMPLES else ""
                self._found(kind, f"rows {', '.join(map(str, ids[:EXAMPLES]))}{more} of block {block.number}")
        if not (missing or inserted or changed):
            self._found("block", f"block {block.number} itself was changed")

    def _compare_with_export(self, number: int, hash: bytes) -> None:
        head = self.known.pop(number, None)
        if head is None:
            return
        place = Place(self.tenant.id, head.number, head.last_id, bytes.fromhex(head.hash))
        if not chain.is_signed(bytes.fromhex(head.signature), chain.sign(place)):
            self._found("forged", f"the exported head at block {number} is not signed by this installation")
        elif place.hash != hash:
            self._found("block", f"block {number} is another one than was exported")

    def _tail(self) -> None:
        tail = AuditEvent.objects.filter(tenant=self.tenant, id__gt=self.last_id).order_by("id")
        overlooked = list(tail.filter(id__lte=self.sealed_to).values_list("id", flat=True)[:EXAMPLES])
        if overlooked:
            self._found("inserted", f"rows {', '.join(map(str, overlooked))} were never sealed, but later ones are")
        waiting = tail.filter(id__gt=self.sealed_to)
        self.report.unsealed += waiting.count()
        oldest = waiting.values_list("at", flat=True).first()
        if oldest and (self.report.unsealed_since is None or oldest < self.report.unsealed_since):
            self.report.unsealed_since = oldest


def _strangers(report: Report, exported_heads: dict[UUID, list[Any]], erased: set[UUID]) -> None:
    """Tenants that are gone: by an erasure, or by somebody's hand."""
    for tenant in exported_heads.keys() - erased:
        report.problems.append(Problem(tenant, "truncated", "the tenant is gone, and was not erased by the service"))
    there = Tenant.objects.values("id")
    orphans = AuditBlock.all_tenants.exclude(tenant__in=there).order_by().values_list("tenant_id", flat=True)
    for tenant in set(orphans.distinct()) - erased:
        report.problems.append(Problem(tenant, "truncated", "the tenant is gone, and was not erased by the service"))

"""Verify the audit log: check each tenant's chain and compare it with heads that were exported earlier.

Verification detects rows that were changed, swapped, deleted or inserted; blocks that were changed or are missing; and
a chain that was truncated after an exported head, or rebuilt without the key. Rows that are not sealed yet are counted
but cannot be verified.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from somamemory import deadline
from tenants.audit import chain, erasures, progress
from tenants.audit.chain import Head, Position
from tenants.audit.pruning import last_checkpoint
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
ATTEMPTS = 3  # pruning writes a checkpoint every few seconds and rarely disturbs two attempts in a row


@dataclass(frozen=True)
class Problem:
    """A problem with the log. `kind` is changed, missing, inserted, block, gap, forged or truncated."""

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

    def add(self, other: Report) -> None:
        self.tenants += other.tenants
        self.blocks += other.blocks
        self.events += other.events
        self.unsealed += other.unsealed
        self.unsealed_since = min(filter(None, (self.unsealed_since, other.unsealed_since)), default=None)
        self.problems += other.problems


def heads(caller: Caller) -> Iterator[Head]:
    """Yield the head of every tenant's chain."""
    caller.require_operator("read")
    for tenant in Tenant.objects.order_by("slug").iterator():
        block = AuditBlock.objects.for_tenant(tenant).order_by("-number").first()
        if block is not None:
            yield chain.head(block)


def load_heads(lines: str) -> list[Head]:
    """Read heads from JSON lines that were exported or copied from the sealer's log.

    Raises ValueError if a line is not a head.
    """
    names = [column.name for column in fields(Head)]
    try:
        objects = [json.loads(line) for line in lines.splitlines() if line.strip()]
        return [_checked(Head(**{name: head[name] for name in names})) for head in objects]
    except (KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"a line is not an exported head: {error}") from None


def _checked(head: Head) -> Head:
    """Return the head. Raises ValueError or struct.error if one of its fields cannot be parsed."""
    chain.sign(Position(UUID(head.tenant), head.number, head.last_id, bytes.fromhex(head.hash)))
    bytes.fromhex(head.signature)
    return head


def check(caller: Caller, known: Iterable[Head] = (), only: Tenant | None = None) -> Report:
    """Verify every chain, or only one, with one block in memory at a time. `known` contains heads exported earlier."""
    caller.require_operator("read")
    report = Report()
    by_tenant: dict[UUID, list[Head]] = {}
    for head in known:
        by_tenant.setdefault(UUID(head.tenant), []).append(head)
    sealed_to = _sealed_to()
    _check_progress(AuditSealer.objects.first(), report)
    tenants = [only] if only else Tenant.objects.order_by("slug").iterator()
    for tenant in tenants:
        report.add(_verify(tenant, by_tenant.pop(tenant.id, []), sealed_to))
    erased = _erased(report)  # read after the tenants, because any of them may have been erased in the meantime
    if only is None:
        _report_lost_tenants(report, by_tenant, erased)
    return report


def _verify(tenant: Tenant, known: list[Head], sealed_to: int) -> Report:
    """Verify one tenant's chain. A tenant that is being erased is skipped.

    If blocks were pruned in the meantime, which looks like tampering, the chain is verified again.
    """
    report = Report()
    for _ in range(ATTEMPTS):
        if erasures.has_begun(tenant.id):
            return Report()
        checkpoint = last_checkpoint(tenant.id)
        report = _Walk(tenant, known, sealed_to).run()
        if report.intact or (last_checkpoint(tenant.id) == checkpoint and not erasures.has_begun(tenant.id)):
            break
    return report


def _erased(report: Report) -> set[UUID]:
    """Return the tenants with a validly signed erasure record, and report the others."""
    erased = set()
    for gone in ErasedTenant.objects.iterator():
        if erasures.is_signed(gone):
            erased.add(gone.tenant_id)
        else:
            detail = "its erasure record is not signed by this installation"
            report.problems.append(Problem(gone.tenant_id, "forged", detail))
    return erased


def _check_progress(sealer: AuditSealer | None, report: Report) -> None:
    """Report unsigned progress, and chains that were deleted completely."""
    operators = Tenant.objects.filter(slug=DEFAULT_TENANT_SLUG).values_list("id", flat=True).first() or UUID(int=0)
    if reason := progress.problem(sealer):
        report.problems.append(Problem(operators, "forged", reason))
    if sealer is None:
        return
    if (lost := sealer.chains - progress.chains()) > 0:
        report.problems.append(
            Problem(operators, "truncated", f"the chains of {lost} tenants were deleted, and may have been restarted")
        )


def _sealed_to() -> int:
    return AuditSealer.objects.values_list("sealed_to", flat=True).first() or 0


class _Walk:
    """Verifies one tenant's chain, from its first block to its last."""

    def __init__(self, tenant: Tenant, known: list[Head], sealed_to: int) -> None:
        self.tenant, self.sealed_to, self.report = tenant, sealed_to, Report(tenants=1)
        self.known = {head.number: head for head in known}
        self.number, self.last_id, self.hash = 0, chain.BEFORE_ALL, chain.NOTHING_BEFORE

    def run(self) -> Report:
        if ErasedTenant.objects.filter(tenant_id=self.tenant.id).exists() and self.tenant.active:
            self._report("forged", "the tenant is recorded as erased, but is still active")
        self._checkpoints()
        blocks = AuditBlock.objects.for_tenant(self.tenant).order_by("number")
        self._covered(blocks.filter(number__lte=self.number))
        for block in blocks.filter(number__gt=self.number).iterator(chunk_size=50):
            self._block(block)
        if self.last_id > self.sealed_to and self.last_id > _sealed_to():  # the sealer may have made progress since
            self._report("forged", f"block {self.number} is newer than the sealer's progress, which was rolled back")
        for head in self.known.values():
            if head.number > self.number:
                self._report(
                    "truncated", f"the chain ends at block {self.number}, but block {head.number} was exported"
                )
        self._tail()
        return self.report

    def _report(self, kind: str, detail: str) -> None:
        self.report.problems.append(Problem(self.tenant.id, kind, detail))

    def _checkpoints(self) -> None:
        """Verify the checkpoints that replace pruned blocks. The chain continues after the last one."""
        previous = chain.NOTHING_BEFORE
        for checkpoint in AuditCheckpoint.objects.for_tenant(self.tenant).order_by("number"):
            expected = chain.sign_checkpoint(Position.of(checkpoint), previous, checkpoint.at)
            if bytes(checkpoint.previous) != previous or not chain.is_signed(checkpoint.signature, expected):
                self._report(
                    "forged", f"the checkpoint at block {checkpoint.number} is not signed by this installation"
                )
            previous = bytes(checkpoint.signature)
            self.number, self.last_id, self.hash = checkpoint.number, checkpoint.last_id, bytes(checkpoint.hash)
            self._compare_with_export(self.number, self.hash)

    def _covered(self, blocks: Any) -> None:
        """Verify the blocks that a checkpoint covers but the pruner has not removed yet.

        Report rows outside these blocks.
        """
        after = chain.BEFORE_ALL
        for block in blocks.iterator(chunk_size=50):
            self._contents(block, after)
            after = block.last_id
        others = self._rows(after, self.last_id).values_list("id", flat=True)[:EXAMPLES]
        if ids := ", ".join(map(str, others)):
            self._report("inserted", f"rows {ids} are older than the rows that were pruned")

    def _block(self, block: AuditBlock) -> None:
        if block.number != self.number + 1:
            self._report("gap", f"block {self.number + 1} is missing")
        elif bytes(block.previous) != self.hash:
            self._report("block", f"block {block.number} does not follow block {self.number}")
        self._contents(block, self.last_id)
        self._compare_with_export(block.number, bytes(block.hash))
        self.number, self.last_id, self.hash = block.number, block.last_id, bytes(block.hash)

    def _contents(self, block: AuditBlock, after: int) -> None:
        """Verify a block's signature and its rows. `after` is the id of the last row before the block."""
        deadline.check()
        self.report.blocks += 1
        digests = {row.id: chain.digest(row) for row in self._rows(after, block.last_id)}
        if not AuditBlock.objects.for_tenant(self.tenant).filter(id=block.id).exists():
            return  # it has just been pruned
        self.report.events += len(digests)
        if not chain.is_signed(block.signature, chain.sign(Position.of(block))):
            self._report("forged", f"block {block.number} is not signed by this installation")
        if chain.hash_of(block, list(digests.values())) != bytes(block.hash):
            self._compare_rows(block, digests)

    def _rows(self, after: int, to: int) -> Any:
        return AuditEvent.objects.filter(tenant=self.tenant, id__gt=after, id__lte=to).order_by("id")

    def _compare_rows(self, block: AuditBlock, digests: dict[int, bytes]) -> None:
        """Report the rows in a block that differ from the sealed rows."""
        sealed = dict(chain.unpack_marks(block.marks))
        missing = sorted(sealed.keys() - digests.keys())
        inserted = sorted(digests.keys() - sealed.keys())
        changed = sorted(id for id in sealed.keys() & digests.keys() if digests[id][:8] != sealed[id])
        for kind, ids in (("missing", missing), ("inserted", inserted), ("changed", changed)):
            if ids:
                more = f" and {len(ids) - EXAMPLES} more" if len(ids) > EXAMPLES else ""
                self._report(kind, f"rows {', '.join(map(str, ids[:EXAMPLES]))}{more} of block {block.number}")
        if not (missing or inserted or changed):
            self._report("block", f"block {block.number} itself was changed")

    def _compare_with_export(self, number: int, hash: bytes) -> None:
        head = self.known.pop(number, None)
        if head is None:
            return
        position = Position(self.tenant.id, head.number, head.last_id, bytes.fromhex(head.hash))
        if not chain.is_signed(bytes.fromhex(head.signature), chain.sign(position)):
            self._report("forged", f"the exported head at block {number} is not signed by this installation")
        elif position.hash != hash:
            self._report("block", f"block {number} differs from the exported head")

    def _tail(self) -> None:
        tail = AuditEvent.objects.filter(tenant=self.tenant, id__gt=self.last_id).order_by("id")
        unsealed = list(tail.filter(id__lte=self.sealed_to).values_list("id", flat=True)[:EXAMPLES])
        if unsealed:
            self._report(
                "inserted", f"rows {', '.join(map(str, unsealed))} were never sealed, although later rows were"
            )
        waiting = tail.filter(id__gt=self.sealed_to)
        self.report.unsealed += waiting.count()
        self.report.unsealed_since = waiting.values_list("at", flat=True).first()


def _report_lost_tenants(report: Report, exported_heads: dict[UUID, list[Any]], erased: set[UUID]) -> None:
    """Report tenants that disappeared without having been erased."""
    for tenant in exported_heads.keys() - erased:
        report.problems.append(
            Problem(tenant, "truncated", "the tenant no longer exists, but was not erased by the service")
        )
    there = Tenant.objects.values("id")
    orphans = AuditBlock.all_tenants.exclude(tenant__in=there).order_by().values_list("tenant_id", flat=True)
    for tenant in set(orphans.distinct()) - erased:
        report.problems.append(
            Problem(tenant, "truncated", "the tenant no longer exists, but was not erased by the service")
        )

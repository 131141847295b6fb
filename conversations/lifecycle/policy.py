"""Lifecycle policy: move each tenant's unused conversations to slower tiers, on a schedule.

A run archives idle conversations (`active_days`), moves conversations that have been archived for a long time to cold
storage (`archived_days`), and applies the pruning rule once a day. Depending on the tenant's mode, the recommended
conversations are only reported or also archived. First, a run applies statuses that were set by older versions of the
service. The report is stored in the tenant's row. The audit log gets an entry for each conversation moved and one for
each pruning run.

Each conversation is moved in its own transaction, so a run can stop at any point. The next run continues after the last
conversation examined.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from conversations import restoring
from conversations.lifecycle import pruning, tiers
from conversations.models import Conversation, Upkeep
from memories.index import backpressure
from memories.reserved_namespaces import CONVERSATIONS
from somamemory import times
from somamemory.errors import ColdUnavailable, IndexBacklog, InvalidInput, SomaError
from somamemory.files import Progress
from somamemory.scheduling import ShouldStop, periodic
from somamemory.telemetry import metrics
from tenants import audit
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.tiers")

BATCH = 200
MAX_REPORTED = 50  # maximum number of conversations, and of errors, in a report
PRUNING_EVERY = timedelta(hours=23)
Status, Tier = Conversation.Status, Conversation.Tier
_TIER_OF_COUNT = {"archived": "archived", "cooled": "cold"}  # metric label for each field in the report


@dataclass(frozen=True)
class Rules:
    """The effective rules of a tenant. 0 days means never."""

    active_days: int
    archived_days: int


@dataclass
class Report:
    """Report of a run.

    `caught_up`, `archived` and `cooled` count the conversations that were moved (or, in a dry run, would be moved).
    `finished` is true if all conversations were examined.
    """

    at: str
    dry_run: bool
    finished: bool = True
    caught_up: int = 0
    archived: int = 0
    cooled: int = 0
    pruning: dict[str, Any] | None = None  # None: pruning was not due
    errors: list[str] = field(default_factory=list)


def get(caller: Caller) -> tuple[Rules, Upkeep]:
    caller.require("read", [CONVERSATIONS])
    row = Upkeep.objects.for_tenant(caller.tenant).first() or Upkeep(tenant=caller.tenant)
    return _rules(row), row


def change(caller: Caller, changes: Mapping[str, Any]) -> tuple[Rules, Upkeep]:
    """Change a tenant's policy. Setting a number of days to None restores the installation's default.

    Raises InvalidInput if `archived_days` is not 0 and cold storage is not configured.
    """
    caller.require("admin", [CONVERSATIONS])
    if changes.get("archived_days") and not settings.COLD_STORAGE:
        raise InvalidInput("archived_days", "must be 0 unless cold storage is configured; set SOMA_COLD_STORAGE")
    with transaction.atomic():
        row = _row(caller.tenant, for_update=True)
        before = _fingerprint(row)
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(update_fields=list(changes))
        audit.record(caller, "upkeep.change", [Change("upkeep", before, _fingerprint(row))])
    return _rules(row), row


@periodic("conversations.upkeep", every_s=lambda: settings.UPKEEP_TICK_S, thread="summaries")
def run_all(should_stop: ShouldStop = lambda: False) -> int:
    """Apply the policy to every tenant that is due. Return the number of tenants processed.

    Afterwards, remove unused files and expired snapshots of deleted conversations. Concurrent runs divide the tenants
    between them.
    """
    count = 0
    since = timezone.now() - timedelta(seconds=settings.UPKEEP_INTERVAL_S)
    recent = Upkeep.all_tenants.filter(tenant=OuterRef("pk"), ran_at__gt=since)
    due = Tenant.objects.filter(~Exists(recent), active=True).order_by("id")
    for tenant in due.iterator(chunk_size=BATCH):
        if should_stop():
            return count
        count += _run_if_due(tenant, since, should_stop)
    restoring.forget_expired()
    try:
        tiers.sweep()
    except ColdUnavailable as error:
        log.warning("postponed the removal of unused cold files", extra={"reason": error.detail})
    return count


def _run_if_due(tenant: Tenant, since: datetime, should_stop: ShouldStop) -> bool:
    """Claim the tenant's run and perform it, unless another process has claimed it. Return whether it was performed."""
    now = timezone.now()
    _row(tenant)
    row = Upkeep.objects.for_tenant(tenant)
    if not row.filter(Q(ran_at=None) | Q(ran_at__lte=since)).update(ran_at=now):
        return False
    report = run(Caller(tenant, "schedule", frozenset(("read", "write"))), now, should_stop=should_stop)
    if not report.finished:
        row.update(ran_at=None)  # due again immediately
    return True


def run(
    caller: Caller,
    now: datetime,
    *,
    dry_run: bool = False,
    should_stop: ShouldStop = lambda: False,
    progress: Progress = lambda phase, share: None,
) -> Report:
    """Apply the policy to one tenant. dry_run: only report, without changing or storing anything."""
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    row = Upkeep.objects.for_tenant(caller.tenant).first() or Upkeep(tenant=caller.tenant)
    return _Run(caller, row, now, dry_run, should_stop, progress).execute()


class _OutOfTime(Exception):
    pass


class _Run:
    def __init__(
        self, caller: Caller, row: Upkeep, now: datetime, dry_run: bool, should_stop: ShouldStop, progress: Progress
    ) -> None:
        self.caller, self.row, self.now = caller, row, now
        self.dry_run, self.should_stop, self.progress = dry_run, should_stop, progress
        self.rules = _rules(row)
        self.report = Report(at=times.rfc3339(now), dry_run=dry_run)
        # The result of a dry run must not depend on where the last run stopped.
        self.positions: dict[str, Any] = {} if dry_run else dict(row.positions)
        self.pruned_at = row.pruned_at

    def execute(self) -> Report:
        try:
            self._catch_up()
            self._archive_idle()
            self._freeze_old()
            self._prune()
        except _OutOfTime:
            self.report.finished = False
        if not self.dry_run:
            row = _row(self.caller.tenant)
            row.report, row.positions, row.pruned_at = asdict(self.report), self.positions, self.pruned_at
            row.save(update_fields=["report", "positions", "pruned_at"])
        return self.report

    def _catch_up(self) -> None:
        """Move conversations to the tiers that match their statuses.

        This is needed only after an upgrade, because older versions of the service changed only the statuses. A run
        therefore moves at most one batch.
        """
        behind = Q(tier=Tier.ACTIVE, status=Status.ARCHIVED) | Q(
            tier__in=[Tier.ARCHIVED, Tier.COLD], status__in=[Status.ACTIVE, Status.PINNED]
        )
        for conversation in self._conversations().filter(behind).order_by("number")[:BATCH]:
            self._move("caught_up", conversation, lambda row: tiers.catch_up(self.caller, row.id))

    def _archive_idle(self) -> None:
        if not self.rules.active_days:
            return
        cutoff = self.now - timedelta(days=self.rules.active_days)
        idle = self._conversations().filter(status=Status.ACTIVE, updated_at__lte=cutoff)
        for batch in self._batches("idle conversations", idle, "updated_at"):
            last_read = pruning.last_read(self.caller, batch)
            for conversation in batch:
                if (last_read.get(conversation.key) or cutoff) <= cutoff:
                    self._move("archived", conversation, lambda row: tiers.archive_idle(self.caller, row.id, cutoff))

    def _freeze_old(self) -> None:
        if not self.rules.archived_days:
            return
        cutoff = self.now - timedelta(days=self.rules.archived_days)
        old = self._conversations().filter(
            tier=Tier.ARCHIVED, status=Status.ARCHIVED, archived_at__lte=cutoff, summarise_at=None, message_count__gt=0
        )
        for batch in self._batches("archived conversations", old, "archived_at"):
            last_read = pruning.last_read(self.caller, batch)
            for conversation in batch:
                last = last_read.get(conversation.key)
                if last is None or last <= cutoff:
                    self._move("cooled", conversation, lambda row: tiers.freeze(self.caller, row.id))
                elif not self.dry_run:
                    tiers.used(self.caller, conversation.id, last)

    def _prune(self) -> None:
        if not self._pruning_is_due():
            return
        days, importance = self.row.pruning_days, self.row.pruning_importance
        idle = self._conversations().filter(
            status=Status.ACTIVE, updated_at__lte=self.now - timedelta(days=days), importance__lte=importance
        )
        section: dict[str, Any] = {"mode": self.row.pruning, "suggested": 0, "archived": 0, "conversations": []}
        self.report.pruning = section
        for batch in self._batches("pruning", idle, "updated_at"):
            suggestions = pruning.evaluate(self.caller, batch, days, importance, self.now)
            self._apply([item for item in suggestions if item.verdict.recommendation == "archive"], section)
        self.pruned_at = self.now
        if not self.dry_run:
            with transaction.atomic():
                summary = f"{section['mode']}: {section['suggested']} suggested, {section['archived']} archived"
                audit.record(self.caller, "upkeep.prune", [summary], CONVERSATIONS)

    def _pruning_is_due(self) -> bool:
        if self.row.pruning == Upkeep.Pruning.OFF:
            return False
        due = self.row.pruned_at is None or self.now - self.row.pruned_at >= PRUNING_EVERY
        return due or self.dry_run or "pruning" in self.positions

    def _apply(self, suggestions: Sequence[pruning.Suggestion], section: dict[str, Any]) -> None:
        """Report suggestions, and archive them if the tenant's mode is `archive`."""
        for suggestion in suggestions:
            section["suggested"] += 1
            section["conversations"].append(_report(suggestion))
            if section["mode"] == Upkeep.Pruning.ARCHIVE:
                section["archived"] += self._archive(suggestion.conversation)
        section["conversations"] = sorted(section["conversations"], key=lambda row: -row["score"])[:MAX_REPORTED]

    def _archive(self, conversation: Conversation) -> int:
        if self.dry_run:
            return 1
        try:
            moved = self._unless_index_is_behind(lambda row: bool(pruning.execute(self.caller, [row.id])), conversation)
        except SomaError as error:  # for example, the conversation was deleted or pinned in the meantime
            self._failed(conversation, error)
            return 0
        metrics.tier_moves.labels("archived").inc(moved)
        return int(moved)

    def _move(self, count: str, conversation: Conversation, move: Callable[[Conversation], bool]) -> None:
        """Move a conversation and increment a counter in the report."""
        try:
            moved = self.dry_run or self._unless_index_is_behind(move, conversation)
        except SomaError as error:
            self._failed(conversation, error)
            return
        setattr(self.report, count, getattr(self.report, count) + moved)
        if moved and not self.dry_run and count in _TIER_OF_COUNT:
            metrics.tier_moves.labels(_TIER_OF_COUNT[count]).inc()
        self._check_time()

    def _unless_index_is_behind(self, move: Callable[[Conversation], bool], conversation: Conversation) -> bool:
        """Run `move`, or end the run if too many memories await indexing.

        Every move queues work for the index, and a long queue would cause the tenant's own writes to be rejected.
        """
        try:
            backpressure.check(self.caller.tenant)
        except IndexBacklog:
            raise _OutOfTime from None
        return move(conversation)

    def _failed(self, conversation: Conversation, error: SomaError) -> None:
        if len(self.report.errors) < MAX_REPORTED:
            self.report.errors.append(f"conversation {conversation.number}: {error.detail}")
        log.warning("conversation not moved", extra={"reason": error.code})

    def _conversations(self) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = Conversation.objects.for_tenant(self.caller.tenant)
        return rows

    def _batches(self, phase: str, rows: QuerySet[Conversation], by: str) -> Iterator[Sequence[Conversation]]:
        """Yield batches of conversations, oldest first, starting after the position at which the last run stopped.

        `rows` may shrink during the iteration.
        """
        total, seen, name = rows.count(), 0, phase.split()[0]
        while True:
            batch = list(_after(rows, by, self.positions.get(name)).order_by(by, "number")[:BATCH])
            self.progress(phase, min(1.0, seen / total) if total else 1.0)
            if not batch:
                self.positions.pop(name, None)
                return
            yield batch
            seen += len(batch)
            self.positions[name] = [times.rfc3339(getattr(batch[-1], by)), batch[-1].number]
            self._check_time()

    def _check_time(self) -> None:
        if self.should_stop():
            raise _OutOfTime


def _after(rows: QuerySet[Conversation], by: str, position: Sequence[Any] | None) -> QuerySet[Conversation]:
    """Return the rows after a position, which consists of a time and a conversation number."""
    if not position:
        return rows
    at, number = times.parse(position[0]), position[1]
    # The first condition is redundant, but lets the database start at this position in the index.
    return rows.filter(Q((f"{by}__gte", at)), Q((f"{by}__gt", at)) | Q(number__gt=number))


def _report(suggestion: pruning.Suggestion) -> dict[str, Any]:
    conversation = suggestion.conversation
    return {
        "conversation_id": str(conversation.id),
        "label": conversation.label,
        "score": suggestion.verdict.score,
        "reasons": list(suggestion.verdict.reasons),
    }


def _rules(row: Upkeep) -> Rules:
    archived_days = settings.ARCHIVED_DAYS if row.archived_days is None else row.archived_days
    return Rules(
        settings.ACTIVE_DAYS if row.active_days is None else row.active_days,
        archived_days if settings.COLD_STORAGE else 0,
    )


def _row(tenant: Tenant, *, for_update: bool = False) -> Upkeep:
    """Return the tenant's row. Creates it if it does not exist."""
    rows = Upkeep.objects.for_tenant(tenant)
    selected = rows.select_for_update() if for_update else rows
    row: Upkeep | None = selected.first()
    if row is None:
        rows.bulk_create([Upkeep(tenant=tenant)], ignore_conflicts=True)
        row = selected.get()
    return row


def _fingerprint(row: Upkeep) -> bytes:
    return audit.fingerprint(row.active_days, row.archived_days, row.pruning, row.pruning_days, row.pruning_importance)

"""Upkeep: what is done with the conversations that nobody uses any more, for each tenant, on schedule, and reported.

A run lets messages follow their conversations' status where they have not, archives what is idle (`active_days`), puts
what has been archived for long into files (`archived_days`), and, once a day, asks the rule of `pruning`: what it would
archive is reported, or archived as well. What it did stands in the tenant's row, for whoever asks, and in the audit
log: a line for each conversation that was moved, and one for each pruning.

Each conversation is moved in a transaction of its own, so that a run can end anywhere; the next goes on behind the last
conversation that was looked at.
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

from conversations.enrichment import summaries
from conversations.lifecycle import pruning as prune
from conversations.lifecycle import tiers
from conversations.models import Conversation, Upkeep
from memories.index import backpressure
from memories.reserved_namespaces import CONVERSATIONS
from somamemory import times
from somamemory.errors import ColdUnavailable, IndexBacklog, InvalidInput, SomaError
from somamemory.scheduling import periodic
from somamemory.telemetry import metrics
from tenants import audit
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.tiers")

BATCH = 200
TOLD = 50  # conversations in a report, those first that there is most to gain from
PRUNING_EVERY = timedelta(hours=23)
Progress = Callable[[str, float], None]
Enough = Callable[[], bool]
Status, Tier = Conversation.Status, Conversation.Tier


@dataclass(frozen=True)
class Rules:
    """As they hold for a tenant; 0 days are never."""

    active_days: int
    archived_days: int


@dataclass
class Report:
    """`caught_up`, `archived`, `cooled`: conversations that were moved, or would be. `finished`: all were looked at."""

    at: str
    dry_run: bool
    finished: bool = True
    caught_up: int = 0
    archived: int = 0
    cooled: int = 0
    pruning: dict[str, Any] | None = None  # None: it was not its turn
    errors: list[str] = field(default_factory=list)


def get(caller: Caller) -> tuple[Rules, Upkeep]:
    caller.require("read", [CONVERSATIONS])
    row = Upkeep.objects.for_tenant(caller.tenant).first() or Upkeep(tenant=caller.tenant)
    return _rules(row), row


def change(caller: Caller, changes: Mapping[str, Any]) -> tuple[Rules, Upkeep]:
    """Set columns of `Upkeep`; None for days: as the installation has it. Raises InvalidInput."""
    caller.require("admin", [CONVERSATIONS])
    if changes.get("archived_days") and not settings.COLD_STORAGE:
        raise InvalidInput("archived_days", "must be 0: this installation has no storage for cold conversations")
    with transaction.atomic():
        row = _row(caller.tenant, held=True)
        before = _fingerprint(row)
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(update_fields=list(changes))
        audit.record(caller, "upkeep.change", [Change("upkeep", before, _fingerprint(row))])
    return _rules(row), row


@periodic("conversations.upkeep", every_s=lambda: settings.UPKEEP_TICK_S, thread="summaries")
def run_all(enough: Enough = summaries.never) -> int:
    """Every tenant whose turn it is, until it is enough; how many. Then sweep what is left.

    Of two that do this at the same time, each tenant is taken by one.
    """
    taken, began = 0, timezone.now()
    since = began - timedelta(seconds=settings.UPKEEP_INTERVAL_S)
    had = Upkeep.all_tenants.filter(tenant=OuterRef("pk"), ran_at__gt=since)
    due = Tenant.objects.filter(~Exists(had), active=True).order_by("id")
    for tenant in due.iterator(chunk_size=BATCH):
        if enough():
            return taken
        now = timezone.now()
        _row(tenant)
        mine = Upkeep.objects.for_tenant(tenant)
        if mine.filter(Q(ran_at=None) | Q(ran_at__lte=since)).update(ran_at=now):
            report = run(Caller(tenant, "schedule", frozenset(("read", "write"))), now, enough=enough)
            if not report.finished:
                mine.update(ran_at=None)  # its turn comes again at once
            taken += 1
    try:
        tiers.sweep()
    except ColdUnavailable as error:
        log.warning("files of cold conversations will be swept later", extra={"reason": error.detail})
    return taken


def run(
    caller: Caller,
    now: datetime,
    *,
    dry_run: bool = False,
    enough: Enough = summaries.never,
    progress: Progress = lambda phase, share: None,
) -> Report:
    """One tenant's turn. dry_run: nothing is changed but the report, which is not kept either."""
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    return _Run(caller, now, dry_run, enough, progress).done()


class _OutOfTime(Exception):
    pass


class _Run:
    def __init__(self, caller: Caller, now: datetime, dry_run: bool, enough: Enough, progress: Progress) -> None:
        self.caller, self.now, self.dry_run, self.enough, self.progress = caller, now, dry_run, enough, progress
        self.row = Upkeep.objects.for_tenant(caller.tenant).first() or Upkeep(tenant=caller.tenant)
        self.rules = _rules(self.row)
        self.report = Report(at=times.rfc3339(now), dry_run=dry_run)
        # What a dry run says must not depend on where the last one ended.
        self.positions: dict[str, Any] = {} if dry_run else dict(self.row.positions)
        self.pruned_at = self.row.pruned_at

    def done(self) -> Report:
        try:
            self._catch_up()
            self._archive_idle()
            self._cool()
            self._prune()
        except _OutOfTime:
            self.report.finished = False
        if not self.dry_run:
            row = _row(self.caller.tenant)
            row.report, row.positions, row.pruned_at = asdict(self.report), self.positions, self.pruned_at
            row.save(update_fields=["report", "positions", "pruned_at"])
        return self.report

    def _catch_up(self) -> None:
        """At most a batch a run: there are such only after an upgrade."""
        behind = Q(tier=Tier.ACTIVE, status=Status.ARCHIVED) | Q(
            tier__in=[Tier.ARCHIVED, Tier.COLD], status__in=[Status.ACTIVE, Status.PINNED]
        )
        for conversation in self._mine().filter(behind).order_by("number")[:BATCH]:
            self._move("caught_up", conversation, lambda each: tiers.catch_up(self.caller, each.id))

    def _archive_idle(self) -> None:
        if not self.rules.active_days:
            return
        cutoff = self.now - timedelta(days=self.rules.active_days)
        idle = self._mine().filter(status=Status.ACTIVE, updated_at__lte=cutoff)
        for batch in self._batches("idle conversations", idle, "updated_at"):
            read = prune.read_at(self.caller, batch)
            for conversation in batch:
                if (read.get(conversation.key) or cutoff) <= cutoff:
                    self._move("archived", conversation, lambda each: tiers.archive_idle(self.caller, each.id, cutoff))

    def _cool(self) -> None:
        if not self.rules.archived_days:
            return
        cutoff = self.now - timedelta(days=self.rules.archived_days)
        old = self._mine().filter(
            tier=Tier.ARCHIVED, status=Status.ARCHIVED, archived_at__lte=cutoff, summarise_at=None, message_count__gt=0
        )
        for batch in self._batches("archived conversations", old, "archived_at"):
            read = prune.read_at(self.caller, batch)
            for conversation in batch:
                last = read.get(conversation.key)
                if last is None or last <= cutoff:
                    self._move("cooled", conversation, lambda each: tiers.freeze(self.caller, each.id))
                elif not self.dry_run:
                    tiers.used(self.caller, conversation.id, last)

    def _prune(self) -> None:
        mode, due = self.row.pruning, self.row.pruned_at is None or self.now - self.row.pruned_at >= PRUNING_EVERY
        going_on = "pruning" in self.positions
        if mode == Upkeep.Pruning.OFF or not (due or going_on or self.dry_run):
            return
        days, importance = self.row.pruning_days, self.row.pruning_importance
        old = self._mine().filter(
            status=Status.ACTIVE, updated_at__lte=self.now - timedelta(days=days), importance__lte=importance
        )
        told: dict[str, Any] = {"mode": mode, "suggested": 0, "archived": 0, "conversations": []}
        self.report.pruning = told
        for batch in self._batches("pruning", old, "updated_at"):
            for each in prune.judged(self.caller, batch, days, importance, self.now):
                if each.verdict.recommendation == "archive":
                    told["suggested"] += 1
                    told["conversations"].append(_told(each))
                    if mode == Upkeep.Pruning.ARCHIVE:
                        told["archived"] += self._put_away(each.conversation)
            told["conversations"] = sorted(told["conversations"], key=lambda each: -each["score"])[:TOLD]
        self.pruned_at = self.now
        if not self.dry_run:
            with transaction.atomic():
                summary = f"{mode}: {told['suggested']} suggested, {told['archived']} archived"
                audit.record(self.caller, "upkeep.prune", [summary], CONVERSATIONS)

    def _put_away(self, conversation: Conversation) -> int:
        if self.dry_run:
            return 1
        try:
            moved = self._with_room(lambda each: bool(prune.execute(self.caller, [each.id])), conversation)
        except SomaError as error:  # it was deleted or pinned meanwhile
            self._failed(conversation, error)
            return 0
        metrics.tier_moves.labels("archived").inc(moved)
        return int(moved)

    def _move(self, what: str, conversation: Conversation, move: Callable[[Conversation], bool]) -> None:
        try:
            moved = self.dry_run or self._with_room(move, conversation)
        except SomaError as error:
            self._failed(conversation, error)
            return
        setattr(self.report, what, getattr(self.report, what) + moved)
        if moved and not self.dry_run and what in _TO:
            metrics.tier_moves.labels(_TO[what]).inc()
        self._check_time()

    def _with_room(self, move: Callable[[Conversation], bool], conversation: Conversation) -> bool:
        """The index has to follow. What it is behind by must not keep the tenant's own writers out."""
        try:
            backpressure.check(self.caller.tenant)
        except IndexBacklog:
            raise _OutOfTime from None
        return move(conversation)

    def _failed(self, conversation: Conversation, error: SomaError) -> None:
        if len(self.report.errors) < TOLD:
            self.report.errors.append(f"conversation {conversation.number}: {error.detail}")
        log.warning("a conversation stays where it is", extra={"reason": error.code})

    def _mine(self) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = Conversation.objects.for_tenant(self.caller.tenant)
        return rows

    def _batches(self, phase: str, rows: QuerySet[Conversation], by: str) -> Iterator[Sequence[Conversation]]:
        """The oldest first, behind where the last run was out of time; `rows` may grow fewer meanwhile."""
        total, seen, name = rows.count(), 0, phase.split()[0]
        while True:
            ordered = rows
            if position := self.positions.get(name):
                at, number = times.parse(position[0]), position[1]
                # The first condition is for the database, which can enter its index there.
                ordered = rows.filter(Q((f"{by}__gte", at)), Q((f"{by}__gt", at)) | Q(number__gt=number))
            batch = list(ordered.order_by(by, "number")[:BATCH])
            self.progress(phase, min(1.0, seen / total) if total else 1.0)
            if not batch:
                self.positions.pop(name, None)
                return
            yield batch
            seen += len(batch)
            self.positions[name] = [times.rfc3339(getattr(batch[-1], by)), batch[-1].number]
            self._check_time()

    def _check_time(self) -> None:
        if self.enough():
            raise _OutOfTime


_TO = {"archived": "archived", "cooled": "cold"}


def _told(suggestion: prune.Suggestion) -> dict[str, Any]:
    of = suggestion.conversation
    return {
        "conversation_id": str(of.id),
        "label": of.label,
        "score": suggestion.verdict.score,
        "reasons": list(suggestion.verdict.reasons),
    }


def _rules(row: Upkeep) -> Rules:
    archived_days = settings.ARCHIVED_DAYS if row.archived_days is None else row.archived_days
    return Rules(
        settings.ACTIVE_DAYS if row.active_days is None else row.active_days,
        archived_days if settings.COLD_STORAGE else 0,
    )


def _row(tenant: Tenant, *, held: bool = False) -> Upkeep:
    rows = Upkeep.objects.for_tenant(tenant)
    found: Upkeep | None = (rows.select_for_update() if held else rows).first()
    if found is None:
        rows.bulk_create([Upkeep(tenant=tenant)], ignore_conflicts=True)
        found = (rows.select_for_update() if held else rows).get()
    return found


def _fingerprint(row: Upkeep) -> bytes:
    return audit.fingerprint(row.active_days, row.archived_days, row.pruning, row.pruning_days, row.pruning_importance)

"""Putting conversations away that nobody has used for long: shown first, then all of them or none, and back again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q
from django.db.models.functions import Substr
from django.utils import timezone

from conversations import list_cache
from conversations.lifecycle import pruning_rule, tiers
from conversations.lifecycle.pruning_rule import Facts, Verdict
from conversations.lookup import with_derived
from conversations.messages import conversation_key
from conversations.models import Conversation
from memories import coordinates
from memories import selectors as memories
from memories.coordinates import DIGITS_PER_NUMBER
from memories.reserved_namespaces import CONVERSATIONS, SUMMARIES
from somamemory.db.replicas import may_read_replica
from somamemory.errors import Conflict, NotFound
from tenants import audit
from tenants.caller import Caller

MOST = 200
DEFAULT_DAYS = 90.0
DEFAULT_IMPORTANCE = 5.0
_PREVIEW_LENGTH = 200
_TOKENS_PER_WORD = 4 / 3
Status = Conversation.Status


@dataclass(frozen=True)
class Suggestion:
    """`preview`: how it begins."""

    conversation: Conversation
    last_accessed: datetime
    token_estimate: int
    preview: str
    verdict: Verdict


@may_read_replica
def suggestions(
    caller: Caller, threshold_days: float = DEFAULT_DAYS, importance_threshold: float = DEFAULT_IMPORTANCE
) -> list[Suggestion]:
    """Active conversations that have not changed for so long and are no more important, at most 200, what there is
    most to gain from first. Nothing is changed."""
    caller.require("read", [CONVERSATIONS])
    now = timezone.now()
    old = Conversation.objects.for_tenant(caller.tenant).filter(
        status=Status.ACTIVE,
        updated_at__lte=now - timedelta(days=threshold_days),
        importance__lte=importance_threshold,
    )
    return judged(caller, list(old.order_by("updated_at", "number")[:MOST]), threshold_days, importance_threshold, now)


def judged(
    caller: Caller,
    found: Sequence[Conversation],
    threshold_days: float,
    importance_threshold: float,
    now: datetime,
) -> list[Suggestion]:
    """What the rule says of each of these, what there is most to gain from first; four statements."""
    if not found:
        return []
    read, covered, begin = read_at(caller, found), _covered(caller, found), _beginnings(caller, found)
    made = []
    for each in found:
        last = max(each.updated_at, read.get(each.key) or each.updated_at)
        tokens = round(each.word_count * _TOKENS_PER_WORD)
        facts = Facts(
            idle_days=(now - last).total_seconds() / 86_400,
            importance=each.importance,
            tokens=tokens,
            covered=min(covered.get(each.key, 0) / max(each.message_count, 1), 1.0),
        )
        verdict = pruning_rule.judge(facts, threshold_days, importance_threshold)
        made.append(Suggestion(each, last, tokens, begin.get(each.key, ""), verdict))
    return sorted(made, key=lambda each: (-each.verdict.score, each.conversation.number))


def execute(caller: Caller, ids: Sequence[UUID]) -> list[Conversation]:
    """Archive all of these conversations, or none. Raises NotFound, and Conflict for one that is pinned."""
    return _moved(caller, ids, Status.ARCHIVED, "conversation.prune")


def undo(caller: Caller, ids: Sequence[UUID]) -> list[Conversation]:
    """Make archived conversations active again: all of these, or none. Raises NotFound."""
    return _moved(caller, ids, Status.ACTIVE, "conversation.unprune")


def _moved(caller: Caller, ids: Sequence[UUID], status: str, action: str) -> list[Conversation]:
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    if status == Status.ACTIVE:  # one after the other: each is a transaction of its own
        for row in _all_of(caller, ids).values():
            if row.tier == Conversation.Tier.COLD:
                tiers.thaw(caller, row.id)
    return tiers.warmed(caller, lambda: _moved_together(caller, ids, status, action))


@transaction.atomic
def _moved_together(caller: Caller, ids: Sequence[UUID], status: str, action: str) -> list[Conversation]:
    found = _all_of(caller, ids, for_update=True)
    moved = [row for row in found.values() if row.status != status]
    for row in moved:
        row.status = status
        tiers.settle(caller, row)
        # When it was last used is what it is judged by, so that stays.
        row.save(update_fields=["status", "tier", "archived_at"])
        list_cache.forget_on_commit(caller.tenant, row.id)
    audit.record(caller, action, [str(row.id) for row in moved], CONVERSATIONS)
    return moved


def _all_of(caller: Caller, ids: Sequence[UUID], *, for_update: bool = False) -> Mapping[UUID, Conversation]:
    rows = Conversation.objects.for_tenant(caller.tenant).filter(id__in=set(ids)).order_by("id")
    found = {row.id: row for row in (rows.select_for_update(no_key=True) if for_update else rows)}
    for id in ids:
        if id not in found:
            raise NotFound(f"no conversation {id}; nothing was changed")
        if found[id].status == Status.PINNED:
            raise Conflict(f"conversation {id} is pinned; nothing was changed")
    return found


def _in(found: Sequence[Conversation]) -> Q:
    """What lies at the numbers of these conversations, by ranges of the index."""
    ranges = [
        Q(coordinate_key__gte=low, coordinate_key__lt=high) for low, high in (each.root.subtree for each in found)
    ]
    return Q(*ranges, _connector=Q.OR)


def read_at(caller: Caller, found: Sequence[Conversation]) -> Mapping[str, datetime | None]:
    """When somebody last read a message of each."""
    rows = memories.live(caller, [CONVERSATIONS]).filter(_in(found)).order_by()
    grouped = rows.annotate(root=Substr("coordinate_key", 1, DIGITS_PER_NUMBER)).values("root")
    return dict(grouped.annotate(read_at=Max("last_accessed_at")).values_list("root", "read_at"))


def _covered(caller: Caller, found: Sequence[Conversation]) -> Mapping[str, int]:
    """How many messages of each the summaries of days cover."""
    days = memories.live(with_derived(caller), [SUMMARIES]).filter(_in(found), payload__level="daily")
    covered: dict[str, int] = {}
    for key, covers in days.values_list("coordinate_key", "metadata__covers"):
        covered[conversation_key(key)] = covered.get(conversation_key(key), 0) + covers["messages"] - covers["left_out"]
    return covered


def _beginnings(caller: Caller, found: Sequence[Conversation]) -> Mapping[str, str]:
    keys = [coordinates.encode([each.number, 1]) for each in found]
    rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__in=keys)
    texts = rows.values_list("coordinate_key", "payload")
    return {conversation_key(key): str(payload.get("content", ""))[:_PREVIEW_LENGTH] for key, payload in texts}

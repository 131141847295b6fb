"""Pruning: suggest conversations to archive, archive a set of them atomically, and undo the archiving."""

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
from conversations.lookup import not_found, with_derived
from conversations.messages import at_keys, conversation_key, message_key, read_messages
from conversations.models import DEFAULT_IMPORTANCE, Conversation
from memories import selectors as memories
from memories.coordinates import DIGITS_PER_NUMBER
from memories.reserved_namespaces import CONVERSATIONS, SUMMARIES
from somamemory.db.replicas import may_read_replica
from somamemory.errors import Conflict
from tenants import audit
from tenants.caller import Caller

MAX_SUGGESTIONS = 200
DEFAULT_DAYS = 90.0
_PREVIEW_LENGTH = 200
_TOKENS_PER_WORD = 4 / 3
Status = Conversation.Status


@dataclass(frozen=True)
class Suggestion:
    """A conversation, with the rule's verdict on archiving it. `preview` is the beginning of its first message."""

    conversation: Conversation
    last_accessed: datetime
    token_estimate: int
    preview: str
    verdict: Verdict


@may_read_replica
def suggestions(
    caller: Caller, threshold_days: float = DEFAULT_DAYS, importance_threshold: float = DEFAULT_IMPORTANCE
) -> list[Suggestion]:
    """Apply the rule to at most 200 active conversations, and return the results, highest score first. Changes nothing.

    Considers conversations that have not changed for `threshold_days` and whose importance is at most
    `importance_threshold`, oldest change first.
    """
    caller.require("read", [CONVERSATIONS])
    now = timezone.now()
    old = Conversation.objects.for_tenant(caller.tenant).filter(
        status=Status.ACTIVE,
        updated_at__lte=now - timedelta(days=threshold_days),
        importance__lte=importance_threshold,
    )
    oldest = list(old.order_by("updated_at", "number")[:MAX_SUGGESTIONS])
    return evaluate(caller, oldest, threshold_days, importance_threshold, now)


def evaluate(
    caller: Caller,
    conversations: Sequence[Conversation],
    threshold_days: float,
    importance_threshold: float,
    now: datetime,
) -> list[Suggestion]:
    """Apply the rule to conversations, and return the results, highest score first.

    The number of database queries does not depend on the number of conversations.
    """
    if not conversations:
        return []
    read = last_read(caller, conversations)
    covered = _covered(caller, conversations)
    previews = _previews(caller, conversations)
    suggestions = []
    for row in conversations:
        last = max(row.updated_at, read.get(row.key) or row.updated_at)
        facts = Facts(
            idle_days=(now - last).total_seconds() / 86_400,
            importance=row.importance,
            tokens=round(row.word_count * _TOKENS_PER_WORD),
            covered=min(covered.get(row.key, 0) / max(row.message_count, 1), 1.0),
        )
        verdict = pruning_rule.judge(facts, threshold_days, importance_threshold)
        suggestions.append(Suggestion(row, last, facts.tokens, previews.get(row.key, ""), verdict))
    return sorted(suggestions, key=lambda item: (-item.verdict.score, item.conversation.number))


def execute(caller: Caller, ids: Sequence[UUID]) -> list[Conversation]:
    """Archive all of these conversations, or none.

    Raises NotFound if one of them does not exist, and Conflict if one of them is pinned.
    """
    return _set_status(caller, ids, Status.ARCHIVED, "conversation.prune")


def undo(caller: Caller, ids: Sequence[UUID]) -> list[Conversation]:
    """Make all of these conversations active again, or none. Raises the same errors as `execute`."""
    return _set_status(caller, ids, Status.ACTIVE, "conversation.unprune")


def _set_status(caller: Caller, ids: Sequence[UUID], status: str, action: str) -> list[Conversation]:
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    if status == Status.ACTIVE:  # restored one at a time, because each needs its own transaction
        for row in _all_of(caller, ids).values():
            if row.tier == Conversation.Tier.COLD:
                tiers.thaw(caller, row.id)
    return tiers.warmed(caller, lambda: _set_status_together(caller, ids, status, action))


@transaction.atomic
def _set_status_together(caller: Caller, ids: Sequence[UUID], status: str, action: str) -> list[Conversation]:
    rows = _all_of(caller, ids, for_update=True)
    changed = [row for row in rows.values() if row.status != status]
    for row in changed:
        row.status = status
        tiers.settle(caller, row)
        # Keep `updated_at`: the rule depends on when the conversation was last used.
        row.save(update_fields=["status", "tier", "archived_at"])
        list_cache.forget_on_commit(caller.tenant, row.id)
    audit.record(caller, action, [str(row.id) for row in changed], CONVERSATIONS)
    return changed


def _all_of(caller: Caller, ids: Sequence[UUID], *, for_update: bool = False) -> Mapping[UUID, Conversation]:
    selected = Conversation.objects.for_tenant(caller.tenant).filter(id__among=set(ids)).order_by("id")
    rows = {row.id: row for row in (selected.select_for_update(no_key=True) if for_update else selected)}
    for id in ids:
        if id not in rows:
            raise not_found(id, "nothing was changed")
        if rows[id].status == Status.PINNED:
            raise Conflict(f"conversation {id} is pinned; unpin it first. Nothing was changed")
    return rows


def _in(conversations: Sequence[Conversation]) -> Q:
    """Return a condition for these conversations' memories, as index ranges."""
    ranges = [
        Q(coordinate_key__gte=low, coordinate_key__lt=high)
        for low, high in (conversation.root.subtree for conversation in conversations)
    ]
    return Q(*ranges, _connector=Q.OR)


def last_read(caller: Caller, conversations: Sequence[Conversation]) -> Mapping[str, datetime | None]:
    """For each conversation key, return when one of the conversation's messages was last read."""
    rows = memories.live(caller, [CONVERSATIONS]).filter(_in(conversations)).order_by()
    grouped = rows.annotate(root=Substr("coordinate_key", 1, DIGITS_PER_NUMBER)).values("root")
    return dict(grouped.annotate(read_at=Max("last_accessed_at")).values_list("root", "read_at"))


def _covered(caller: Caller, conversations: Sequence[Conversation]) -> Mapping[str, int]:
    """Return how many of each conversation's messages its daily summaries cover."""
    days = memories.live(with_derived(caller), [SUMMARIES]).filter(_in(conversations), payload__level="daily")
    covered: dict[str, int] = {}
    for key, covers in days.values_list("coordinate_key", "metadata__covers"):
        covered[conversation_key(key)] = covered.get(conversation_key(key), 0) + covers["messages"] - covers["left_out"]
    return covered


def _previews(caller: Caller, conversations: Sequence[Conversation]) -> Mapping[str, str]:
    first = at_keys(caller, [message_key(conversation.number, 1) for conversation in conversations])
    return {message.conversation_key: message.text[:_PREVIEW_LENGTH] for message in read_messages(first)}

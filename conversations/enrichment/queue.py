"""Enrichment queue: background tasks for conversations.

A conversation has at most one task of each kind. A worker leases a task so that two workers do not send a
language model the same question. Correctness does not depend on the lease: even without it, no result is stored twice.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from conversations import llm
from conversations.models import Chore, Conversation
from somamemory.db import leases
from tenants.models import Tenant

# Conversations usually continue, so a task waits a while after the first new message and then covers all new messages.
FACTS_AFTER = timedelta(minutes=10)
LABEL_AFTER = timedelta(minutes=1)
LABELLED_UP_TO = 20  # turns; a longer conversation without a label is not labelled automatically


def messages_added(conversation: Conversation, before: int) -> None:
    """Queue the automatic tasks that the tenant has enabled. `before` is the number of messages before the append.

    Must be called in the transaction that added the messages, while it holds a lock on the conversation's row.
    """
    tenant, now = conversation.tenant, timezone.now()
    if tenant.extract_facts and settings.LLM_PROVIDER != llm.OFFLINE:
        _schedule(conversation, Chore.Kind.FACTS, now + FACTS_AFTER)
    if tenant.auto_label is not None and not conversation.label and before < LABELLED_UP_TO:
        _schedule(conversation, Chore.Kind.LABEL, now + LABEL_AFTER)


def request(conversation: Conversation, kind: str) -> Chore:
    """Make a task due now, even if it has failed, unless it is running or has already processed all messages.

    Must be called in a transaction that has locked the conversation's row.
    """
    now = timezone.now()
    rows = of(conversation.tenant, conversation.id)
    rows.bulk_create([_new(conversation, kind, now)], ignore_conflicts=True)
    chore: Chore = rows.select_for_update().get(kind=kind)
    if chore.turn < conversation.last_turn and not chore.is_leased(now):
        chore.due_at, chore.attempts, chore.error = now, 0, ""
        chore.save(update_fields=["due_at", "attempts", "error"])
    elif chore.due_at is not None and not chore.is_leased(now):
        chore.due_at, chore.error = None, ""
        chore.save(update_fields=["due_at", "error"])
    return chore


def take(among: QuerySet[Chore] | None = None) -> Chore | None:
    """Lease and return an active tenant's task, or return None if there is none.

    Take the first task that is due. If `among` is given, take the first of those tasks instead, even if it is not due.
    """
    due = Chore.all_tenants.filter(due_at__lte=timezone.now()) if among is None else among
    active = due.filter(tenant__in=Tenant.objects.filter(active=True))
    # Longer than the two language model calls that a step may make.
    duration = timedelta(seconds=2 * settings.LLM_TIMEOUT_S + 60)
    return next(iter(leases.take(active.order_by("due_at"), duration)), None)


def give_back(chore: Chore, due_at: datetime | None, error: str = "") -> None:
    """Release a failed task, to be retried at `due_at` or on request. Does nothing if another worker has leased it."""
    Chore.objects.for_tenant(chore.tenant).filter(id=chore.id, lease=chore.lease).update(
        due_at=due_at, error=error[:64], attempts=chore.attempts, **leases.RELEASED
    )


def of(tenant: Tenant, conversation_id: uuid.UUID) -> QuerySet[Chore]:
    rows: QuerySet[Chore] = Chore.objects.for_tenant(tenant).filter(conversation_id=conversation_id)
    return rows


def _schedule(conversation: Conversation, kind: str, due_at: datetime) -> None:
    rows = of(conversation.tenant, conversation.id)
    if not rows.filter(kind=kind, due_at=None).update(due_at=due_at, attempts=0, error=""):
        rows.bulk_create([_new(conversation, kind, due_at)], ignore_conflicts=True)


def _new(conversation: Conversation, kind: str, due_at: datetime) -> Chore:
    return Chore(tenant=conversation.tenant, conversation_id=conversation.id, kind=kind, due_at=due_at)

"""Restore deleted conversations. A deletion stores a snapshot of the conversation's row for the retention period.

Messages, summaries and facts are soft-deleted. The links of messages and summaries remain. The links of facts are
removed, because an entity exists only while a fact mentions it; a restore recreates these links from the facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Field, Q, QuerySet
from django.utils import timezone

from conversations import list_cache, lookup
from conversations.enrichment import fact_links, queue
from conversations.lookup import with_derived
from conversations.models import Chore, ColdFile, Conversation, DeletedConversation, ImportedConversation
from graph import retention as links
from memories import coordinates, history
from memories import restoring as memories
from memories.index import backpressure
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from somamemory import cursors
from somamemory.db.collisions import retrying
from somamemory.errors import ColdFileDamaged, Conflict
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import Tenant

# The fields that contain a chore's progress. Snapshots from older releases lack the last three.
_PROGRESS = ("kind", "turn", "found", "left_out", "cut", "due_at", "attempts", "error")
_LIST = cursors.list_id("deleted conversations")


@dataclass(frozen=True)
class Deleted:
    """A deleted conversation. `conversation` is an unsaved instance, or None if an older release deleted it."""

    id: UUID
    conversation: Conversation | None
    deleted_at: datetime

    @property
    def restorable_until(self) -> datetime:
        return self.deleted_at + _retention()


@dataclass(frozen=True)
class Page:
    items: Sequence[Deleted]
    next_cursor: str | None


def record(conversation: Conversation, chores: Sequence[Chore], deleted_at: datetime) -> None:
    """Store a snapshot from which the conversation can be restored. The snapshot counts towards the quota.

    Must be called in the transaction that deletes the conversation's row.
    """
    columns = {field.attname: _json_value(getattr(conversation, field.attname)) for field in _columns()}
    progress = [{name: _json_value(getattr(chore, name)) for name in _PROGRESS} for chore in chores]
    DeletedConversation(
        tenant=conversation.tenant,
        conversation_id=conversation.id,
        key=conversation.key,
        user_id=conversation.user_id,
        deleted_at=deleted_at,
        bytes=conversation.bytes,
        snapshot={"columns": columns, "chores": progress},
    ).save(force_insert=True)


def page(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Return the conversations that can be restored, most recently deleted first."""
    caller.require("read", [CONVERSATIONS])
    rows = _restorable(caller).order_by("-deleted_at", "-id")
    if cursor:
        made_for, at, id = cursors.decode(cursor, str, datetime, int)
        if made_for != _LIST:
            raise cursors.invalid()
        rows = rows.filter(Q(deleted_at__lte=at), Q(deleted_at__lt=at) | Q(id__lt=id))
    deleted = list(rows[: limit + 1])
    last = deleted[limit - 1] if len(deleted) > limit else None
    next_cursor = None if last is None else cursors.encode(_LIST, last.deleted_at, last.id)
    return Page([_deleted(caller, row) for row in deleted[:limit]], next_cursor)


def find(caller: Caller, id: UUID) -> Deleted:
    """Return a conversation that can be restored. Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    row = _restorable(caller).filter(conversation_id=id).first()
    if row is None:
        raise lookup.not_found(id)
    return _deleted(caller, row)


def restore(caller: Caller, id: UUID) -> Conversation:
    """Restore a deleted conversation with its messages, summaries, facts and links.

    Raises NotFound if there is no such deleted conversation or its retention period has ended. Raises Conflict if an
    older release deleted it, if another conversation now has its external id, or if some of its messages have been
    purged. Raises ColdFileDamaged if its cold file is missing.
    """
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the response contains the conversation
    backpressure.check(caller.tenant)
    return retrying(lambda: _restored(caller, id))


def _restored(caller: Caller, id: UUID) -> Conversation:
    """Run the transaction of `restore`."""
    row = _restorable(caller).filter(conversation_id=id).select_for_update().first()
    if row is None:
        raise lookup.not_found(id)
    conversation = _deleted(caller, row).conversation
    if conversation is None:
        raise Conflict(f"conversation {id} cannot be restored, because an older release deleted it without a snapshot")
    _check_external_id(caller, conversation)
    conversation.updated_at = timezone.now()
    conversation.save(force_insert=True)
    _restore_memories(caller.unlimited(), conversation, row.deleted_at)
    chores = [Chore(tenant=caller.tenant, conversation_id=id, **progress) for progress in row.snapshot["chores"]]
    queue.of(caller.tenant, id).bulk_create(chores)
    if conversation.message_count:
        queue.messages_added(conversation, 0)  # schedules the tasks that were due
    row.delete()
    restored = Change(str(id), None, audit.state(conversation))
    audit.record(caller, "conversation.restore", [restored], CONVERSATIONS)
    list_cache.forget_on_commit(caller.tenant, id)
    return conversation


def _check_external_id(caller: Caller, conversation: Conversation) -> None:
    if conversation.external_id and lookup.by_external_id(caller.unlimited(), conversation.external_id):
        raise Conflict(
            f"another conversation now has external id {conversation.external_id!r}; delete that conversation first"
        )


def _restore_memories(caller: Caller, conversation: Conversation, since: datetime) -> None:
    derived = with_derived(caller).writing_reserved()
    if conversation.tier == Conversation.Tier.COLD:
        _reuse_file(caller, conversation, since)
    elif memories.restore_subtree(derived, CONVERSATIONS, conversation.root, since) < conversation.message_count:
        raise Conflict("some messages of the conversation have been purged, so it cannot be restored")
    memories.restore_subtree(derived, SUMMARIES, conversation.root, since)
    memories.restore_subtree(derived, FACTS, conversation.root, since)
    fact_links.recreate(derived, conversation)


def _reuse_file(caller: Caller, conversation: Conversation, since: datetime) -> None:
    """Put the cold file that the deletion marked as unused back into use. Raises ColdFileDamaged if it is missing."""
    files = ColdFile.objects.for_tenant(caller.tenant).filter(conversation_id=conversation.id)
    was_in_use = files.filter(dropped_at__gte=since, dropped_at__gt=F("written_at"))
    file = was_in_use.order_by("-dropped_at").select_for_update().first()
    if file is None:
        raise ColdFileDamaged(f"the file for conversation {conversation.id} is missing")
    file.dropped_at = None
    file.save(update_fields=["dropped_at"])
    usage.add(caller.tenant, file.memories, file.size)


def forget_expired(limit: int = 1_000) -> int:
    """Delete up to `limit` snapshots whose retention periods have ended. Return how many were deleted."""
    old = DeletedConversation.all_tenants.filter(deleted_at__lte=timezone.now() - _retention())
    rows = list(old.order_by("deleted_at")[:limit])
    tenants = Tenant.objects.in_bulk({row.tenant_id for row in rows})
    for row in rows:
        # The tenant's row may already be gone, if the tenant is being erased.
        forget(Caller.retention(tenants.get(row.tenant_id) or Tenant(id=row.tenant_id)), row)
    return len(rows)


@transaction.atomic
def forget(caller: Caller, row: DeletedConversation) -> None:
    """Delete a deleted conversation's row and import record, and its messages' links and history.

    Links and history are deleted explicitly, because a cold conversation's messages have no rows to cascade from.
    """
    if not row.delete()[0]:
        return  # another process has deleted it, or has restored the conversation
    usage.add(caller.tenant, 0, -row.bytes)
    root = coordinates.from_key(row.key)
    links.forget_subtree(caller, CONVERSATIONS, root)
    history.forget_subtree(caller, CONVERSATIONS, root)
    forget_imports(caller, row.conversation_id)


def forget_imports(caller: Caller, id: UUID) -> None:
    """Delete a conversation's import records. Must be called in the transaction that purges it."""
    imports = ImportedConversation.objects.for_tenant(caller.tenant).filter(conversation_id=id)
    usage.add(caller.tenant, 0, -sum(row.size() for row in imports))
    imports.delete()


def _restorable(caller: Caller) -> QuerySet[DeletedConversation]:
    rows: QuerySet[DeletedConversation] = DeletedConversation.objects.for_tenant(caller.tenant)
    return rows.filter(deleted_at__gt=timezone.now() - _retention())


def _deleted(caller: Caller, row: DeletedConversation) -> Deleted:
    if row.snapshot is None:
        return Deleted(row.conversation_id, None, row.deleted_at)
    # A snapshot from an older release lacks fields that were added later.
    known = [field for field in _columns() if field.attname in row.snapshot["columns"]]
    columns = {field.attname: field.to_python(row.snapshot["columns"][field.attname]) for field in known}
    return Deleted(row.conversation_id, Conversation(tenant=caller.tenant, **columns), row.deleted_at)


def _columns() -> Sequence[Field[Any, Any]]:
    return [field for field in Conversation._meta.concrete_fields if field.attname != "tenant_id"]


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _retention() -> timedelta:
    return timedelta(days=settings.RETENTION_DAYS)

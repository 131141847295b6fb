"""Storage tiers for a conversation's messages: active (indexed), archived (database only), cold (in a file).

A conversation moves as a unit, because its messages are read together and in order. Its row, summaries and links stay
in the database in every tier, so it can still be listed, found by its summaries, moved between folders, exported and
deleted.

  active → archived   in the transaction that changes the status
  archived → cold     1. insert a row for the file  2. write the file and read it back  3. in one transaction: check
                      that the messages have not changed, delete their rows, mark the file as in use
  cold → archived     1. read the file  2. in one transaction: restore the rows, mark the file as unused

If a process is killed at any point, the messages stay in their previous tier. At most one unused file remains, which
`sweep` removes. No file is read or written inside a transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone

from conversations import list_cache
from conversations.lifecycle import cold_storage
from conversations.models import ColdFile, Conversation
from memories import archiving, large_rows, retention
from memories import selectors as memories
from memories.archiving import Taken
from memories.models import IDS, Memory
from memories.reserved_namespaces import CONVERSATIONS
from somamemory import failpoints
from somamemory.errors import ColdFileDamaged, ColdUnavailable, ConversationIsCold
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.tiers")

# Limits for one file, because a whole file is held in memory. Larger conversations stay archived.
MAX_MESSAGES = 20_000
MAX_BYTES = 64 * 1024 * 1024
# How long an unused file is kept, for readers that have just looked up its name and for running backups.
GRACE = timedelta(days=1)
# A file can be put into use only within this time after its row was inserted. Must be well below `GRACE`, after which
# `sweep` removes the file.
_WRITING_S = 3600.0
_THAW_ATTEMPTS = 3
_PAGE = 500
_REMOVE_NOW = datetime(1970, 1, 1, tzinfo=UTC)
# Quotas count cold messages by the former size of their rows.
USAGE_SQL = (
    "SELECT COALESCE(SUM(memories), 0) AS memories, COALESCE(SUM(size), 0) AS bytes "
    "FROM sfm_cold_files WHERE tenant_id = %s AND dropped_at IS NULL"
)
Result = TypeVar("Result")
_is_nested: ContextVar[bool] = ContextVar("warmed_is_nested", default=False)
Status, Tier = Conversation.Status, Conversation.Tier


def settle(caller: Caller, conversation: Conversation) -> None:
    """Set the tier that matches the conversation's status, and archive or restore its messages.

    Must be called in a transaction that has locked the conversation's row, and the calling code must then save the row.
    Raises ConversationIsCold if the messages must be restored from cold storage first.
    """
    if conversation.status == Status.ARCHIVED:
        if conversation.tier != Tier.COLD:
            archiving.archive_subtree(caller, CONVERSATIONS, conversation.root)
            conversation.tier, conversation.archived_at = Tier.ARCHIVED, timezone.now()
    else:
        refuse_cold(conversation)
        if conversation.tier == Tier.ARCHIVED:
            archiving.wake_subtree(caller, CONVERSATIONS, conversation.root)
        conversation.tier, conversation.archived_at = Tier.ACTIVE, None


def archive_idle(caller: Caller, id: UUID, unused_since: datetime) -> bool:
    """Archive an active conversation if it has not changed since `unused_since`. Return whether it was archived."""
    caller.require("write", [CONVERSATIONS])
    with transaction.atomic():
        held = _held(caller, id)
        if held is None or held.status != Status.ACTIVE or held.updated_at > unused_since:
            return False
        before = audit.state(held)
        held.status = Status.ARCHIVED
        settle(caller, held)
        held.save(update_fields=["status", "tier", "archived_at"])
        audit.record(caller, "conversation.archive_idle", [Change(str(id), before, audit.state(held))], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, id)
    return True


def catch_up(caller: Caller, id: UUID) -> bool:
    """Move a conversation's messages to the tier that matches its status. Return whether they were moved.

    Needed if an older version of the service changed only the status.
    """
    caller.require("write", [CONVERSATIONS])

    @transaction.atomic
    def apply() -> bool:
        held = _held(caller, id)
        if held is None or (held.status == Status.ARCHIVED) != (held.tier == Tier.ACTIVE):
            return False
        settle(caller, held)
        held.save(update_fields=["tier", "archived_at"])
        list_cache.forget_on_commit(caller.tenant, id)
        return True

    return warmed(caller, apply)


def used(caller: Caller, id: UUID, at: datetime) -> None:
    """Postpone moving an archived conversation to cold storage, because it was read at `at`."""
    rows = Conversation.objects.for_tenant(caller.tenant).filter(id=id, tier=Tier.ARCHIVED, archived_at__lt=at)
    if rows.update(archived_at=at):
        list_cache.forget_on_commit(caller.tenant, id)


def refuse_cold(conversation: Conversation) -> None:
    """Raise ConversationIsCold if the messages are not in the database. `warmed` handles this error."""
    if conversation.tier == Tier.COLD:
        raise _IsCold(conversation.id)


def warmed(caller: Caller, work: Callable[[], Result]) -> Result:
    """Run `work`, which must consist of a single transaction.

    If `work` finds a cold conversation, the conversation is restored outside that transaction, and `work` runs again.
    In a nested call, the outermost `warmed` restores the conversation, because the outer transaction is still open.
    """
    if _is_nested.get():
        return work()
    for _ in range(_THAW_ATTEMPTS):
        try:
            return _nested(work)
        except _IsCold as error:
            thaw(caller, error.id)
    return _nested(work)


def _nested(work: Callable[[], Result]) -> Result:
    token = _is_nested.set(True)
    try:
        return work()
    finally:
        _is_nested.reset(token)


class _IsCold(ConversationIsCold):
    def __init__(self, id: UUID) -> None:
        super().__init__(f"conversation {id} is being restored from cold storage; retry in a few seconds")
        self.id = id


def freeze(caller: Caller, id: UUID) -> bool:
    """Move an archived conversation's messages to cold storage. Return whether they were moved.

    Does nothing if SOMA_COLD_STORAGE is not set, if the conversation is too large or has days that are not summarised
    yet, or if it is changed or read during the move. Must not be called inside a transaction. Raises ColdUnavailable.
    """
    caller.require("write", [CONVERSATIONS])
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=id).first()
    if conversation is None or not _may_freeze(conversation) or not _fits(caller, conversation):
        return False
    rows = list(_rows(caller, conversation).order_by("coordinate_key"))
    if len(rows) != conversation.message_count or not all(row.is_live and row.archived_at for row in rows):
        return False
    deadline = time.monotonic() + _WRITING_S
    file = _write_file(caller.tenant, id, rows)
    frozen = file is not None and _replace_rows(caller, file, rows, deadline)
    failpoints.reach("tiers.frozen")
    return frozen


def _write_file(tenant: Tenant, id: UUID, rows: Sequence[Memory]) -> ColdFile | None:
    """Write the messages to cold storage. Return None if the tenant has been erased in the meantime."""
    now = timezone.now()
    packed = cold_storage.pack(tenant.id, id, now.isoformat(), map(Taken.of, rows))
    file = ColdFile(
        tenant=tenant,
        conversation_id=id,
        name=packed.name,
        bytes=len(packed.data),
        memories=len(rows),
        size=sum(row.size for row in rows),
        written_at=now,
        dropped_at=now,  # cleared when the file is put into use
    )
    failpoints.reach("tiers.packed")
    file.save(force_insert=True)
    failpoints.reach("tiers.recorded")
    cold_storage.write(packed)
    failpoints.reach("tiers.written")
    if not ColdFile.objects.for_tenant(tenant).filter(id=file.id).exists():
        # The tenant was erased together with its rows and files, so remove this file, too.
        cold_storage.remove(packed.name)
        return None
    return file


@transaction.atomic
def _replace_rows(caller: Caller, file: ColdFile, rows: Sequence[Memory], deadline: float) -> bool:
    """Delete the rows and put the file into use, if nothing has changed since the file was written."""
    id = file.conversation_id
    held = _held(caller, id)
    if held is None or not _may_freeze(held) or time.monotonic() > deadline or _has_changed(caller, held, rows):
        return False
    if not ColdFile.objects.for_tenant(caller.tenant).filter(id=file.id).update(dropped_at=None):
        return False
    before = audit.state(held)
    for start in range(0, len(rows), retention.BATCH):
        retention.take_out(rows[start : start + retention.BATCH])
    failpoints.reach("tiers.replacing")
    held.tier = Tier.COLD
    held.save(update_fields=["tier"])
    audit.record(caller, "conversation.freeze", [Change(str(id), before, audit.state(held))], CONVERSATIONS)
    list_cache.forget_on_commit(caller.tenant, id)
    return True


def _has_changed(caller: Caller, conversation: Conversation, rows: Sequence[Memory]) -> bool:
    """Return whether any message has been written or read since the rows were loaded. Locks the rows."""
    current = _rows(caller, conversation).order_by("coordinate_key").select_for_update()
    names = ("id", "version", "last_accessed_at", "access_count", *IDS)  # a change of the ids is not a new version
    return list(current.values_list(*names)) != [tuple(getattr(row, name) for name in names) for row in rows]


def thaw(caller: Caller, id: UUID) -> bool:
    """Restore a cold conversation's messages to the database. Return whether this call restored them.

    The conversation stays archived and counts as having just been used. Must not be called inside a transaction. Raises
    ColdUnavailable, ColdFileDamaged.
    """
    if (cold := _read_file(caller.tenant, id)) is None:
        return False
    file, taken = cold
    failpoints.reach("tiers.read")
    now = timezone.now()
    with transaction.atomic():
        held = _held(caller, id)
        in_use = ColdFile.objects.for_tenant(caller.tenant).filter(id=file.id, dropped_at=None)
        if held is None or held.tier != Tier.COLD or not in_use.update(dropped_at=now):
            return False  # another process has restored them in the meantime
        before = audit.state(held)
        archiving.put_back(caller, [message.memory(caller, CONVERSATIONS) for message in taken], now)
        failpoints.reach("tiers.restoring")
        held.tier, held.archived_at = Tier.ARCHIVED, now
        held.save(update_fields=["tier", "archived_at"])
        audit.record(caller, "conversation.thaw", [Change(str(id), before, audit.state(held))], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, id)
    failpoints.reach("tiers.thawed")
    return True


def is_in_file(tenant: Tenant, id: UUID) -> bool:
    return _file(tenant, id) is not None


def forget(caller: Caller, id: UUID, *, at_once: bool) -> None:
    """Mark a conversation's file as unused. Must be called in the transaction that deletes the conversation.

    at_once: remove the file after the commit. Otherwise `sweep` removes it when the conversation can no longer be
    restored.
    """
    dropped_at = timezone.now() + (timedelta() if at_once else timedelta(days=settings.RETENTION_DAYS))
    files = ColdFile.objects.for_tenant(caller.tenant).filter(conversation_id=id)
    for file in files.filter(dropped_at=None).select_for_update():
        usage.add(caller.tenant, -file.memories, -file.size)
        file.dropped_at = dropped_at
        file.save(update_fields=["dropped_at"])
    if not at_once:
        return
    # A file that was never in use may not be complete yet. Keep its row, so that `sweep` checks for the file again.
    written = set(files.filter(dropped_at__gt=F("written_at")).values_list("id", flat=True))
    if files.update(dropped_at=_REMOVE_NOW):
        transaction.on_commit(partial(_remove_all, list(files), written), robust=True)


def read(caller: Caller, conversation: Conversation) -> list[Memory] | None:
    """Return a cold conversation's messages from its file without restoring them, or None if it is not cold.

    Raises ColdUnavailable, ColdFileDamaged.
    """
    if (cold := _read_file(caller.tenant, conversation.id)) is None:
        return None
    _, taken = cold
    return [message.memory(caller, CONVERSATIONS) for message in taken]


def messages(caller: Caller, conversation: Conversation) -> Iterator[Memory]:
    """Yield all messages in order, page by page, from any tier, even if the tier changes during the iteration."""
    if conversation.tier == Tier.COLD and (cold := read(caller, conversation)) is not None:
        yield from cold
        return
    low, high = conversation.root.subtree
    rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
    last, seen = "", 0
    for page in large_rows.pages(rows, "coordinate_key", _PAGE):
        for message in page:
            yield message
            last, seen = message.coordinate_key, seen + 1
    if seen < conversation.message_count:  # the others have just been moved to cold storage
        yield from (row for row in read(caller, conversation) or () if row.coordinate_key > last)


def sweep(limit: int = 1_000) -> int:
    """Remove files that have been unused for the grace period. Return the number removed. Raises ColdUnavailable.

    The order is random, so that a file that cannot be removed does not block the others forever.
    """
    old = ColdFile.all_tenants.filter(dropped_at__lte=timezone.now() - GRACE).order_by("?")
    files = list(old[:limit])
    over = timezone.now() - 2 * timedelta(seconds=_WRITING_S)
    for file in files:
        _remove(file, with_row=file.dropped_at != _REMOVE_NOW or file.written_at < over)
    return len(files)


def damaged(tenant: Tenant) -> Iterator[tuple[ColdFile, str]]:
    """Read every file in use or restorable. Yield each with its problem, or with "" if it is intact."""
    rows = ColdFile.objects.for_tenant(tenant).filter(ColdFile.needed(timezone.now())).order_by("id")
    for file in rows.iterator(chunk_size=_PAGE):
        try:
            cold_storage.unpack(cold_storage.read(file.name), tenant.id, file.conversation_id)
        except ColdUnavailable as error:
            yield file, str(error)
        else:
            yield file, ""


def _may_freeze(conversation: Conversation) -> bool:
    return (
        bool(settings.COLD_STORAGE)
        and conversation.status == Status.ARCHIVED
        and conversation.tier == Tier.ARCHIVED
        and conversation.summarise_at is None
        and 0 < conversation.message_count <= MAX_MESSAGES
    )


def _fits(caller: Caller, conversation: Conversation) -> bool:
    total = _rows(caller, conversation).aggregate(count=Count("seq"), size=Sum("size"))
    return total["count"] <= MAX_MESSAGES and (total["size"] or 0) <= MAX_BYTES


def _rows(caller: Caller, conversation: Conversation) -> QuerySet[Memory]:
    """Return the rows of all messages in a conversation, including deleted and expired messages."""
    low, high = conversation.root.subtree
    rows: QuerySet[Memory] = Memory.objects.for_tenant(caller.tenant)
    return rows.filter(namespace=CONVERSATIONS, coordinate_key__gte=low, coordinate_key__lt=high)


def _held(caller: Caller, id: UUID) -> Conversation | None:
    rows = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    conversation: Conversation | None = rows.filter(id=id).first()
    return conversation


def _file(tenant: Tenant, id: UUID) -> ColdFile | None:
    file: ColdFile | None = ColdFile.objects.for_tenant(tenant).filter(conversation_id=id, dropped_at=None).first()
    return file


def _read_file(tenant: Tenant, id: UUID) -> tuple[ColdFile, list[Taken]] | None:
    """Return a conversation's file and messages, or None if it has no file or the file was just purged."""
    if (file := _file(tenant, id)) is None:
        return None
    try:
        return file, cold_storage.unpack(cold_storage.read(file.name), tenant.id, id)
    except ColdFileDamaged:
        if _file(tenant, id) == file:
            raise
        return None  # it was purged between the two statements


def _remove_all(files: Sequence[ColdFile], written: Collection[UUID]) -> None:
    for file in files:
        try:
            _remove(file, with_row=file.id in written)
        except ColdUnavailable as error:
            log.warning("postponed the removal of a purged conversation's cold file", extra={"reason": str(error)})


def _remove(file: ColdFile, *, with_row: bool) -> None:
    cold_storage.remove(file.name)
    failpoints.reach("tiers.removed")
    if with_row:
        ColdFile.all_tenants.filter(id=file.id, dropped_at__isnull=False).delete()

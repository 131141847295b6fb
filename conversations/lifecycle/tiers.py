"""Where the messages of a conversation are: in the index (active), in the database alone (archived), in a file (cold).

The unit is the conversation: its messages are read together, in order, and only together mean something. Its own row,
its summaries and links stay where they are in any tier, so that it is listed, found by what its summaries say, filed,
exported and deleted as before.

active → archived   with the status, in the transaction that changes it
archived → cold     1. a row says that there will be a file  2. the file is written, and read back  3. one transaction:
                    the messages are still what was written, their rows go, the file is in use
cold → archived     1. the file is read  2. one transaction: the rows come back, nobody needs the file any more

Whoever is killed anywhere leaves the messages where they were, and at most a file that nobody needs, whose row has it
swept. No file is read or written inside a transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
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
from conversations.models import ColdFile, Conversation, DeletedConversation
from memories import archiving, retention
from memories import selectors as memories
from memories.archiving import Taken
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.errors import ColdFileDamaged, ColdUnavailable, ConversationIsCold
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.tiers")

# What one file holds at most, as it is in memory as a whole; what is larger stays archived.
MAX_MESSAGES = 20_000
MAX_BYTES = 64 * 1024 * 1024
# A file that nobody needs any more stays for so long: for whoever has just found its name, and for a backup being made.
GRACE = timedelta(days=1)
# So long after its row was made a file may still come into use; far from the moment when it is swept.
_WRITING_S = 3600.0
_TRIES = 3
_PAGE = 500
_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
# What quotas count of it, as of the rows that it was.
KEPT = (
    "SELECT COALESCE(SUM(memories), 0) AS memories, COALESCE(SUM(size), 0) AS bytes "
    "FROM sfm_cold_files WHERE tenant_id = %s AND dropped_at IS NULL"
)
Result = TypeVar("Result")
Status, Tier = Conversation.Status, Conversation.Tier


def settle(caller: Caller, conversation: Conversation) -> None:
    """Let the messages follow the status. Needs a transaction that holds the row; it must be saved afterwards.

    Raises ConversationIsCold where they must come back first.
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
    """Archive an active conversation that has not changed since; whether that has been done."""
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
    """Let the messages follow the status where they have not: an older version of the service has changed it."""
    caller.require("write", [CONVERSATIONS])

    @transaction.atomic
    def once() -> bool:
        held = _held(caller, id)
        if held is None or (held.status == Status.ARCHIVED) != (held.tier == Tier.ACTIVE):
            return False
        settle(caller, held)
        held.save(update_fields=["tier", "archived_at"])
        list_cache.forget_on_commit(caller.tenant, id)
        return True

    return warmed(caller, once)


def used(caller: Caller, id: UUID, at: datetime) -> None:
    """Somebody has read a message of an archived conversation since it was archived."""
    rows = Conversation.objects.for_tenant(caller.tenant).filter(id=id, tier=Tier.ARCHIVED, archived_at__lt=at)
    if rows.update(archived_at=at):
        list_cache.forget_on_commit(caller.tenant, id)


def refuse_cold(conversation: Conversation) -> None:
    """For whoever needs the messages in the database. Raises ConversationIsCold, which `warmed` sees to."""
    if conversation.tier == Tier.COLD:
        raise _Cold(conversation.id)


def warmed(caller: Caller, work: Callable[[], Result]) -> Result:
    """Do a work of one transaction; where a conversation is cold, bring that back first, outside of it."""
    for _ in range(_TRIES):
        try:
            return work()
        except _Cold as cold:
            thaw(caller, cold.id)
    return work()


class _Cold(ConversationIsCold):
    def __init__(self, id: UUID) -> None:
        super().__init__(f"the messages of conversation {id} are on their way back; try again")
        self.id = id


def freeze(caller: Caller, id: UUID) -> bool:
    """Put the messages of an archived conversation into a file; whether that has been done.

    It is not for one that has not been summarised yet, is too large, or was touched meanwhile, and nowhere without
    SOMA_COLD_STORAGE. Never inside a transaction. Raises ColdUnavailable.
    """
    caller.require("write", [CONVERSATIONS])
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=id).first()
    if conversation is None or not _may_freeze(conversation) or not _fits(caller, conversation):
        return False
    rows = list(_rows(caller, conversation).order_by("coordinate_key"))
    if len(rows) != conversation.message_count or not all(row.is_live and row.archived_at for row in rows):
        return False
    started, now = time.monotonic(), timezone.now()
    packed = cold_storage.pack(caller.tenant.id, id, now.isoformat(), map(Taken.of, rows))
    file = ColdFile(
        tenant=caller.tenant,
        conversation_id=id,
        name=packed.name,
        bytes=len(packed.data),
        memories=len(rows),
        size=sum(row.size for row in rows),
        written_at=now,
        dropped_at=now,  # until it is in use
    )
    file.save(force_insert=True)
    cold_storage.write(packed)
    if not ColdFile.objects.for_tenant(caller.tenant).filter(id=file.id).exists():
        cold_storage.remove(packed.name)  # the tenant has been erased meanwhile, and nobody would find it
        return False
    with transaction.atomic():
        held = _held(caller, id)
        if held is None or not _may_freeze(held) or time.monotonic() - started > _WRITING_S:
            return False
        # What has been read meanwhile is in use, too.
        there = _rows(caller, held).order_by("coordinate_key").select_for_update()
        seen = list(there.values_list("id", "version", "last_accessed_at", "access_count"))
        if seen != [(row.id, row.version, row.last_accessed_at, row.access_count) for row in rows]:
            return False
        if not ColdFile.objects.for_tenant(caller.tenant).filter(id=file.id).update(dropped_at=None):
            return False
        before = audit.state(held)
        for start in range(0, len(rows), retention.BATCH):
            retention.take_out(rows[start : start + retention.BATCH])
        held.tier = Tier.COLD
        held.save(update_fields=["tier"])
        audit.record(caller, "conversation.freeze", [Change(str(id), before, audit.state(held))], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, id)
    return True


def thaw(caller: Caller, id: UUID) -> bool:
    """Bring the messages of a cold conversation back into the database; whether that has been done here.

    It stays archived, and counts as used now. Never inside a transaction. Raises ColdUnavailable, ColdFileDamaged.
    """
    if (found := _found(caller.tenant, id)) is None:
        return False
    file, taken = found
    now = timezone.now()
    with transaction.atomic():
        held = _held(caller, id)
        mine = ColdFile.objects.for_tenant(caller.tenant).filter(id=file.id, dropped_at=None)
        if held is None or held.tier != Tier.COLD or not mine.update(dropped_at=now):
            return False  # somebody else has done it meanwhile
        before = audit.state(held)
        archiving.put_back(caller, [each.memory(caller, CONVERSATIONS) for each in taken], now)
        held.tier, held.archived_at = Tier.ARCHIVED, now
        held.save(update_fields=["tier", "archived_at"])
        audit.record(caller, "conversation.thaw", [Change(str(id), before, audit.state(held))], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, id)
    return True


def is_in_file(tenant: Tenant, id: UUID) -> bool:
    return _file(tenant, id) is not None


def forget(caller: Caller, id: UUID, *, at_once: bool) -> None:
    """Give up the file of a conversation that is being deleted. Needs its transaction.

    at_once: the file goes as soon as that has been committed, else after a while, as whatever nobody needs.
    """
    mine = ColdFile.objects.for_tenant(caller.tenant).filter(conversation_id=id)
    for file in mine.filter(dropped_at=None).select_for_update():
        usage.add(caller.tenant, -file.memories, -file.size)
        file.dropped_at = timezone.now()
        file.save(update_fields=["dropped_at"])
    if not at_once:
        return
    # One that was never in use may be written in this moment: its row stays, and `sweep` looks for it again.
    written = set(mine.filter(dropped_at__gt=F("written_at")).values_list("id", flat=True))
    if mine.update(dropped_at=_AT_ONCE):
        transaction.on_commit(partial(_swept, list(mine), written), robust=True)


def read(caller: Caller, conversation: Conversation) -> list[Memory] | None:
    """The messages of a cold conversation, out of its file and nowhere stored; None if it is not cold.

    Raises ColdUnavailable, ColdFileDamaged.
    """
    if (found := _found(caller.tenant, conversation.id)) is None:
        return None
    _, taken = found
    return [each.memory(caller, CONVERSATIONS) for each in taken]


def messages(caller: Caller, conversation: Conversation) -> Iterator[Memory]:
    """All messages in order, page by page, from wherever they are; they may move meanwhile."""
    if conversation.tier == Tier.COLD and (kept := read(caller, conversation)) is not None:
        yield from kept
        return
    low, high = conversation.root.subtree
    rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__lt=high).order_by("coordinate_key")
    last, seen = "", 0
    while page := list(rows.filter(coordinate_key__gte=low, coordinate_key__gt=last)[:_PAGE]):
        yield from page
        last, seen = page[-1].coordinate_key, seen + len(page)
    if seen < conversation.message_count:  # they have just been taken out
        yield from (row for row in read(caller, conversation) or () if row.coordinate_key > last)


def sweep(limit: int = 1_000) -> int:
    """Remove files that nobody has needed for a while; how many. Raises ColdUnavailable."""
    purged = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    DeletedConversation.all_tenants.filter(deleted_at__lte=purged).delete()
    old = ColdFile.all_tenants.filter(dropped_at__lte=timezone.now() - GRACE).order_by("dropped_at")
    files = list(old[:limit])
    over = timezone.now() - 2 * timedelta(seconds=_WRITING_S)
    for file in files:
        _remove(file, for_good=file.dropped_at != _AT_ONCE or file.written_at < over)
    return len(files)


def forget_tenant(tenant: Tenant) -> int:
    """Remove all files of a tenant that is erased, whether or not rows know of them; how many there were."""
    removed = 0
    for name in cold_storage.names(tenant.id):
        cold_storage.remove(name)
        removed += 1
    return removed


def damaged(tenant: Tenant) -> Iterator[tuple[ColdFile, str]]:
    """Every file in use, read and compared, and what is wrong with it ("": nothing)."""
    rows = ColdFile.objects.for_tenant(tenant).filter(dropped_at=None).order_by("id")
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
    found = _rows(caller, conversation).aggregate(count=Count("seq"), size=Sum("size"))
    return found["count"] <= MAX_MESSAGES and (found["size"] or 0) <= MAX_BYTES


def _rows(caller: Caller, conversation: Conversation) -> QuerySet[Memory]:
    """Of the messages also those that should not be there."""
    low, high = conversation.root.subtree
    rows: QuerySet[Memory] = Memory.objects.for_tenant(caller.tenant)
    return rows.filter(namespace=CONVERSATIONS, coordinate_key__gte=low, coordinate_key__lt=high)


def _held(caller: Caller, id: UUID) -> Conversation | None:
    rows = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    found: Conversation | None = rows.filter(id=id).first()
    return found


def _file(tenant: Tenant, id: UUID) -> ColdFile | None:
    found: ColdFile | None = ColdFile.objects.for_tenant(tenant).filter(conversation_id=id, dropped_at=None).first()
    return found


def _found(tenant: Tenant, id: UUID) -> tuple[ColdFile, list[Taken]] | None:
    """The file of a conversation and what is in it; None if it has none, or no longer."""
    file = _file(tenant, id)
    if file is None:
        return None
    try:
        return file, cold_storage.unpack(cold_storage.read(file.name), tenant.id, id)
    except ColdFileDamaged:
        if _file(tenant, id) == file:
            raise
        return None  # it was purged between the two


def _swept(files: Sequence[ColdFile], written: Collection[UUID]) -> None:
    for file in files:
        try:
            _remove(file, for_good=file.id in written)
        except ColdUnavailable as error:
            log.warning("a file of a purged conversation will be removed later", extra={"reason": str(error)})


def _remove(file: ColdFile, *, for_good: bool) -> None:
    cold_storage.remove(file.name)
    if for_good:
        ColdFile.all_tenants.filter(id=file.id, dropped_at__isnull=False).delete()

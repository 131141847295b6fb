"""The only writers of conversations. A conversation and its messages change in one transaction.

Whoever appends holds the row of that conversation, and no other: its turns are 1, 2, 3 … without a gap, whatever
happens at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from conversations import folders, list_cache
from conversations.enrichment import entities, periods, queue
from conversations.lifecycle import tiers
from conversations.lookup import lock, with_derived
from conversations.messages import MAX_TURN, NewMessage, message_key, read_messages
from conversations.models import (
    DEFAULT_IMPORTANCE,
    MAX_METADATA_BYTES,
    PINNED_IMPORTANCE,
    Conversation,
    DeletedConversation,
    ImportedConversation,
    NumberStripe,
)
from graph import retention as links
from memories import coordinates, filters, payloads
from memories import services as memories
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.payloads import Json
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from somamemory.errors import Conflict, PayloadTooLarge
from tenants import audit
from tenants.audit import Change
from tenants.caller import Caller

Status = Conversation.Status


@dataclass(frozen=True)
class NewConversation:
    label: str = ""
    folder: str = ""
    messages: Sequence[NewMessage] = ()
    metadata: Json = field(default_factory=dict)
    importance: float = DEFAULT_IMPORTANCE
    status: str = Status.ACTIVE
    created_at: datetime | None = None  # if that was not now


def create(caller: Caller, new: NewConversation) -> Conversation:
    """A new conversation with its messages: all of it, or nothing."""
    caller.require("write", [CONVERSATIONS])
    with transaction.atomic():
        number = _next_number(caller)
        conversation = Conversation(
            tenant=caller.tenant,
            number=number,
            key=coordinates.encode([float(number)]),
            importance=new.importance,
            metadata=new.metadata,
            status=new.status,
        )
        conversation.created_at = new.created_at or conversation.created_at
        _name(conversation, new.label)
        _file(conversation, new.folder)
        _check_metadata(conversation)
        _write(caller, conversation, new.messages)
        if conversation.status == Status.ARCHIVED:
            tiers.settle(caller, conversation)
        conversation.save(force_insert=True)
        if new.messages:
            queue.note(conversation, 0)
        made = Change(str(conversation.id), None, audit.state(conversation))
        audit.record(caller, "conversation.create", [made], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, conversation.id)
    return conversation


def append(caller: Caller, id: UUID, messages: Sequence[NewMessage]) -> tuple[Conversation, list[Memory]]:
    """Add messages to the end: all of them, or none. The conversation as it is now, and the messages."""
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the answer tells how many there are
    return tiers.warmed(caller, lambda: _appended(caller, id, messages))


@transaction.atomic
def _appended(caller: Caller, id: UUID, messages: Sequence[NewMessage]) -> tuple[Conversation, list[Memory]]:
    conversation = lock(caller, id)
    tiers.refuse_cold(conversation)
    before = conversation.last_turn
    written = _write(caller, conversation, messages)
    if conversation.status == Status.ARCHIVED:
        tiers.settle(caller, conversation)
    _save(caller, conversation, "message_count", "word_count", "last_turn", "summarise_at", "tier", "archived_at")
    if written:
        queue.note(conversation, before)
    return conversation, written


def change(caller: Caller, id: UUID, changes: Json) -> Conversation:
    """Set `label`, `folder`, `status`, `importance`; merge `metadata` (RFC 7396). None sets back to the default."""
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the answer shows the conversation
    return tiers.warmed(caller, lambda: _changed(caller, id, changes))


@transaction.atomic
def _changed(caller: Caller, id: UUID, changes: Json) -> Conversation:
    conversation = lock(caller, id)
    before, status = audit.state(conversation), conversation.status
    for name, value in changes.items():
        _CHANGES[name](conversation, value)
    columns: tuple[str, ...] = _CHANGED
    if Status.ARCHIVED in (status, conversation.status) and status != conversation.status:
        tiers.settle(caller, conversation)
        columns = (*columns, "tier", "archived_at")
    _save(caller, conversation, *columns)
    changed = Change(str(id), before, audit.state(conversation))
    audit.record(caller, "conversation.change", [changed], CONVERSATIONS)
    return conversation


def label_unlabelled(caller: Caller, id: UUID, label: str, by: str) -> bool:
    """Give a conversation a label that nobody has chosen, if it still has none; whether it had none.

    by: who has suggested it. It keeps its place among those that changed last, as nobody has changed it.
    """
    caller.require("write", [CONVERSATIONS])
    with transaction.atomic():
        conversation = lock(caller, id)
        if conversation.label:
            return False
        before = audit.state(conversation)
        _name(conversation, label)
        conversation.labelled_by = by[:255]
        conversation.save(update_fields=["label", "folded_label", "labelled_by"])
        list_cache.forget_on_commit(caller.tenant, id)
        labelled = Change(str(id), before, audit.state(conversation))
        audit.record(caller, "conversation.label", [labelled], CONVERSATIONS)
    return True


def pin(caller: Caller, id: UUID) -> Conversation:
    return change(caller, id, {"status": Status.PINNED, "importance": PINNED_IMPORTANCE})


def archive(caller: Caller, id: UUID) -> Conversation:
    return change(caller, id, {"status": Status.ARCHIVED})


def delete(caller: Caller, id: UUID, *, purge: bool = False) -> None:
    """Delete a conversation with its messages, summaries and facts; searches no longer find them. Raises NotFound.

    So go entities that only its facts mention.

    purge: for good and at once, with their links and what was deleted before; otherwise that happens to them after the
    retention time.
    """
    caller.require("delete", [CONVERSATIONS])
    with transaction.atomic():
        deleted = DeletedConversation.objects.for_tenant(caller.tenant).filter(conversation_id=id)
        if purge and (before := deleted.select_for_update().first()) is not None:
            _erase(caller, id, coordinates.from_key(before.key), purge=True)
            audit.record(caller, "conversation.purge", [str(id)], CONVERSATIONS)
            before.delete()
            return
        conversation = lock(caller, id)
        _erase(caller, id, conversation.root, purge=purge)
        queue.of(caller.tenant, id).delete()
        if not purge:
            DeletedConversation(tenant=caller.tenant, conversation_id=id, key=conversation.key).save(force_insert=True)
        gone = Change(str(id), audit.state(conversation))
        conversation.delete()
        audit.record(caller, "conversation.purge" if purge else "conversation.delete", [gone], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, id)


def _erase(caller: Caller, id: UUID, root: Coordinate, *, purge: bool) -> None:
    """What lies below a conversation's number, and the file that may hold it."""
    mentioned = entities.mentioned(caller.tenant, root)
    in_file = tiers.is_in_file(caller.tenant, id)
    for namespace in (CONVERSATIONS, SUMMARIES, FACTS):
        memories.delete_subtree(with_derived(caller), namespace, root, purge=purge, as_keeper=True)
        # An entity stays as long as a fact mentions it, and these facts can never come back. The links of other
        # messages go with their rows, when the retention time is over; those in a file have none.
        if purge or namespace == FACTS or (namespace == CONVERSATIONS and in_file):
            links.forget_subtree(caller, namespace, root)
    entities.forget(with_derived(caller), mentioned, purge=purge)
    tiers.forget(caller, id, at_once=purge)
    if purge:
        ImportedConversation.objects.for_tenant(caller.tenant).filter(conversation_id=id).delete()


def _next_number(caller: Caller) -> int:
    """A number that no conversation of this tenant has had; 1, 2, 3 … unless several are made at the same time."""
    stripes = NumberStripe.objects.for_tenant(caller.tenant)
    free = stripes.select_for_update(skip_locked=True).order_by("next")
    stripe: NumberStripe | None = free.first()
    if stripe is None:
        every = range(1, NumberStripe.STRIPES + 1)
        made = [NumberStripe(tenant=caller.tenant, stripe=first, next=first) for first in every]
        stripes.bulk_create(made, ignore_conflicts=True)
        # If there still is none, all of them are held: wait for one.
        stripe = free.first() or stripes.select_for_update().order_by("?").first()
        assert stripe is not None  # noqa: S101 - they are never taken away
    number = stripe.next
    stripe.next += NumberStripe.STRIPES
    stripe.save(update_fields=["next"])
    return number


def _write(caller: Caller, conversation: Conversation, messages: Sequence[NewMessage]) -> list[Memory]:
    """Store messages at the next turns. The words of the message before each of them find it, too."""
    first = conversation.last_turn + 1
    if conversation.last_turn + len(messages) > MAX_TURN:
        raise Conflict(f"a conversation has at most {MAX_TURN} messages; begin a new conversation")
    if not messages:
        return []
    contexts = [_last_text(caller, conversation), *(message.indexed_text for message in messages)]
    items = [
        message.memory(conversation.number, turn, context)
        for turn, (message, context) in enumerate(zip(messages, contexts, strict=False), start=first)
    ]
    stored = memories.store_many(caller, items, as_keeper=True)
    # Summaries are due when the first day is over; for a day in the past, that is now.
    over = periods.midnight(min(each.memory.created_at for each in stored).date() + timedelta(days=1))
    conversation.summarise_at = min(over, conversation.summarise_at or over)
    conversation.last_turn += len(items)
    conversation.message_count += len(items)
    conversation.word_count += sum(len(message.content.split()) for message in messages)
    return [each.memory for each in stored]


def _last_text(caller: Caller, conversation: Conversation) -> str:
    """Return what searches see of the last message. Appending reads it without the scope `read`."""
    if not conversation.last_turn:
        return ""
    rows = Memory.objects.for_tenant(caller.tenant).filter(
        namespace=CONVERSATIONS,
        coordinate_key=message_key(conversation.number, conversation.last_turn),
        deleted_at=None,
    )
    return next((message.indexed_text for message in read_messages(rows[:1])), "")


def _save(caller: Caller, conversation: Conversation, *fields: str) -> None:
    conversation.updated_at = timezone.now()
    conversation.save(update_fields=[*fields, "updated_at"])
    list_cache.forget_on_commit(caller.tenant, conversation.id)


def _name(conversation: Conversation, label: str | None) -> None:
    conversation.label = label or ""
    conversation.folded_label = filters.fold(conversation.label)


def _file(conversation: Conversation, folder: str | None) -> None:
    conversation.folder = folders.normal(folder or "")
    conversation.place = folders.place(conversation.folder)


def _set_status(conversation: Conversation, status: str | None) -> None:
    conversation.status = status or Status.ACTIVE


def _weigh(conversation: Conversation, importance: float | None) -> None:
    conversation.importance = DEFAULT_IMPORTANCE if importance is None else importance


def _describe(conversation: Conversation, metadata: Any) -> None:
    conversation.metadata = {} if metadata is None else payloads.merge_patch(conversation.metadata, metadata)
    _check_metadata(conversation)


def _check_metadata(conversation: Conversation) -> None:
    size = len(orjson.dumps(conversation.metadata))
    if size > MAX_METADATA_BYTES:
        raise PayloadTooLarge(f"metadata would have {size} bytes; a conversation keeps at most {MAX_METADATA_BYTES}")


def _rename(conversation: Conversation, label: str | None) -> None:
    _name(conversation, label)
    conversation.labelled_by = None


_CHANGED = ("label", "folded_label", "labelled_by", "folder", "place", "status", "importance", "metadata")
_CHANGES: Mapping[str, Callable[[Conversation, Any], None]] = {
    "label": _rename,
    "folder": _file,
    "status": _set_status,
    "importance": _weigh,
    "metadata": _describe,
}

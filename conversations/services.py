"""Create, change and delete conversations. A conversation and its messages change in one transaction.

Appending locks the conversation's row, so turns are 1, 2, 3 … without gaps, even under concurrency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from conversations import folders, list_cache, lookup, restoring
from conversations.enrichment import entities, periods, proposals, queue
from conversations.lifecycle import tiers
from conversations.lookup import lock, with_derived
from conversations.messages import MAX_TURN, NewMessage, message_key, read_messages
from conversations.models import (
    DEFAULT_IMPORTANCE,
    MAX_METADATA_BYTES,
    PINNED_IMPORTANCE,
    Conversation,
    DeletedConversation,
    NumberStripe,
)
from graph import retention as links
from memories import coordinates, filters, history, payloads
from memories import services as memories
from memories.coordinates import Coordinate
from memories.models import IDS, Memory, MemoryVersion
from memories.payloads import Json
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from somamemory.db.collisions import retrying
from somamemory.errors import Conflict, PayloadTooLarge
from tenants import audit, usage
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
    created_at: datetime | None = None  # None: now
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    external_id: str | None = None


def create_once(caller: Caller, new: NewConversation) -> tuple[Conversation, bool]:
    """Create a conversation unless its `external_id` is in use. Return the conversation, and whether it is new.

    Concurrent calls create only one conversation. Raises Conflict if the id belongs to a conversation that the caller
    cannot see.
    """
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the response contains the conversation
    external_id = new.external_id or ""

    def attempt() -> tuple[Conversation, bool]:
        existing = lookup.by_external_id(caller, external_id)
        return (existing, False) if existing else (create(caller, new), True)

    try:
        return retrying(attempt)
    except Conflict:
        raise Conflict(f"external id {external_id!r} is already in use; choose another one") from None


def create(caller: Caller, new: NewConversation) -> Conversation:
    """Create a conversation with all of its messages, in one transaction."""
    caller.require("write", [CONVERSATIONS])
    caller.require_user(new.user_id or caller.user_id)
    with transaction.atomic():
        conversation = _unsaved(caller, new)
        _write(caller, conversation, new.messages)
        if conversation.status == Status.ARCHIVED:
            tiers.settle(caller, conversation)
        _count(caller, conversation)
        conversation.save(force_insert=True)
        if new.messages:
            queue.messages_added(conversation, 0)
        created = Change(str(conversation.id), None, audit.state(conversation))
        audit.record(caller, "conversation.create", [created], CONVERSATIONS)
        list_cache.forget_on_commit(caller.tenant, conversation.id)
    return conversation


def _unsaved(caller: Caller, new: NewConversation) -> Conversation:
    number = _next_number(caller)
    conversation = Conversation(
        tenant=caller.tenant,
        number=number,
        key=coordinates.encode([float(number)]),
        importance=new.importance,
        metadata=new.metadata,
        status=new.status,
        user_id=new.user_id or caller.user_id,
        agent_id=new.agent_id,
        session_id=new.session_id,
        external_id=new.external_id,
    )
    conversation.created_at = new.created_at or conversation.created_at
    _name(conversation, new.label)
    _file(conversation, new.folder)
    _check_metadata(conversation)
    return conversation


def append(caller: Caller, id: UUID, messages: Sequence[NewMessage]) -> tuple[Conversation, list[Memory]]:
    """Append all of the messages, or none. Return the changed conversation and the stored messages."""
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the response contains the number of messages
    return tiers.warmed(caller, lambda: retrying(lambda: _appended(caller, id, messages)))


def append_by_external_id(
    caller: Caller, external_id: str, messages: Sequence[NewMessage]
) -> tuple[Conversation, list[Memory]]:
    """Append to the conversation with the given external id, like `append`. Raises NotFound."""
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])
    return append(caller, lookup.find_by_external_id(caller, external_id).id, messages)


def _appended(caller: Caller, id: UUID, messages: Sequence[NewMessage]) -> tuple[Conversation, list[Memory]]:
    conversation = lock(caller, id)
    tiers.refuse_cold(conversation)
    before = conversation.last_turn
    written = _write(caller, conversation, messages)
    if conversation.status == Status.ARCHIVED:
        tiers.settle(caller, conversation)
    _save(caller, conversation, "message_count", "word_count", "last_turn", "summarise_at", "tier", "archived_at")
    if written:
        queue.messages_added(conversation, before)
    return conversation, written


def change(caller: Caller, id: UUID, changes: Json) -> Conversation:
    """Set `label`, `folder`, `status`, `importance` and the ids; merge `metadata` (RFC 7396).

    A value of None restores a field's default. The conversation's messages, summaries and facts get the same ids.
    """
    caller.require("write", [CONVERSATIONS])
    caller.require("read", [CONVERSATIONS])  # the response contains the conversation
    if "user_id" in changes:
        caller.require_user(changes["user_id"])
    return tiers.warmed(caller, lambda: retrying(lambda: _changed(caller, id, changes)))


def _changed(caller: Caller, id: UUID, changes: Json) -> Conversation:
    conversation = lock(caller, id)
    before, status = audit.state(conversation), conversation.status
    for name, value in changes.items():
        _CHANGES[name](conversation, value)
    columns: tuple[str, ...] = _CHANGED
    _count(caller, conversation)
    if Status.ARCHIVED in (status, conversation.status) and status != conversation.status:
        tiers.settle(caller, conversation)
        columns = (*columns, "tier", "archived_at")
    if changes.keys() & set(IDS):
        _hand_down_ids(caller, conversation)
        columns = (*columns, *IDS)
    _save(caller, conversation, *columns)
    changed = Change(str(id), before, audit.state(conversation))
    audit.record(caller, "conversation.change", [changed], CONVERSATIONS)
    return conversation


def _hand_down_ids(caller: Caller, conversation: Conversation) -> None:
    """Copy a conversation's ids to its messages, summaries and facts, and its user to their links."""
    tiers.refuse_cold(conversation)  # a cold conversation's messages are in a file
    low, high = conversation.root.subtree
    for namespace in (CONVERSATIONS, SUMMARIES, FACTS):
        for model in (Memory, MemoryVersion):
            rows = model.objects.for_tenant(caller.tenant).filter(namespace=namespace)
            rows.filter(coordinate_key__gte=low, coordinate_key__lt=high).update(**conversation.ids)
        links.set_user(caller, namespace, conversation.root, conversation.user_id)
    proposals.set_user(caller, conversation)


def label_unlabelled(caller: Caller, id: UUID, label: str, by: str) -> bool:
    """Label a conversation automatically if it still has no label. Return whether the label was set.

    by: the language model that suggested the label, or `key-phrases`. The conversation does not count as changed, so it
    keeps its position in lists.
    """
    caller.require("write", [CONVERSATIONS])
    with transaction.atomic():
        conversation = lock(caller, id)
        if conversation.label:
            return False
        before = audit.state(conversation)
        _name(conversation, label)
        conversation.labelled_by = by[:255]
        _count(caller, conversation)
        conversation.save(update_fields=["label", "folded_label", "labelled_by", "bytes"])
        list_cache.forget_on_commit(caller.tenant, id)
        labelled = Change(str(id), before, audit.state(conversation))
        audit.record(caller, "conversation.label", [labelled], CONVERSATIONS)
    return True


def pin(caller: Caller, id: UUID) -> Conversation:
    return change(caller, id, {"status": Status.PINNED, "importance": PINNED_IMPORTANCE})


def archive(caller: Caller, id: UUID) -> Conversation:
    return change(caller, id, {"status": Status.ARCHIVED})


def delete(caller: Caller, id: UUID, *, purge: bool = False) -> None:
    """Delete a conversation, its messages, summaries and facts, and entities that no other facts mention.

    purge: remove the rows and their links now, even if the conversation was deleted earlier. Otherwise, they are only
    hidden from searches and reads, can be restored (see `restoring`), and are removed after the retention period.
    Raises NotFound.
    """
    caller.require("delete", [CONVERSATIONS])
    retrying(lambda: _delete(caller, id, purge))


def _delete(caller: Caller, id: UUID, purge: bool) -> None:
    if purge and _purge_deleted(caller, id):
        return
    conversation = lock(caller, id)
    now = timezone.now()
    _erase(caller, id, conversation.root, purge=purge)
    chores = queue.of(caller.tenant, id)
    if purge:
        usage.add(caller.tenant, 0, -conversation.bytes)
    else:
        restoring.record(conversation, list(chores), now)
    chores.delete()
    gone = Change(str(id), audit.state(conversation))
    conversation.delete()
    audit.record(caller, "conversation.purge" if purge else "conversation.delete", [gone], CONVERSATIONS)
    list_cache.forget_on_commit(caller.tenant, id)


def _purge_deleted(caller: Caller, id: UUID) -> bool:
    """Purge a soft-deleted conversation. Return whether there was one."""
    deleted = DeletedConversation.objects.for_tenant(caller.tenant).filter(conversation_id=id)
    if (row := deleted.select_for_update().first()) is None:
        return False
    _erase(caller, id, coordinates.from_key(row.key), purge=True)
    audit.record(caller, "conversation.purge", [str(id)], CONVERSATIONS)
    restoring.forget(caller, row)
    return True


def _erase(caller: Caller, id: UUID, root: Coordinate, *, purge: bool) -> None:
    """Delete all memories under a conversation's number, and its cold file.

    Needs access to all users' data, because the entities that the facts mention belong to no user.
    """
    caller = caller.unlimited()
    mentioned = entities.mentioned(caller.tenant, root)
    for namespace in (CONVERSATIONS, SUMMARIES, FACTS):
        memories.delete_subtree(with_derived(caller).writing_reserved(), namespace, root, purge=purge)
        # Remove the links of facts immediately: an entity exists only while a fact mentions it. A restore recreates
        # them. The other links are removed together with the rows after the retention period.
        if purge or namespace == FACTS:
            links.forget_subtree(caller, namespace, root)
    entities.forget(with_derived(caller), mentioned, purge=purge)
    tiers.forget(caller, id, at_once=purge)
    if purge:
        history.forget_subtree(caller, CONVERSATIONS, root)  # which also covers messages in cold storage
        restoring.forget_imports(caller, id)


def _next_number(caller: Caller) -> int:
    """Return an unused number: 1, 2, 3 … Numbers may be skipped when conversations are created concurrently."""
    stripes = NumberStripe.objects.for_tenant(caller.tenant)
    free = stripes.select_for_update(skip_locked=True).order_by("next")
    stripe: NumberStripe | None = free.first()
    if stripe is None:
        every = range(1, NumberStripe.STRIPES + 1)
        new = [NumberStripe(tenant=caller.tenant, stripe=first, next=first) for first in every]
        stripes.bulk_create(new, ignore_conflicts=True)
        # If no stripe is free even now, other transactions have locked all of them, so wait for one.
        stripe = free.first() or stripes.select_for_update().order_by("?").first()
        assert stripe is not None  # noqa: S101 - stripes are never deleted
    number = stripe.next
    stripe.next += NumberStripe.STRIPES
    stripe.save(update_fields=["next"])
    return number


def _write(caller: Caller, conversation: Conversation, messages: Sequence[NewMessage]) -> list[Memory]:
    """Store messages as the next turns. Each message is also indexed under the words of the previous message."""
    first = conversation.last_turn + 1
    if conversation.last_turn + len(messages) > MAX_TURN:
        raise Conflict(f"a conversation can have at most {MAX_TURN} messages; start a new conversation")
    if not messages:
        return []
    contexts = [_last_text(caller, conversation), *(message.indexed_text for message in messages)]
    items = [
        replace(message.memory(conversation.number, turn, context), **conversation.ids)
        for turn, (message, context) in enumerate(zip(messages, contexts, strict=False), start=first)
    ]
    stored = memories.store_many(caller.writing_reserved(), items)
    # Summaries are due at the end of the first day with new messages. If that day is in the past, they are due now.
    over = periods.midnight(min(row.memory.created_at for row in stored).date() + timedelta(days=1))
    conversation.summarise_at = min(over, conversation.summarise_at or over)
    conversation.last_turn += len(items)
    conversation.message_count += len(items)
    conversation.word_count += sum(len(message.content.split()) for message in messages)
    return [row.memory for row in stored]


def _last_text(caller: Caller, conversation: Conversation) -> str:
    """Return the searchable text of the last message, without requiring the `read` scope."""
    if not conversation.last_turn:
        return ""
    rows = Memory.objects.for_tenant(caller.tenant).filter(
        namespace=CONVERSATIONS,
        coordinate_key=message_key(conversation.number, conversation.last_turn),
        deleted_at=None,
    )
    return next((message.indexed_text for message in read_messages(rows[:1])), "")


def _count(caller: Caller, conversation: Conversation) -> None:
    """Add the change in a conversation's size to the tenant's usage. Raises QuotaExceeded if that exceeds a quota."""
    before, conversation.bytes = conversation.bytes, conversation.size()
    usage.add(caller.tenant, 0, conversation.bytes - before)


def _save(caller: Caller, conversation: Conversation, *fields: str) -> None:
    conversation.updated_at = timezone.now()
    conversation.save(update_fields=[*fields, "updated_at"])
    list_cache.forget_on_commit(caller.tenant, conversation.id)


def _name(conversation: Conversation, label: str | None) -> None:
    conversation.label = label or ""
    conversation.folded_label = filters.fold(conversation.label)


def _file(conversation: Conversation, folder: str | None) -> None:
    conversation.folder = folders.normalized(folder or "")
    conversation.place = folders.place(conversation.folder)


def _set_status(conversation: Conversation, status: str | None) -> None:
    conversation.status = status or Status.ACTIVE


def _set_importance(conversation: Conversation, importance: float | None) -> None:
    conversation.importance = DEFAULT_IMPORTANCE if importance is None else importance


def _merge_metadata(conversation: Conversation, metadata: Any) -> None:
    conversation.metadata = {} if metadata is None else payloads.merge_patch(conversation.metadata, metadata)
    _check_metadata(conversation)


def _check_metadata(conversation: Conversation) -> None:
    size = len(orjson.dumps(conversation.metadata))
    if size > MAX_METADATA_BYTES:
        raise PayloadTooLarge(
            f"metadata would be {size} bytes long; the maximum for a conversation is {MAX_METADATA_BYTES}"
        )


def _set_label(conversation: Conversation, label: str | None) -> None:
    _name(conversation, label)
    conversation.labelled_by = None


def _set_id(name: str, conversation: Conversation, value: str | None) -> None:
    setattr(conversation, name, value)


_CHANGED = ("label", "folded_label", "labelled_by", "folder", "place", "status", "importance", "metadata", "bytes")
_CHANGES: Mapping[str, Callable[[Conversation, Any], None]] = {
    "label": _set_label,
    "folder": _file,
    "status": _set_status,
    "importance": _set_importance,
    "metadata": _merge_metadata,
    **{name: partial(_set_id, name) for name in IDS},
}

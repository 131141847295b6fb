"""Look up conversations by id, external id or message, and extend a caller's access to derived memories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from conversations.messages import conversation_key
from conversations.models import Conversation
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from somamemory.db.prepared import rows_of
from somamemory.errors import NotFound
from tenants.caller import Caller
from tenants.models import Tenant


def not_found(id: UUID, consequence: str = "") -> NotFound:
    """Return the error for an unknown conversation id. `consequence` says what happened to the rest of the request."""
    return NotFound(f"conversation {id} does not exist" + (f"; {consequence}" if consequence else ""))


def find(caller: Caller, id: UUID) -> Conversation:
    """Return a conversation from the database. Raises NotFound."""
    conversation = find_or_none(caller, id)
    if conversation is None:
        raise not_found(id)
    return conversation


def find_or_none(caller: Caller, id: UUID) -> Conversation | None:
    conversation: Conversation | None = Conversation.objects.for_tenant(caller.tenant).filter(id=id).first()
    return conversation


def by_external_id(caller: Caller, external_id: str) -> Conversation | None:
    rows = Conversation.objects.for_tenant(caller.tenant).filter(external_id=external_id)
    conversation: Conversation | None = rows.first()
    return conversation


def find_by_external_id(caller: Caller, external_id: str) -> Conversation:
    """Return the conversation with the given external id. Raises NotFound."""
    conversation = by_external_id(caller, external_id)
    if conversation is None:
        raise NotFound(
            f"there is no conversation with external id {external_id!r}; to create it, send a PUT request to this path"
        )
    return conversation


def lock(caller: Caller, id: UUID) -> Conversation:
    """Return a conversation, locked until the transaction ends. Raises NotFound."""
    rows = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    conversation: Conversation | None = rows.filter(id=id).first()
    if conversation is None:
        raise not_found(id)
    return conversation


def by_key(tenant: Tenant, rows: Iterable[Memory]) -> Mapping[str, Conversation]:
    """Return the conversations to which these messages and summaries belong, by conversation key.

    Uses at most one query.
    """
    keys = {conversation_key(row.coordinate_key) for row in rows}
    if not keys:
        return {}
    conversations = Conversation.objects.for_tenant(tenant).filter(key__among=keys)
    return {conversation.key: conversation for conversation in rows_of(conversations)}


def with_derived(caller: Caller) -> Caller:
    """Return the caller, with access to summaries and facts as well if its key can access conversations."""
    if CONVERSATIONS not in caller.namespaces:
        return caller
    return replace(caller, namespaces=caller.namespaces | {SUMMARIES, FACTS})

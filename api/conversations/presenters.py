"""Present conversations and messages as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from api.json import JsonObject
from conversations.messages import Message
from conversations.models import Conversation
from conversations.restoring import Deleted
from memories.models import Memory
from somamemory.times import rfc3339

# Sekha's clients require a message id in every listed conversation, and accept this one.
_NO_MESSAGE = "00000000-0000-0000-0000-000000000000"
# The role of summaries, facts and memories. Their text may come from a user, so it must not have the authority of a
# system message.
RECALLED = "user"


def conversation(conversation: Conversation) -> JsonObject:
    """Return a conversation. A missing label or folder becomes "", because Sekha's clients require a string."""
    return {
        "id": str(conversation.id),
        "conversation_id": str(conversation.id),
        "external_id": conversation.external_id,
        "number": conversation.number,
        "label": conversation.label,
        "labelled_by": conversation.labelled_by,
        "folder": conversation.folder,
        "status": conversation.status,
        "tier": conversation.tier,
        "importance_score": conversation.importance,
        "message_count": conversation.message_count,
        "word_count": conversation.word_count,
        "metadata": conversation.metadata,
        **conversation.ids,
        "created_at": rfc3339(conversation.created_at),
        "updated_at": rfc3339(conversation.updated_at),
    }


def changed_conversation(row: Conversation) -> JsonObject:
    return {"success": True, **conversation(row)}


def deleted_conversation(deleted: Deleted) -> JsonObject:
    return {
        "id": str(deleted.id),
        "deleted_at": rfc3339(deleted.deleted_at),
        "restorable_until": rfc3339(deleted.restorable_until),
        "conversation": None if deleted.conversation is None else conversation(deleted.conversation),
    }


def listed_conversation(row: Conversation) -> JsonObject:
    """Return a conversation with the fields of a search result. Sekha's clients expect these fields in lists."""
    return {
        **conversation(row),
        "message_id": _NO_MESSAGE,
        "score": 1.0,
        "content": row.label,
        "timestamp": rfc3339(row.updated_at),
    }


def message(message: Memory, conversation: Conversation) -> JsonObject:
    content = Message.of(message)
    return {
        "id": str(message.id),
        "conversation_id": str(conversation.id),
        "role": content.role or RECALLED,
        "content": content.text,
        **content.more,
        "coord": message.coordinate.text,
        "turn": content.turn,
        "timestamp": rfc3339(message.created_at),
        "metadata": message.metadata,
        "importance": message.importance,
    }


def appended(conversation: Conversation, added: Sequence[Memory]) -> JsonObject:
    """Return the messages that a request added."""
    items = [message(row, conversation) for row in added]
    return {"items": items, "total": conversation.message_count, "next_cursor": None}

"""Message search results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conversations.lookup import by_key
from conversations.messages import conversation_key
from conversations.models import Conversation
from memories.models import Memory
from tenants.models import Tenant

COLD = "cold"


@dataclass(frozen=True)
class Hit:
    """A message that was found.

    `similarity` is None if the message is not indexed yet or the index was not searched.
    """

    message: Memory
    conversation: Conversation
    score: float
    similarity: float | None = None
    relevance: float = 0.0


@dataclass(frozen=True)
class MessageResults:
    """Results of a search.

    `total` is the number of messages that a semantic search ranked, or that match a full-text query.

    `degraded` lists the search legs that are down or incomplete. It contains `cold` if archived messages were requested
    and some of them are in files, which are not searched.
    """

    hits: Sequence[Hit]
    total: int
    degraded: Sequence[str]
    next_offset: int | None = None  # set if the messages were too large for one response


def with_conversations(tenant: Tenant, scored: Iterable[tuple[Memory, float]]) -> list[Hit]:
    """Return a hit for each (message, score). Drop messages whose conversations have just been deleted."""
    rows = list(scored)
    conversations = by_key(tenant, [message for message, _ in rows])
    return [
        Hit(message, conversations[key], score)
        for message, score in rows
        if (key := conversation_key(message.coordinate_key)) in conversations
    ]


def has_cold_conversations(tenant: Tenant) -> bool:
    return Conversation.objects.for_tenant(tenant).filter(tier=Conversation.Tier.COLD).exists()

"""What searches over messages return."""

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
    """`similarity`: None where the index does not have the message yet, or was not asked."""

    message: Memory
    conversation: Conversation
    score: float
    similarity: float | None = None


@dataclass(frozen=True)
class MessageResults:
    """`total`: how many messages were ranked, or contain the words.

    `degraded`: the legs that are down or did not see everything; `cold` where archived messages were requested and some
    are in files, which no search reads.
    """

    hits: Sequence[Hit]
    total: int
    degraded: Sequence[str]


def with_conversations(tenant: Tenant, scored: Iterable[tuple[Memory, float, float | None]]) -> list[Hit]:
    """Return a hit for each (message, score, similarity). A conversation that was just deleted takes its messages."""
    rows = list(scored)
    conversations = by_key(tenant, [message for message, _, _ in rows])
    return [
        Hit(message, conversations[key], score, similarity)
        for message, score, similarity in rows
        if (key := conversation_key(message.coordinate_key)) in conversations
    ]


def has_cold_conversations(tenant: Tenant) -> bool:
    return Conversation.objects.for_tenant(tenant).filter(tier=Conversation.Tier.COLD).exists()

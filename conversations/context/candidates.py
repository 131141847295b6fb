"""Turn memories into candidates for the selection rules: count their tokens, load their vectors, and score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from conversations.context import rules, tokens
from conversations.context.rules import Candidate, Day, Parts, Weights
from conversations.context.types import ContextItem, ContextRequest
from conversations.lookup import by_key
from conversations.messages import Message, conversation_key
from conversations.models import Conversation
from memories import payloads
from memories.embeddings.base import Vectors
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from memories.search import scoring, vectors
from tenants.caller import Caller

# The namespaces whose coordinates begin with a conversation number.
OF_CONVERSATIONS = frozenset((CONVERSATIONS, SUMMARIES, FACTS))


class Proposal(NamedTuple):
    """A memory that may be worth including.

    score: the search score, or 0 if no search found the memory.
    relevance: see `memories.search.relevance`; None if no search found the memory.
    """

    memory: Memory
    source: str
    score: float = 0.0
    relevance: float | None = None


def configured_weights() -> Weights:
    return Weights(
        settings.CONTEXT_RELEVANCE, settings.CONTEXT_IMPORTANCE, settings.CONTEXT_RECENCY, settings.CONTEXT_LABEL
    )


@dataclass
class Pool:
    """The memories considered for one request, together with their conversations."""

    caller: Caller
    request: ContextRequest
    as_of: datetime
    weights: Weights = field(default_factory=configured_weights)
    half_life_s: float = field(default_factory=lambda: settings.CONTEXT_HALF_LIFE_DAYS * 86_400)
    memories: dict[UUID, Memory] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)

    def add(self, proposals: Sequence[Proposal]) -> list[Candidate]:
        """Add a candidate for each proposal that has text, unless its conversation has been deleted.

        Return the new candidates in the order of the proposals.
        """
        known = self._with_conversation([proposal for proposal in proposals if _text(proposal.memory).strip()])
        self.memories |= {proposal.memory.id: proposal.memory for proposal in known}
        found = vectors.stored(self.caller.tenant, [proposal.memory.id for proposal in known])
        texts = [_text(proposal.memory) for proposal in known]
        counts = tokens.count(texts)
        return [
            self._candidate(proposal, text, count, found.get(proposal.memory.id))
            for proposal, text, count in zip(known, texts, counts, strict=True)
        ]

    def item(self, candidate: Candidate) -> ContextItem:
        memory = self.memories[candidate.id]
        return ContextItem(memory, self._conversation_of(memory), candidate)

    def days(self, candidate: Candidate) -> frozenset[Day]:
        """Return the days that a message or summary covers, each together with the conversation's key."""
        memory = self.memories[candidate.id]
        if memory.namespace not in OF_CONVERSATIONS:
            return frozenset()
        key = conversation_key(memory.coordinate_key)
        if candidate.source != "summary":
            return frozenset([(key, memory.created_at.date().isoformat())])
        return frozenset((key, date) for date in memory.metadata.get("covers", {}).get("days", ()))

    def _with_conversation(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Load conversations that are not loaded yet. Discard memories whose conversations have just been deleted."""
        belonging = [proposal.memory for proposal in proposals if proposal.memory.namespace in OF_CONVERSATIONS]
        unknown = [row for row in belonging if conversation_key(row.coordinate_key) not in self.conversations]
        self.conversations |= by_key(self.caller.tenant, unknown)
        gone = {row.id for row in belonging if conversation_key(row.coordinate_key) not in self.conversations}
        return [proposal for proposal in proposals if proposal.memory.id not in gone]

    def _candidate(self, proposal: Proposal, text: str, token_count: int, vector: Vectors | None) -> Candidate:
        memory = proposal.memory
        parts = self._parts(memory, proposal.score)
        return Candidate(
            id=memory.id,
            address=memory.coordinate_key,
            content=text,
            tokens=token_count,
            said_at=memory.created_at,
            parts=parts,
            score=rules.score(parts, self.weights),
            version=memory.version,
            source=proposal.source,
            relevance=proposal.relevance,
            vector=vector,
        )

    def _parts(self, memory: Memory, score: float) -> Parts:
        conversation = self._conversation_of(memory)
        age_s = (self.as_of - memory.created_at).total_seconds()
        return Parts(
            relevance=score,
            # A message without its own importance inherits its conversation's importance.
            importance=scoring.importance(memory.importance or (conversation.importance if conversation else 0.0)),
            recency=scoring.recency(age_s, self.half_life_s),
            label=float(conversation is not None and conversation.label in self.request.preferred_labels),
        )

    def _conversation_of(self, memory: Memory) -> Conversation | None:
        if memory.namespace not in OF_CONVERSATIONS:
            return None
        return self.conversations[conversation_key(memory.coordinate_key)]


def _text(memory: Memory) -> str:
    return Message.of(memory).text if memory.namespace == CONVERSATIONS else payloads.text_of(memory.payload)

"""How important messages are: judged by what can be seen in them, and by a language model where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from conversations import llm
from conversations.enrichment import importance_heuristics
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.schemas import ImportanceAnswer
from conversations.models import Conversation
from conversations.query import ConversationQuery
from memories import selectors as memories
from memories import services as stores
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.errors import NotFound
from tenants.caller import Caller

HEURISTIC = "heuristic"
_MAX_CHARACTERS = 8_000  # of a message, as a model is shown it


@dataclass(frozen=True)
class Rated:
    """`score` from 1 to 10."""

    score: float
    reasoning: str
    model: str


def rate(caller: Caller, message_id: UUID) -> Rated:
    """Judge a message, and keep the score as its importance. Never inside a transaction.

    Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    row = memories.live(caller, [CONVERSATIONS]).filter(id=message_id).first()
    if row is None:
        raise NotFound(f"no message {message_id}")
    rated = _rated(caller, row)
    if row.importance != rated.score:
        stores.patch(caller, CONVERSATIONS, row.coordinate, {"importance": rated.score}, as_keeper=True)
    return rated


def rate_folder(caller: Caller, folder: str) -> Iterator[tuple[Conversation, int]]:
    """Judge every message of the conversations in a folder and below; each conversation, and how many it has.

    Those that are cold come back first. Raises ColdUnavailable, and what `rate` does.
    """
    caller.require("write", [CONVERSATIONS])
    conversations = Conversation.objects.for_tenant(caller.tenant).filter(ConversationQuery(folder=folder).condition())
    for conversation in conversations.order_by("number").iterator(chunk_size=100):
        if conversation.tier == Conversation.Tier.COLD:
            tiers.thaw(caller, conversation.id)
        low, high = conversation.root.subtree
        rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
        ids = list(rows.order_by("coordinate_key").values_list("id", flat=True))
        for id in ids:
            rate(caller, id)
        yield conversation, len(ids)


def _rated(caller: Caller, row: Memory) -> Rated:
    content = str(row.payload.get("content", ""))
    seen = importance_heuristics.judge(content, str(row.payload.get("role", "user")))
    reasons = ", ".join(seen.reasons) or "nothing that stands out"
    model = llm.current()
    if model is None:
        return Rated(seen.score, reasons, HEURISTIC)
    data = {"before": row.context[:_MAX_CHARACTERS], "message": content[:_MAX_CHARACTERS]}
    answer = questions.ask(caller, model, "importance", data, ImportanceAnswer).value
    score = importance_heuristics.combined(seen.score, answer.score)
    return Rated(score, answer.reasoning or reasons, model.name)

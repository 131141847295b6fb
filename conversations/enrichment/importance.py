"""Message importance, rated by heuristics and, if configured, by a language model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from conversations import llm
from conversations.enrichment import importance_heuristics
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.schemas import ImportanceAnswer
from conversations.messages import Message, in_conversation, turn_of
from conversations.models import Conversation
from conversations.query import ConversationQuery
from memories import selectors as memories
from memories import services as stores
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.errors import ColdFileDamaged, LlmAnswerInvalid, LlmRefused, NotFound, SomaError
from tenants.caller import Caller

HEURISTIC = "heuristic"
_MAX_CHARACTERS = 8_000  # maximum length of a message in a prompt


@dataclass(frozen=True)
class Rating:
    """A message's rating. `score` is between 1 and 10."""

    score: float
    reasoning: str
    model: str


@dataclass
class Rated:
    """The number of rated messages in a conversation, and the error for each turn that could not be rated.

    damaged: the error if no message could be rated because the conversation's cold file is damaged.
    """

    conversation: Conversation
    count: int = 0
    failed: dict[int, SomaError] = field(default_factory=dict)
    damaged: ColdFileDamaged | None = None


def rate(caller: Caller, message_id: UUID) -> Rating:
    """Rate a message and store the score as its importance.

    Must not be called inside a transaction. Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    row = memories.live(caller, [CONVERSATIONS]).filter(id=message_id).first()
    if row is None:
        raise NotFound(f"message {message_id} does not exist")
    rating = _rating(caller, row)
    if row.importance != rating.score:
        stores.patch(caller.writing_reserved(), CONVERSATIONS, row.coordinate, {"importance": rating.score})
    return rating


def rate_folder(caller: Caller, folder: str) -> Iterator[Rated]:
    """Rate all messages in a folder and its subfolders.

    Restores cold conversations first. Raises ColdUnavailable, and the same errors as `rate`, except for those that
    affect only one message or conversation.
    """
    caller.require("write", [CONVERSATIONS])
    conversations = Conversation.objects.for_tenant(caller.tenant).filter(ConversationQuery(folder=folder).condition())
    for conversation in conversations.order_by("number").iterator(chunk_size=100):
        try:
            if conversation.tier == Conversation.Tier.COLD:
                tiers.thaw(caller, conversation.id)
        except ColdFileDamaged as error:
            yield Rated(conversation, damaged=error)
        else:
            yield _rate_all(caller, conversation)


def _rate_all(caller: Caller, conversation: Conversation) -> Rated:
    rated = Rated(conversation)
    for id, key in list(in_conversation(caller, conversation).values_list("id", "coordinate_key")):
        try:
            rate(caller, id)
        except NotFound:  # deleted in the meantime
            continue
        except (LlmRefused, LlmAnswerInvalid) as error:
            rated.failed[turn_of(key)] = error
        else:
            rated.count += 1
    return rated


def _rating(caller: Caller, row: Memory) -> Rating:
    message = Message.of(row)
    heuristic = importance_heuristics.judge(message.text, message.role)
    reasons = ", ".join(heuristic.reasons) or "no notable content"
    model = llm.current()
    if model is None:
        return Rating(heuristic.score, reasons, HEURISTIC)
    data = {"before": row.context[:_MAX_CHARACTERS], "message": message.text[:_MAX_CHARACTERS]}
    answer = questions.ask(caller, model, "importance", data, ImportanceAnswer).value
    score = importance_heuristics.combined(heuristic.score, answer.score)
    return Rating(score, answer.reasoning or reasons, model.name)

"""Facts: statements that a language model extracts from conversations, and the entities they mention.

A fact is a memory at `[conversation number, turn, index]` in the `facts` namespace; `turn` is the turn of the message
that states it. The fact links to that message (`stated_in`) and to its entities (`mentions`, see `entities`). A fact
about an attribute that can change, such as a person's home, supersedes older facts about it (see `fact_changes`).

Each conversation is processed once, from beginning to end, one window of messages at a time. The facts from a window
and the new position are stored in one transaction, unless another worker has advanced the position. A job can therefore
be killed, restarted or run twice at the same time without storing a fact twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from conversations import llm
from conversations.enrichment import entities, fact_changes, fact_links, queue
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.base import ChatModel, estimated_tokens, truncated
from conversations.llm.schemas import FactAnswer, FactsAnswer
from conversations.lookup import find, lock, with_derived
from conversations.messages import Message, at_turns, read_messages
from conversations.models import Chore, Conversation
from graph import retention as links
from graph import services as graph
from memories import coordinates, lookup
from memories import selectors as memories
from memories import services as stores
from memories.addresses import Address
from memories.coordinates import Coordinate
from memories.index import backpressure
from memories.models import Memory, has_passed
from memories.new_memory import NewMemory
from memories.payloads import Json
from memories.reserved_namespaces import CONVERSATIONS, FACTS
from memories.selectors import Narrowing, Page
from somamemory import times
from somamemory.db.collisions import retrying
from somamemory.errors import LlmAnswerInvalid, LlmRefused
from tenants.caller import Caller

log = logging.getLogger("soma.chores")

# A member of a conversation's metadata, `{"metadata": {...}, "source": {...}, "expires_at": "…"}`, that is copied to
# the conversation's facts: see `Inherited`.
INHERITED = "for_facts"
MAX_MESSAGES = 20  # maximum number of messages in one prompt
MAX_FACTS = 20  # maximum number of facts in one answer
MAX_PROMPT_TOKENS = 6_000  # maximum number of tokens for the messages in one prompt
MAX_MESSAGE_TOKENS = 4_000  # longer messages are truncated
_CONTEXT_MESSAGES = 3
_CONTEXT_TOKENS = 200  # maximum number of tokens in each context message
_MESSAGE_OVERHEAD_TOKENS = 20
_MAX_ANSWER_TOKENS = 4_000
_MAX_REFUSED = 10  # maximum number of consecutive messages to skip; if more fail, the model itself is not working
Kind = Chore.Kind


@dataclass(frozen=True)
class Progress:
    """Progress of a conversation's fact extraction. `chore` is None if facts were never requested."""

    conversation: Conversation
    chore: Chore | None
    state: str


@dataclass(frozen=True)
class Inherited:
    """What facts inherit from their conversation. Clients can set any value, so malformed values are ignored."""

    metadata: Json
    source: Json | None
    expires_at: datetime | None

    @classmethod
    def of(cls, conversation: Conversation) -> Inherited:
        found = conversation.metadata.get(INHERITED)
        given = found if isinstance(found, dict) else {}
        metadata, source = given.get("metadata"), given.get("source")
        return cls(
            metadata if isinstance(metadata, dict) else {},
            source if isinstance(source, dict) else None,
            times.parse_or_none(given.get("expires_at")),
        )

    @property
    def has_expired(self) -> bool:
        return has_passed(self.expires_at, timezone.now())


@dataclass(frozen=True)
class _Excerpt:
    """A message, possibly truncated."""

    turn: int
    role: str
    text: str
    said_at: datetime
    is_cut: bool

    @classmethod
    def of(cls, message: Message, max_tokens: int) -> _Excerpt:
        text = truncated(message.text, max_tokens)
        return cls(message.turn, message.role, text, message.said_at, text != message.text)

    def json(self) -> dict[str, Any]:
        return {"turn": self.turn, "from": self.role, "at": self.said_at, "text": self.text}


@dataclass(frozen=True)
class _Window:
    """The next messages to read: the turns after `begin`, up to `end`. `context` holds the messages before them.

    refused: the number of messages just before `begin` that the model has refused but that have not been skipped yet.
    """

    refused: int
    begin: int
    end: int
    messages: Sequence[_Excerpt]
    context: Sequence[_Excerpt]


def address(conversation: Conversation, turn: int, index: int) -> Coordinate:
    """Return a fact's coordinate. `index` counts a turn's facts, starting at 1."""
    return coordinates.of([conversation.number, turn, index])


def are_facts() -> Q:
    """Return a condition for facts. Other memories in the namespace are entities: their coordinates begin with 0."""
    return Q(namespace=FACTS, coordinate_key__gte=coordinates.encode([1.0]))


def correct(caller: Caller, id: UUID, changes: Json) -> Memory:
    """Apply a person's correction to a fact. For `changes`, see `memories.services.patch`. Raises NotFound."""
    return lookup.patch(caller.writing_reserved(), FACTS, id, changes)


def withdraw(caller: Caller, ids: Sequence[UUID]) -> set[Address]:
    """Soft-delete facts, and entities that no other facts mention. Return the ids of the facts that existed."""
    return retrying(lambda: _withdrawn(caller, ids))


def _withdrawn(caller: Caller, ids: Sequence[UUID]) -> set[Address]:
    """Run the transaction of `withdraw`. It needs access to all users' data, because entities belong to no user."""
    withdrawn = lookup.delete_many(caller.writing_reserved(), FACTS, ids)
    everyone = caller.unlimited()
    rows = Memory.objects.for_tenant(caller.tenant).filter(are_facts(), id__among=list(withdrawn))
    gone = list(rows.defer("terms"))
    links.forget(everyone, gone)
    names = {name for fact in gone for name in fact.payload.get("entities") or ()}
    entities.forget(everyone, sorted({entities.address(name).key for name in names}), purge=False)
    return withdrawn


def request(caller: Caller, id: UUID) -> Progress:
    """Queue fact extraction for the messages added since the last extraction.

    Raises NotFound, LlmMissing.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    with transaction.atomic():
        conversation = lock(caller, id)
        llm.needed()
        chore = queue.request(conversation, Kind.FACTS)
    return Progress(conversation, chore, chore.state(timezone.now()))


def progress(caller: Caller, id: UUID) -> Progress:
    """Return the progress of a conversation's fact extraction. Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    conversation = find(caller, id)
    chore = queue.of(caller.tenant, id).filter(kind=Kind.FACTS).first()
    return Progress(conversation, chore, "none" if chore is None else chore.state(timezone.now()))


def of_conversation(caller: Caller, conversation: Conversation, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Return a page of a conversation's facts, ordered by the turns that state them."""
    narrowing = Narrowing(prefix=conversation.root)
    return memories.list_memories(with_derived(caller), FACTS, narrowing, limit=limit, cursor=cursor)


def step(caller: Caller, chore: Chore) -> int:
    """Extract facts from the next messages with one prompt to the model. Return the number of facts stored.

    Must not be called inside a transaction. Afterwards, the task is either due again immediately or finished. Raises
    NotFound, LlmMissing, LlmUnavailable, LlmBudgetExceeded, IndexBacklog, ColdUnavailable, and ConversationIsCold if
    the conversation is moved to cold storage during the call.
    """
    caller = with_derived(caller)
    caller.require("write", [CONVERSATIONS, FACTS])
    backpressure.check(caller.tenant)  # checked first, to avoid paying for an answer that cannot be stored
    model = llm.needed()
    conversation = find(caller, chore.conversation_id)
    if conversation.tier == Conversation.Tier.COLD:
        tiers.thaw(caller, conversation.id)
    window = _next_window(caller, conversation, chore)
    is_needed = window.messages and not Inherited.of(conversation).has_expired
    try:
        facts = _ask(caller, model, conversation, window) if is_needed else []
    except (LlmRefused, LlmAnswerInvalid) as error:
        if not _may_skip(chore, find(caller, conversation.id), window):  # messages may have been appended since
            raise
        chore.attempts += 1
        queue.give_back(chore, timezone.now(), error.code)
        return 0
    return retrying(lambda: _store(caller, chore, window, facts, model.name))


def _failures(chore: Chore) -> int:
    """Return the number of consecutive model failures."""
    return chore.attempts if chore.error in (LlmRefused.code, LlmAnswerInvalid.code) else 0


def _messages_at_once(chore: Chore) -> int:
    """Return the maximum number of messages in the next prompt: half as many after each model failure.

    An answer that covers fewer messages is shorter and more likely to be valid. If the model refuses one message, the
    messages before that one are still read.
    """
    return max(1, MAX_MESSAGES >> _failures(chore))


def _may_skip(chore: Chore, conversation: Conversation, window: _Window) -> bool:
    """Return whether the model has failed on a single message but may be asked about the next one instead.

    Refused messages are skipped only once the model has responded to a later message. Otherwise, a model that rejects
    every request, for example because of a setting, would cause all messages to be skipped.
    """
    is_alone = _messages_at_once(chore) == 1
    return is_alone and window.refused < _MAX_REFUSED and window.end < conversation.last_turn


def _next_window(caller: Caller, conversation: Conversation, chore: Chore) -> _Window:
    failures, most = _failures(chore), _messages_at_once(chore)
    # Once the model has failed on a single message, each further failure concerns another message. See `_may_skip`.
    refused = max(0, failures - MAX_MESSAGES.bit_length() + 1)
    begin = chore.turn + refused
    end = min(begin + most, conversation.last_turn)
    tokens = 0
    messages: list[_Excerpt] = []
    for excerpt in _excerpts(caller, conversation, range(begin + 1, end + 1), MAX_MESSAGE_TOKENS):
        tokens += estimated_tokens(excerpt.text) + _MESSAGE_OVERHEAD_TOKENS
        if tokens > MAX_PROMPT_TOKENS and messages:
            end = excerpt.turn - 1
            break
        messages.append(excerpt)
    # After a failure, leave out the context, because it may contain what the model refuses.
    turns = range(0) if failures else range(max(1, begin - _CONTEXT_MESSAGES + 1), begin + 1)
    return _Window(refused, begin, end, messages, _excerpts(caller, conversation, turns, _CONTEXT_TOKENS))


def _excerpts(caller: Caller, conversation: Conversation, turns: range, max_tokens: int) -> list[_Excerpt]:
    messages = read_messages(at_turns(caller, conversation, turns))
    return [_Excerpt.of(message, max_tokens) for message in messages]


def _ask(caller: Caller, model: ChatModel, conversation: Conversation, window: _Window) -> list[FactAnswer]:
    data = {
        "conversation": conversation.label,
        "before": [excerpt.json() for excerpt in window.context],
        "messages": [excerpt.json() for excerpt in window.messages],
    }
    answer = questions.ask(caller, model, "facts", data, FactsAnswer, max_tokens=_MAX_ANSWER_TOKENS, most=MAX_FACTS)
    return answer.value.facts


def _store(caller: Caller, chore: Chore, window: _Window, answers: Sequence[FactAnswer], model: str) -> int:
    """Store the facts, and advance the position to the end of the window. Must be called in a transaction.

    Return the number of facts stored, or 0 if another worker has already advanced the position.
    """
    by_turn = {excerpt.turn: excerpt for excerpt in window.messages}
    conversation = lock(caller, chore.conversation_id)
    has_expired = Inherited.of(conversation).has_expired  # perhaps since the model was asked
    facts = [] if has_expired else _distinct(answer for answer in answers if answer.turn in by_turn)
    tiers.refuse_cold(conversation)  # if it is cold, messages may be missing from the window
    current = queue.of(caller.tenant, conversation.id).select_for_update().filter(id=chore.id).first()
    if current is None or current.turn != window.begin - window.refused:
        return 0
    if window.refused:
        skipped = {"conversation_id": str(conversation.id), "turn": current.turn + 1, "count": window.refused}
        log.warning("the language model refused messages", extra=skipped)
    if facts:
        _write(caller, conversation, facts, by_turn, model)
    current.turn = window.end
    current.found += len(facts)
    current.left_out += sum(answer.turn not in by_turn for answer in answers)
    current.cut += window.refused + sum(excerpt.is_cut for excerpt in window.messages)
    current.due_at = timezone.now() if window.end < conversation.last_turn else None
    current.attempts, current.error = 0, ""
    if current.lease == chore.lease:
        current.lease = current.lease_until = None
    current.save()
    return len(facts)


def _distinct(facts: Iterable[FactAnswer]) -> list[FactAnswer]:
    """Return each fact once, ordered by turn; within a turn, keep the model's order (most important first)."""
    distinct: dict[tuple[int, str], FactAnswer] = {}
    for fact in facts:
        distinct.setdefault((fact.turn, entities.normal(fact.fact)), fact)
    return sorted(distinct.values(), key=lambda fact: fact.turn)


def _write(
    caller: Caller,
    conversation: Conversation,
    facts: Sequence[FactAnswer],
    excerpts: Mapping[int, _Excerpt],
    model: str,
) -> None:
    """Write the facts, the entities that do not exist yet, and the links between them."""
    mentions = [entities.distinct((entity.name, entity.kind) for entity in fact.entities) for fact in facts]
    names = {key: name_and_kind for mentioned in reversed(mentions) for key, name_and_kind in mentioned.items()}
    counts: Counter[int] = Counter()
    existing = fact_links.lock_entities(caller, names)
    entities_of = ((coordinates.from_key(key), names[key]) for key in sorted(names.keys() - existing))
    new_entities = [fact_links.entity(at, name, kind) for at, (name, kind) in entities_of]
    items = []
    for fact, mentioned in zip(facts, mentions, strict=True):
        counts[fact.turn] += 1
        at = address(conversation, fact.turn, counts[fact.turn])
        entity_names = [name for name, _ in mentioned.values()]
        items.append(_fact(at, conversation, fact, entity_names, excerpts[fact.turn].said_at, model))
    results = stores.store_many(caller.writing_reserved(), [*new_entities, *items])
    stored = [result.memory for result in results[len(new_entities) :]]
    new_links = [link for fact in stored for link in fact_links.of(fact, conversation.user_id)]
    graph.link_many(caller.writing_reserved(), new_links)
    fact_changes.apply(caller, stored)


def _attribute(fact: FactAnswer) -> Coordinate | None:
    """Return the address of a fact's attribute, or None if the attribute or the first entity has no usable name."""
    if not fact.entities or fact.attribute is None:
        return None
    entity = fact.entities[0].name
    if not (entities.normal(entity) and entities.normal(fact.attribute)):
        return None
    return entities.attribute_address(entity, fact.attribute)


def _fact(
    at: Coordinate, conversation: Conversation, fact: FactAnswer, names: Sequence[str], said_at: datetime, model: str
) -> NewMemory:
    attribute = _attribute(fact)
    inherited = Inherited.of(conversation)
    return NewMemory(
        coordinate=at,
        namespace=FACTS,
        memory_type=Memory.Type.SEMANTIC,
        payload={
            "text": fact.fact,
            "conversation_id": str(conversation.id),
            "turn": fact.turn,
            "entities": list(names),
            "model": model,
            **({} if attribute is None else {"attribute": fact.attribute, "replaces": fact.replaces}),
        },
        created_at=said_at,
        valid_from=None if attribute is None else said_at,
        expires_at=inherited.expires_at,
        metadata=inherited.metadata,
        source=inherited.source,
        **conversation.ids,
    )

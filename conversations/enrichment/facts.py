"""Facts that a language model takes out of conversations, and what they are about.

A fact is a memory at `[conversation number, turn, which]` in the namespace `facts`, where the turn is that of the
message that states it; it is linked to that message (`stated_in`; an address of two numbers is a message's, which
itself lies in `conversations`) and to its entities (`mentions`, see `entities`).

A conversation is read once, from its beginning to its end, some messages at a time. What they gave and how far it has
come are stored together, if nobody else has come further meanwhile: so a job that is killed, repeated or run twice at
the same time stores nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from conversations import llm
from conversations.enrichment import entities, queue
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.base import ChatModel, estimated_tokens
from conversations.llm.schemas import FactAnswer, FactsAnswer
from conversations.lookup import with_derived
from conversations.models import Chore, Conversation
from graph import services as graph
from graph.services import NewLink
from memories import coordinates
from memories import selectors as memories
from memories import services as stores
from memories.coordinates import Coordinate
from memories.index import backpressure
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.reserved_namespaces import CONVERSATIONS, FACTS
from memories.selectors import Narrowing, Page
from somamemory.errors import NotFound
from tenants.caller import Caller

STATED_IN = "stated_in"
AT_ONCE = 20  # messages that are asked about with one question
MOST = 20  # facts that one question may give
MAX_PROMPT_TOKENS = 6_000  # of the messages of one question
MAX_MESSAGE_TOKENS = 4_000  # of a longer message only the beginning is read
_BEFORE = 3  # messages that help to understand
_BEFORE_TOKENS = 200  # of each
_MAX_ANSWER_TOKENS = 4_000
Kind = Chore.Kind


@dataclass(frozen=True)
class Progress:
    """How far the facts of a conversation have come. `chore` is None: nobody has ever asked for them."""

    conversation: Conversation
    chore: Chore | None
    state: str


@dataclass(frozen=True)
class _Said:
    turn: int
    role: str
    text: str
    at: datetime
    is_cut: bool = False


@dataclass(frozen=True)
class _Window:
    """The next messages to read: those after `begin`, up to `end`; `before` help to understand them."""

    begin: int
    end: int
    said: Sequence[_Said]
    before: Sequence[_Said]


def request(caller: Caller, id: UUID) -> Progress:
    """Have the facts of what has been said since the last time taken out, by whoever does the chores.

    Raises NotFound, LlmMissing.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    with transaction.atomic():
        conversation = _conversation(caller, id, for_update=True)
        llm.needed()
        chore = queue.request(conversation, Kind.FACTS)
    return Progress(conversation, chore, chore.state(timezone.now()))


def progress(caller: Caller, id: UUID) -> Progress:
    """Raises NotFound."""
    caller.require("read", [CONVERSATIONS])
    conversation = _conversation(caller, id)
    chore = queue.of(caller.tenant, id).filter(kind=Kind.FACTS).first()
    return Progress(conversation, chore, "none" if chore is None else chore.state(timezone.now()))


def of_conversation(caller: Caller, conversation: Conversation, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Its facts, in the order of the turns that state them."""
    narrowing = Narrowing(prefix=conversation.root)
    return memories.list_memories(with_derived(caller), FACTS, narrowing, limit=limit, cursor=cursor)


def step(caller: Caller, chore: Chore) -> int:
    """Read the next messages of a conversation, with one question to the model; how many facts they gave.

    Never inside a transaction. Afterwards the chore is due at once, or done. Raises NotFound, LlmMissing,
    LlmUnavailable, LlmBudgetExceeded, IndexBacklog, ColdUnavailable; ConversationIsCold where it became so meanwhile.
    """
    caller = with_derived(caller)
    caller.require("write", [CONVERSATIONS, FACTS])
    backpressure.check(caller.tenant)  # or the answer would be paid for, and could not be stored
    model = llm.needed()
    conversation = _conversation(caller, chore.conversation_id)
    if conversation.tier == Conversation.Tier.COLD:
        tiers.thaw(caller, conversation.id)
    window = _window(caller, conversation, chore.turn)
    if not window.said:
        return _store(caller, chore, window, [], model.name)
    return _store(caller, chore, window, _asked(caller, model, conversation, window), model.name)


def _conversation(caller: Caller, id: UUID, *, for_update: bool = False) -> Conversation:
    rows = Conversation.objects.for_tenant(caller.tenant).filter(id=id)
    found: Conversation | None = (rows.select_for_update(no_key=True) if for_update else rows).first()
    if found is None:
        raise NotFound(f"no conversation {id}")
    return found


def _window(caller: Caller, conversation: Conversation, begin: int) -> _Window:
    end = min(begin + AT_ONCE, conversation.last_turn)
    said = _messages(caller, conversation, range(begin + 1, end + 1), MAX_MESSAGE_TOKENS)
    left = MAX_PROMPT_TOKENS
    kept: list[_Said] = []
    for each in said:
        left -= estimated_tokens(each.text) + 20
        if left < 0 and kept:
            end = each.turn - 1
            break
        kept.append(each)
    before = _messages(caller, conversation, range(max(1, begin - _BEFORE + 1), begin + 1), _BEFORE_TOKENS)
    return _Window(begin, end, kept, before)


def _messages(caller: Caller, conversation: Conversation, turns: range, most_tokens: int) -> list[_Said]:
    keys = [coordinates.encode([conversation.number, turn]) for turn in turns]
    rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__in=keys).order_by("coordinate_key")
    columns = rows.values_list("coordinate_key", "payload", "created_at")
    found = []
    for key, payload, at in columns:
        text, is_cut = _beginning(str(payload.get("content", "")), most_tokens)
        found.append(_Said(int(coordinates.decode(key)[1]), str(payload.get("role", "")), text, at, is_cut))
    return found


def _beginning(text: str, most_tokens: int) -> tuple[str, bool]:
    if estimated_tokens(text) <= most_tokens:
        return text, False
    return text.encode()[: 3 * most_tokens].decode(errors="ignore"), True


def _asked(caller: Caller, model: ChatModel, conversation: Conversation, window: _Window) -> list[FactAnswer]:
    data = {
        "conversation": conversation.label,
        "before": [_told(each) for each in window.before],
        "messages": [_told(each) for each in window.said],
    }
    answer = questions.ask(caller, model, "facts", data, FactsAnswer, max_tokens=_MAX_ANSWER_TOKENS, most=MOST)
    return answer.value.facts


def _told(said: _Said) -> dict[str, Any]:
    return {"turn": said.turn, "from": said.role, "at": said.at, "text": said.text}


def _store(caller: Caller, chore: Chore, window: _Window, answered: Sequence[FactAnswer], model: str) -> int:
    """One transaction. How many facts were stored: none if somebody else has come further meanwhile."""
    by_turn = {each.turn: each for each in window.said}
    facts = _distinct(each for each in answered if each.turn in by_turn)
    with transaction.atomic():
        conversation = _conversation(caller, chore.conversation_id, for_update=True)
        tiers.refuse_cold(conversation)  # or its messages may not have been there to be read
        current = queue.of(caller.tenant, conversation.id).select_for_update().filter(id=chore.id).first()
        if current is None or current.turn != window.begin:
            return 0
        _write(caller, conversation, facts, by_turn, model)
        current.turn = window.end
        current.found += len(facts)
        current.left_out += sum(each.turn not in by_turn for each in answered)
        current.cut += sum(each.is_cut for each in window.said)
        current.due_at = timezone.now() if window.end < conversation.last_turn else None
        current.attempts, current.error = 0, ""
        if current.lease == chore.lease:
            current.lease = current.lease_until = None
        current.save()
    return len(facts)


def _distinct(facts: Any) -> list[FactAnswer]:
    """Each once, in the order of turns; of one turn the most important first, as the model gave them."""
    found: dict[tuple[int, str], FactAnswer] = {}
    for each in facts:
        found.setdefault((each.turn, entities.normal(each.fact)), each)
    return sorted(found.values(), key=lambda each: each.turn)


def _write(
    caller: Caller,
    conversation: Conversation,
    facts: Sequence[FactAnswer],
    said: Mapping[int, _Said],
    model: str,
) -> None:
    if not facts:
        return
    about = [entities.distinct((each.name, each.kind) for each in fact.entities) for fact in facts]
    names = {key: told for each in reversed(about) for key, told in each.items()}
    which: Counter[int] = Counter()
    items = [_entity(key, *names[key]) for key in sorted(names.keys() - _held(caller, sorted(names)))]
    links = []
    for fact, mentioned in zip(facts, about, strict=True):
        which[fact.turn] += 1
        at = coordinates.of([conversation.number, fact.turn, which[fact.turn]])
        items.append(_fact(at, conversation, fact, [name for name, _ in mentioned.values()], said[fact.turn], model))
        links.append(NewLink(at, coordinates.of([conversation.number, fact.turn]), STATED_IN, namespace=FACTS))
        links += [NewLink(at, coordinates.from_key(key), entities.MENTIONS, namespace=FACTS) for key in mentioned]
    stores.store_many(caller, items, as_keeper=True)
    graph.link_many(caller, links)


def _held(caller: Caller, keys: Sequence[str]) -> set[str]:
    """Those of these entities that are there; nobody takes them away until the transaction ends."""
    rows = memories.live(caller, [FACTS]).filter(coordinate_key__in=keys).select_for_update().order_by("coordinate_key")
    return set(rows.values_list("coordinate_key", flat=True))


def _entity(key: str, name: str, kind: str) -> NewMemory:
    return NewMemory(
        coordinate=coordinates.from_key(key),
        namespace=FACTS,
        memory_type=Memory.Type.SEMANTIC,
        payload={"title": name, "kind": kind},
    )


def _fact(
    at: Coordinate, conversation: Conversation, fact: FactAnswer, mentioned: Sequence[str], said: _Said, model: str
) -> NewMemory:
    return NewMemory(
        coordinate=at,
        namespace=FACTS,
        memory_type=Memory.Type.SEMANTIC,
        payload={
            "text": fact.fact,
            "conversation_id": str(conversation.id),
            "turn": fact.turn,
            "entities": list(mentioned),
            "model": model,
        },
        created_at=said.at,
    )

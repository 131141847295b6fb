"""Messages: the turns of a conversation.

The message at turn `t` is the memory at `[conversation number, t]` in the `conversations` namespace. Only this file
depends on that address, on the layout of the payload, and on the fact that keys order a conversation's messages by
turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform

from conversations.models import Conversation
from memories import coordinates, payloads, selectors
from memories.coordinates import DIGITS_PER_NUMBER, Coordinate
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.payloads import Json
from memories.reserved_namespaces import CONVERSATIONS
from tenants.caller import Caller

# The largest turn: a signed 32-bit integer, which every client can represent.
MAX_TURN = 2**31 - 1
MORE = ("content_parts", "tool_calls", "tool_call_id", "name")
_COLUMNS = ("coordinate_key", "payload", "created_at")


@dataclass(frozen=True)
class NewMessage:
    """A message to append. `timestamp` is the time when it was sent; None means now.

    content: the text, which can be empty, for example if the message only calls tools.
    more: other fields from a model: `content_parts`, `tool_calls`, `tool_call_id` and `name`.
    """

    role: str
    content: str
    metadata: Json = field(default_factory=dict)
    timestamp: datetime | None = None
    more: Json = field(default_factory=dict)

    @property
    def indexed_text(self) -> str:
        """Return the searchable part of the text."""
        return self.content[: payloads.MAX_TEXT_LENGTH]

    def memory(self, number: int, turn: int, context: str) -> NewMemory:
        """Return the memory that stores the message.

        `context` is the text of the previous message. A search for its words also finds this message.
        """
        return NewMemory(
            coordinate=message_address(number, turn),
            payload={"role": self.role, "content": self.content, **self.more},
            namespace=CONVERSATIONS,
            metadata=self.metadata,
            context=context,
            created_at=self.timestamp,
        )


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A stored message. Sorting by `key` sorts by conversation number, then by turn."""

    key: str
    role: str
    text: str
    said_at: datetime
    more: Json = field(default_factory=dict, compare=False)  # as in NewMessage

    @classmethod
    def of(cls, memory: Memory) -> Message:
        """Return the message that a memory stores."""
        return _message(memory.coordinate_key, memory.payload, memory.created_at)

    @property
    def turn(self) -> int:
        return turn_of(self.key)

    @property
    def conversation_key(self) -> str:
        return conversation_key(self.key)

    @property
    def indexed_text(self) -> str:
        """Return the searchable part of the text."""
        return self.text[: payloads.MAX_TEXT_LENGTH]


def message_address(number: int, turn: int) -> Coordinate:
    """Return a message's coordinate. Raises InvalidCoordinate."""
    return coordinates.of([number, turn])


def message_key(number: int, turn: int) -> str:
    """Return the key of a message's coordinate, for queries."""
    return coordinates.encode([number, turn])


def turn_of(key: str) -> int:
    """Return the turn of a message, a fact or any other memory under a message's address."""
    return int(coordinates.decode(key[: 2 * DIGITS_PER_NUMBER])[1])


def conversation_key(key: str) -> str:
    """Return the key of the conversation to which a message, a summary or a fact belongs."""
    return key[:DIGITS_PER_NUMBER]


def neighbour_keys(key: str) -> list[str]:
    """Return the keys of the turns before and after a message."""
    number, turn = coordinates.decode(key)
    return [coordinates.encode([number, other]) for other in (turn - 1, turn + 1)]


def in_conversation(caller: Caller, conversation: Conversation) -> QuerySet[Memory]:
    """Return a conversation's live messages in order, without those in cold storage."""
    low, high = conversation.root.subtree
    rows = selectors.live(caller, [CONVERSATIONS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
    return rows.order_by("coordinate_key")


def at_turns(caller: Caller, conversation: Conversation, turns: Iterable[int]) -> QuerySet[Memory]:
    """Return the live messages at the given turns in order, without those in cold storage."""
    return at_keys(caller, [message_key(conversation.number, turn) for turn in turns])


def at_keys(caller: Caller, keys: Sequence[str]) -> QuerySet[Memory]:
    """Return the live messages with the given keys in order, without those in cold storage."""
    return selectors.live(caller, [CONVERSATIONS]).filter(coordinate_key__among=keys).order_by("coordinate_key")


def read_messages(rows: QuerySet[Memory], chunk_size: int | None = None) -> Iterator[Message]:
    """Yield the messages in these rows, reading only the columns that they need.

    If `chunk_size` is given, the rows are streamed, with at most this many in memory at a time.
    """
    columns = rows.values_list(*_COLUMNS)
    for row in columns if chunk_size is None else columns.iterator(chunk_size=chunk_size):
        yield _message(*row)


def texts_by_seq(rows: QuerySet[Memory]) -> dict[int, tuple[str, str]]:
    """Return the key and the text of each message that searches can see, keyed by row number.

    The database extracts the text, which takes a third of the time that decoding the payloads in Python would take.
    """
    texts = rows.values_list("seq", "coordinate_key", KeyTextTransform("content", "payload"))
    return {seq: (key, (text or "")[: payloads.MAX_TEXT_LENGTH]) for seq, key, text in texts}


def _message(key: str, payload: Json, said_at: datetime) -> Message:
    more = {name: payload[name] for name in MORE if name in payload}
    return Message(key, str(payload.get("role", "")), str(payload.get("content", "")), said_at, more)

"""Messages: their address, their text and their order."""

from __future__ import annotations

import uuid

import pytest

from conversations import lookup, messages
from conversations.messages import Message, NewMessage, message_key
from memories import payloads
from memories.models import Memory
from somamemory.errors import NotFound
from tenants.caller import Caller
from tests.conftest import Api
from tests.support.conversations import begin

LONG = "x" * (payloads.MAX_TEXT_LENGTH + 1)


def test_the_address_of_a_message_holds_its_conversation_and_its_turn() -> None:
    assert messages.message_address(7, 3).numbers == (7, 3)
    assert messages.message_address(7, 3).key == message_key(7, 3)
    assert messages.turn_of(message_key(7, 3)) == 3
    assert messages.conversation_key(message_key(7, 3)) == message_key(7, 4)[:16]


def test_the_turn_of_a_fact_is_that_of_its_message() -> None:
    assert messages.turn_of(message_key(7, 3) + message_key(1, 2)[:16]) == 3


def test_keys_order_messages_by_conversation_and_turn() -> None:
    turns = [(1, 1), (1, 2), (1, 10), (2, 1), (16, 1)]

    assert sorted(turns, key=lambda turn: message_key(*turn)) == turns


def test_the_neighbours_of_a_message_are_the_turns_around_it() -> None:
    assert messages.neighbour_keys(message_key(7, 3)) == [message_key(7, 2), message_key(7, 4)]


def test_a_new_message_is_read_as_it_was_written() -> None:
    new = NewMessage("user", "the aardvark sleeps").memory(7, 3, "before")
    assert new.coordinate is not None
    row = Memory(coordinate_key=new.coordinate.key, payload=new.payload)

    message = Message.of(row)

    assert (message.role, message.text, message.turn) == ("user", "the aardvark sleeps", 3)
    assert new.context == "before"


def test_searches_see_the_beginning_of_a_long_message() -> None:
    assert NewMessage("user", LONG).indexed_text == LONG[:-1]
    assert Message.of(Memory(payload={"content": LONG})).indexed_text == LONG[:-1]


def test_a_memory_without_role_and_content_is_an_empty_message() -> None:
    message = Message.of(Memory(payload={"summary": "They spoke of an aardvark"}))

    assert (message.role, message.text) == ("", "")


def test_messages_are_read_in_order(api: Api, caller: Caller) -> None:
    conversation = lookup.find(caller, uuid.UUID(begin(api, "one", "two", "three")["id"]))
    begin(api, "another conversation")

    rows = messages.in_conversation(caller, conversation)
    some = messages.at_turns(caller, conversation, [3, 1, 9])

    assert [message.text for message in messages.read_messages(rows)] == ["one", "two", "three"]
    assert [message.text for message in messages.read_messages(rows, chunk_size=2)] == ["one", "two", "three"]
    assert [message.text for message in messages.read_messages(some)] == ["one", "three"]


def test_a_conversation_is_found_by_its_own_tenant_only(api: Api, stranger: Api, caller: Caller) -> None:
    id = uuid.UUID(begin(stranger, "one")["id"])

    with pytest.raises(NotFound, match=str(id)):
        lookup.find(caller, id)

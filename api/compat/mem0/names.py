"""The namespaces and keys of mem0 memories.

A memory is in the `mem0` namespace, under the key `{event}/{n}`: the id of the event that stored it, and its position
in that event's request. An imported memory has the key `imported/{id}`, which contains its id in mem0; that id remains
valid here. Facts that a language model extracts are in the `facts` namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from django.db.models import Q

from conversations.enrichment import entities, facts
from memories import lookup
from memories.addresses import Address, Key
from memories.models import Memory
from memories.reserved_namespaces import FACTS
from somamemory.errors import InvalidInput, NotFound
from tenants.caller import Caller

MEM0 = "mem0"
IMPORTED = "imported/"
OWNERS = ("user_id", "agent_id", "app_id", "run_id")


def namespaces(caller: Caller) -> list[str]:
    """Return the namespaces to read: a key that is restricted to `mem0` cannot read extracted facts."""
    return [MEM0, FACTS] if not caller.namespaces or FACTS in caller.namespaces else [MEM0]


def only_memories() -> Q:
    """Return a condition that excludes entities, because the `facts` namespace also contains entities."""
    return Q(namespace=MEM0) | facts.are_facts()


def parsed(text: str, field: str = "memory_id") -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(field, "must be a valid UUID") from None


def place(caller: Caller, id: UUID) -> tuple[str, Address]:
    """Return the namespace and the address (key or id) of the memory with this mem0 id. Raises NotFound."""
    for namespace, name in _candidates(caller, id):
        try:
            memory = lookup.place(caller, namespace, name)
        except NotFound:
            continue
        if not entities.is_entity(memory):
            return namespace, name
    raise NotFound(f"there is no memory with id '{id}'")


def _candidates(caller: Caller, id: UUID) -> Iterator[tuple[str, Address]]:
    yield MEM0, id
    yield MEM0, Key(f"{IMPORTED}{id}")
    if FACTS in namespaces(caller):
        yield FACTS, id


def id_of(memory: Memory) -> str:
    """Return a memory's id for mem0 clients."""
    key = memory.key or ""
    return key.removeprefix(IMPORTED) if key.startswith(IMPORTED) else str(memory.id)


def event_of(memory: Memory) -> str:
    """Return the id of the event that stored a memory."""
    key = memory.key or ""
    return key.partition("/")[0] if key and not key.startswith(IMPORTED) else str(memory.id)

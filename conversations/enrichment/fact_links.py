"""Fact links, derived from the facts' coordinates and payloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from conversations.enrichment import entities, proposals
from conversations.messages import message_address
from conversations.models import Conversation
from graph import services as graph
from graph.services import NewLink
from memories import large_rows, selectors
from memories import restoring as memories
from memories import services as stores
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.reserved_namespaces import FACTS
from tenants.caller import Caller

STATED_IN = "stated_in"
UNKNOWN_KIND = "other"  # the kind of an entity whose actual kind is unknown
_PAGE = 100


def entity(at: Coordinate, name: str, kind: str) -> NewMemory:
    return NewMemory(
        coordinate=at,
        namespace=FACTS,
        memory_type=Memory.Type.SEMANTIC,
        payload={"title": name, "kind": kind},
    )


def lock_entities(caller: Caller, keys: Iterable[str]) -> set[str]:
    """Lock the existing entities, so that they cannot be deleted before they are linked, and return their keys."""
    rows = selectors.live(caller, [FACTS]).filter(coordinate_key__among=keys)
    return set(rows.select_for_update().order_by("coordinate_key").values_list("coordinate_key", flat=True))


def of(fact: Memory, user_id: str | None) -> Iterator[NewLink]:
    """Yield a fact's links to its message, to its entities, and to the attribute that it is about."""
    number, turn = fact.coordinate.numbers[:2]
    names = fact.payload.get("entities") or ()
    link = partial(NewLink, fact.coordinate, namespace=FACTS, user_id=user_id)
    yield link(message_address(int(number), int(turn)), STATED_IN)
    for name in names:
        yield link(entities.address(name), entities.MENTIONS)
    if names and "attribute" in fact.payload:
        yield link(entities.attribute_address(names[0], fact.payload["attribute"]), entities.ABOUT)


def recreate(caller: Caller, conversation: Conversation) -> None:
    """Recreate the links and entities of a conversation's restored facts. Must be called in a transaction."""
    low, high = conversation.root.subtree
    facts = selectors.live(caller, [FACTS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
    for page in large_rows.pages(facts, "coordinate_key", _PAGE):
        _restore_entities(
            caller, {entities.address(name): name for fact in page for name in fact.payload.get("entities") or ()}
        )
        graph.link_many(caller, [link for fact in page for link in of(fact, conversation.user_id)])
    proposals.relink(caller, conversation)


def _restore_entities(caller: Caller, names: dict[Coordinate, str]) -> None:
    """Restore deleted entities. Purged entities are created again, but their kinds are lost."""
    memories.restore_at(caller, FACTS, names)
    existing = lock_entities(caller, [at.key for at in names])
    if purged := [entity(at, name, UNKNOWN_KIND) for at, name in names.items() if at.key not in existing]:
        stores.store_many(caller, purged)

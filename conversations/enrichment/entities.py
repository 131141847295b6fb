"""Entities: the people and things that facts mention. Each is one memory in the `facts` namespace.

An entity's coordinate `[0, a, b]` contains 104 bits of the SHA-256 of its name; no conversation has the number 0. A
name therefore always maps to the same memory within a tenant, and no lookup table is needed. Facts link to their
entities (`mentions`). An entity is deleted together with the last fact that mentions it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import QuerySet
from django.db.models.functions import Substr

from graph.models import Link
from memories import coordinates, retention
from memories import services as stores
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS
from tenants.caller import Caller
from tenants.models import Tenant

MENTIONS = "mentions"
ABOUT = "about"  # type of the link from a fact to an attribute of its first entity
_SPACES = re.compile(r"\s+")
_QUOTES = frozenset("'\"`*_<>")
_PUNCTUATION = frozenset(".,;:!?")
_BRACKETS = frozenset(("Ps", "Pe", "Pi", "Pf"))  # Unicode categories of brackets and typographic quotes
_BITS = 52  # bits per number; a float64 represents integers of this size exactly


def normal(name: str) -> str:
    """Normalise a name: Unicode NFKC, case-folded, single spaces, without surrounding quotes or punctuation."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    begin, end = 0, len(text)
    while begin < end and _is_around(text[begin]):
        begin += 1
    while begin < end and (_is_around(text[end - 1]) or text[end - 1] in _PUNCTUATION):
        end -= 1
    return _SPACES.sub(" ", text[begin:end])


def _is_around(letter: str) -> bool:
    return letter.isspace() or letter in _QUOTES or unicodedata.category(letter) in _BRACKETS


def address(name: str) -> Coordinate:
    """Return an entity's coordinate."""
    return _hashed(normal(name))


def attribute_address(entity: str, attribute: str) -> Coordinate:
    """Return the coordinate of an entity's attribute.

    Facts about the attribute link to this coordinate. No memory is stored there.
    """
    return _hashed(f"{normal(entity)}\0{normal(attribute)}")


def _hashed(text: str) -> Coordinate:
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[: 2 * _BITS // 8])
    return coordinates.of([0, digest >> _BITS, digest & ((1 << _BITS) - 1)])


def is_entity(memory: Memory) -> bool:
    """Return whether a memory is an entity: it is in the `facts` namespace, and its coordinate begins with 0."""
    return memory.namespace == FACTS and memory.coordinate.numbers[0] == 0


def mentioned(tenant: Tenant, root: Coordinate) -> list[str]:
    """Return the keys of the entities mentioned by the facts under an address, including deleted facts.

    Reads the facts themselves, because deleted facts have no links.
    """
    low, high = root.subtree
    facts = Memory.objects.for_tenant(tenant).filter(namespace=FACTS, coordinate_key__gte=low, coordinate_key__lt=high)
    lists = facts.values_list("payload__entities", flat=True)
    return sorted({address(name).key for names in lists.iterator() for name in names or ()})


def forget(caller: Caller, keys: Sequence[str], *, purge: bool) -> None:
    """Delete the given entities that no fact mentions any more. Must be called in a transaction."""
    orphans = [coordinates.from_key(key) for key in _unmentioned(caller.tenant, keys)]
    if orphans:
        stores.delete_many(caller.writing_reserved(), FACTS, orphans, purge=purge)


def forget_with(caller: Caller, removed: Sequence[Memory]) -> None:
    """Purge the facts of purged messages, and the entities that only purged facts mention, in the same transaction."""
    turns = sorted(memory.coordinate_key for memory in removed if memory.namespace == CONVERSATIONS)
    rows = Memory.objects.for_tenant(caller.tenant).filter(namespace=FACTS).defer("terms").order_by("coordinate_key")
    if turns:
        below = rows.filter(coordinate_key__gte=turns[0], coordinate_key__lt=turns[-1] + "g")
        of_turns = below.annotate(of=Substr("coordinate_key", 1, len(turns[0]))).filter(of__among=turns)
        if facts := list(of_turns.select_for_update()):
            retention.remove(caller, facts)  # also removes their links, and calls this function with the facts
    # The content of large entities can no longer be read, because their rows have been deleted. They mention nothing.
    of_facts = [memory for memory in removed if memory.namespace == FACTS and not is_entity(memory)]
    lists = [fact.payload.get("entities") for fact in of_facts]
    if keys := {address(name).key for names in lists for name in names or ()}:
        # Deleted entities have their own retention period, during which they can be restored together with a
        # conversation.
        live = rows.filter(deleted_at=None, coordinate_key__among=_unmentioned(caller.tenant, sorted(keys)))
        retention.remove(caller, list(live))


def _unmentioned(tenant: Tenant, keys: Collection[str]) -> list[str]:
    """Return the keys of entities that no fact mentions.

    Locks the entities first, as workers do before they add a mention.
    """
    rows = Memory.objects.for_tenant(tenant).filter(coordinate_key__among=keys)
    locked = list(
        rows.filter(namespace=FACTS)
        .select_for_update()
        .order_by("coordinate_key")
        .values_list("coordinate_key", flat=True)
    )
    links = _mentions(tenant).filter(to_key__among=locked)
    mentioned = set(links.values_list("to_key", flat=True).distinct())
    return [key for key in locked if key not in mentioned]


def _mentions(tenant: Tenant) -> QuerySet[Link]:
    links: QuerySet[Link] = Link.objects.for_tenant(tenant).filter(namespace=FACTS, link_type=MENTIONS)
    return links


def distinct(names: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, str]]:
    """Map the key of each entity to its first (name, kind) pair. Names that normalise to "" are dropped."""
    by_key: dict[str, tuple[str, str]] = {}
    for name, kind in names:
        if normal(name):
            by_key.setdefault(address(name).key, (name, kind))
    return by_key

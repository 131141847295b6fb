"""Who and what facts are about: a memory each in the namespace `facts`, at an address made of its name.

`[0, a, b]`, where a and b are 104 bits of the name's SHA-256 (no conversation has the number 0). So a name is one
memory in a tenant, whoever writes it first, and needs no table to be found. Facts lie at `[conversation number, turn,
which]` and point there (`mentions`); an entity that nothing points to any more goes with the last fact that did.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import QuerySet
from django.db.models.functions import Substr

from graph.models import Link
from graph.query_conditions import Among
from memories import coordinates, retention
from memories import services as stores
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS
from tenants.caller import Caller
from tenants.models import Tenant

MENTIONS = "mentions"
_SPACES = re.compile(r"\s+")
_QUOTES = frozenset("'\"`*_<>")
_ENDINGS = frozenset(".,;:!?")
_BRACKETS = frozenset(("Ps", "Pe", "Pi", "Pf"))  # Unicode's categories of brackets and typographic quotes
_BITS = 52  # whole numbers of so many bits are exact in a float64


def normal(name: str) -> str:
    """What two spellings of a name have in common: Unicode form KC, no case, single spaces, no quotes around it."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    begin, end = 0, len(text)
    while begin < end and _is_around(text[begin]):
        begin += 1
    while begin < end and (_is_around(text[end - 1]) or text[end - 1] in _ENDINGS):
        end -= 1
    return _SPACES.sub(" ", text[begin:end])


def _is_around(letter: str) -> bool:
    return letter.isspace() or letter in _QUOTES or unicodedata.category(letter) in _BRACKETS


def address(name: str) -> Coordinate:
    digest = int.from_bytes(hashlib.sha256(normal(name).encode()).digest()[: 2 * _BITS // 8])
    return coordinates.of([0, digest >> _BITS, digest & ((1 << _BITS) - 1)])


def mentioned(tenant: Tenant, root: Coordinate) -> list[str]:
    """The keys of the entities that facts below an address are about."""
    low, high = root.subtree
    links = _mentions(tenant).filter(from_key__gte=low, from_key__lt=high)
    return sorted(links.values_list("to_key", flat=True).distinct())


def forget(caller: Caller, keys: Sequence[str], *, purge: bool) -> None:
    """Delete those of these entities that no fact mentions any more. Needs a transaction."""
    gone = [coordinates.from_key(key) for key in _unmentioned(caller.tenant, keys)]
    if gone:
        stores.delete_many(caller, FACTS, gone, purge=purge, as_keeper=True)


def forget_with(caller: Caller, removed: Sequence[Memory]) -> None:
    """Remove the facts of messages that are removed for good, and what only they mention. In that transaction."""
    turns = sorted(memory.coordinate_key for memory in removed if memory.namespace == CONVERSATIONS)
    if not turns:
        return
    rows = Memory.objects.for_tenant(caller.tenant).filter(namespace=FACTS).defer("terms").order_by("coordinate_key")
    below = rows.filter(coordinate_key__gte=turns[0], coordinate_key__lt=turns[-1] + "g")
    of_turns = below.annotate(of=Substr("coordinate_key", 1, len(turns[0]))).filter(
        Among(["of"], [(turn,) for turn in turns])
    )
    facts = list(of_turns.select_for_update())
    if not facts:
        return
    mentions = _mentions(caller.tenant).filter(Among(["from_key"], [(fact.coordinate_key,) for fact in facts]))
    keys = sorted(mentions.values_list("to_key", flat=True).distinct())
    retention.remove(caller, facts)  # and with them their links
    retention.remove(caller, list(rows.filter(coordinate_key__in=_unmentioned(caller.tenant, keys))))


def _unmentioned(tenant: Tenant, keys: Collection[str]) -> list[str]:
    """Locks the entities first: whoever is about to mention one holds it too, and its link is there afterwards."""
    rows = Memory.objects.for_tenant(tenant).filter(Among(["coordinate_key"], [(key,) for key in keys]))
    held = list(
        rows.filter(namespace=FACTS)
        .select_for_update()
        .order_by("coordinate_key")
        .values_list("coordinate_key", flat=True)
    )
    still = _mentions(tenant).filter(Among(["to_key"], [(key,) for key in held])).values_list("to_key", flat=True)
    kept = set(still.distinct())
    return [key for key in held if key not in kept]


def _mentions(tenant: Tenant) -> QuerySet[Link]:
    links: QuerySet[Link] = Link.objects.for_tenant(tenant).filter(namespace=FACTS, link_type=MENTIONS)
    return links


def distinct(names: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, str]]:
    """(name, kind) by the key of its address, the first spelling of each; names with nothing in them left out."""
    found: dict[str, tuple[str, str]] = {}
    for name, kind in names:
        if normal(name):
            found.setdefault(address(name).key, (name, kind))
    return found

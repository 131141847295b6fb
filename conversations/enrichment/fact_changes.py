"""Changing facts: a fact supersedes older facts about the same attribute of the same entity.

Each fact with an attribute links to the address of that attribute (`about`, see `entities`). The language model
estimates the probability that the new fact makes an older one outdated. If the probability is high enough, the older
fact is superseded immediately. If it is moderate, a person or an agent decides (see `proposals`). Automatic and manual
decisions are both recorded, so both can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conversations.enrichment import entities, proposals
from graph.models import Link
from memories.models import Memory
from memories.reserved_namespaces import FACTS
from memories.selectors import live
from tenants.caller import Caller

CERTAIN, POSSIBLE = 0.8, 0.3
MAX_COMPARED = 100  # maximum number of facts about one attribute that are compared, newest first


@dataclass(frozen=True)
class Change:
    """A newer fact that may make an older one outdated."""

    newer: Memory
    older: Memory

    @property
    def confidence(self) -> float:
        return float(self.newer.payload["replaces"])

    @property
    def reason(self) -> str:
        payload = self.newer.payload
        return f"a newer statement about {payload['entities'][0]}: {payload['attribute']}"


def changes(facts: Sequence[Memory]) -> Iterator[Change]:
    """Yield the possible changes among facts about one attribute, from oldest to newest. Pure function.

    Once a change is certain, the older fact is no longer valid, so no later facts are compared with it. Pairs of facts
    are skipped if the older one is no longer valid, or if the newer one merely repeats it.
    """
    in_order = sorted(facts, key=lambda fact: (fact.created_at, fact.coordinate_key))
    for at, older in enumerate(in_order):
        for newer in in_order[at + 1 :]:
            if not _differ(older, newer):
                continue
            change = Change(newer, older)
            if change.confidence >= POSSIBLE:
                yield change
            if change.confidence >= CERTAIN:
                break


def apply(caller: Caller, stored: Sequence[Memory]) -> None:
    """Supersede the facts that the newly stored ones make outdated, or propose to do so.

    Must be called in a transaction.
    """
    new = {memory.id for memory in stored if "attribute" in memory.payload}
    for key in sorted({_attribute(memory) for memory in stored if memory.id in new}):
        for change in changes(_about(caller, key, stored)):
            if not new.isdisjoint((change.newer.id, change.older.id)):
                proposals.record(
                    caller, change.newer, change.older, change.reason, change.confidence, change.confidence >= CERTAIN
                )


def _differ(older: Memory, newer: Memory) -> bool:
    said_later = older.created_at < newer.created_at
    if not said_later or (older.valid_to is not None and older.valid_to <= newer.created_at):
        return False
    return entities.normal(older.payload["text"]) != entities.normal(newer.payload["text"])


def _attribute(fact: Memory) -> str:
    return entities.attribute_address(fact.payload["entities"][0], fact.payload["attribute"]).key


def _about(caller: Caller, attribute: str, stored: Iterable[Memory]) -> list[Memory]:
    """Return the latest facts about an attribute for the user to whom the new facts belong."""
    user_id = next(memory.user_id for memory in stored if "attribute" in memory.payload)
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=FACTS, to_key=attribute, link_type=entities.ABOUT)
    facts = live(caller, [FACTS]).filter(coordinate_key__in=links.values("from_key"), user_id=user_id)
    return list(facts.defer("terms").order_by("-created_at", "-coordinate_key")[:MAX_COMPARED])

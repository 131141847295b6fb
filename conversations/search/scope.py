"""Restrict a search over memories to conversations that match a condition."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from django.db.models import Q, QuerySet, Sum

from conversations.messages import message_key
from conversations.models import Conversation
from conversations.search.filters import in_conversations
from memories import coordinates
from memories.selectors import Places
from tenants.models import Tenant

# For up to this many conversations, the query's conditions enumerate the messages.
_MAX_RANGES = 200
# For up to this many messages, all vectors are compared, and the vector index is not used.
_EXACT = 5_000


def places(tenant: Tenant, condition: Q | None, *, with_summaries: bool = False) -> Places | None:
    """Return where the messages of these conversations are stored, or None for everywhere."""
    if condition is None:
        return None
    conversations = Conversation.objects.for_tenant(tenant)
    few = list(conversations.filter(condition).values_list("key", "number", "last_turn")[: _MAX_RANGES + 1])
    if len(few) <= _MAX_RANGES and sum(last_turn for _, _, last_turn in few) <= _EXACT:
        turns = ((number, last_turn) for _, number, last_turn in few)
        enumerated = _subtrees(key for key, _, _ in few) if with_summaries else _turns(turns)
        return Places(in_conversations(tenant, condition), few=enumerated)
    return _many_places(tenant, conversations, condition, with_summaries=with_summaries)


def _many_places(
    tenant: Tenant, conversations: QuerySet[Conversation], condition: Q, *, with_summaries: bool
) -> Places:
    inside = in_conversations(tenant, condition)
    turns = conversations.aggregate(inside=Sum("last_turn", filter=condition), all=Sum("last_turn"))
    turns_inside, all_turns = turns["inside"] or 0, turns["all"] or 0
    if turns_inside <= _EXACT and not with_summaries:
        return Places(inside, few=_turns(conversations.filter(condition).values_list("number", "last_turn")))
    return Places(inside, share=min(1.0, turns_inside / max(all_turns, 1)))


def _turns(conversations: Iterable[tuple[int, int]]) -> Q:
    """Return a condition for all messages of these conversations, each given as (number, last turn).

    The condition lists the keys of all messages, because 200 range conditions would take 1.5 times as long.
    """
    keys = (message_key(number, turn) for number, last_turn in conversations for turn in range(1, last_turn + 1))
    return Q(coordinate_key__among=set(islice(keys, 2 * _EXACT)))


def _subtrees(keys: Iterable[str]) -> Q:
    ranges = [
        Q(coordinate_key__gte=low, coordinate_key__lt=high)
        for low, high in (coordinates.from_key(key).subtree for key in keys)
    ]
    return Q(*ranges, _connector=Q.OR) if ranges else Q(pk__in=[])

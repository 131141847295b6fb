"""Proposals to supersede facts: a queue of open decisions, and a record of past ones.

A change that is certain is recorded as accepted. Accepting a proposal ends the older fact's validity. Undoing the
decision restores the validity and reopens the proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from conversations.lookup import with_derived
from conversations.models import Conversation, Proposal
from graph import supersession_links
from memories import selectors, supersession
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS
from memories.supersession import Replacement
from somamemory import cursors
from somamemory.db.collisions import retrying
from somamemory.errors import Conflict, NotFound
from tenants import audit, usage
from tenants.caller import Caller

State = Proposal.State
_BATCH = 500


@dataclass(frozen=True)
class Proposed:
    """A proposal with its facts. A fact is None if it has been deleted."""

    proposal: Proposal
    newer: Memory | None
    older: Memory | None


@dataclass(frozen=True)
class Page:
    items: list[Proposed]
    next_cursor: str | None


def page(caller: Caller, state: str, limit: int, cursor: str | None = None) -> Page:
    """Return a page of the proposals in the given state, newest first."""
    caller.require("read", [CONVERSATIONS])
    of_list = cursors.list_id("proposals", state)
    rows = _rows(caller).filter(state=state).order_by("-created_at", "-id")
    if cursor:
        made_for, created_at, id = cursors.decode(cursor, str, datetime, UUID)
        if made_for != of_list:
            raise cursors.invalid()
        rows = rows.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=id))
    found = list(rows[: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    next_cursor = None if last is None else cursors.encode(of_list, last.created_at, last.id)
    return Page(_with_facts(caller, found[:limit]), next_cursor)


def accept(caller: Caller, id: UUID) -> Proposed:
    """Accept a proposal: supersede the older fact.

    Raises NotFound if the proposal does not exist, and Conflict if it is not open or one of its facts has been deleted.
    """
    return _decide(caller, id, {State.OPEN}, State.ACCEPTED, _supersede)


def reject(caller: Caller, id: UUID) -> Proposed:
    """Reject a proposal: keep both facts.

    Raises NotFound if the proposal does not exist, and Conflict if it is not open.
    """
    return _decide(caller, id, {State.OPEN}, State.REJECTED, lambda caller, proposed: None)


def undo(caller: Caller, id: UUID) -> Proposed:
    """Reopen a proposal that was accepted or rejected.

    Raises NotFound if the proposal does not exist. Raises Conflict if it is open, or if it was accepted and one of its
    facts has been deleted.
    """
    return _decide(caller, id, {State.ACCEPTED, State.REJECTED}, State.OPEN, _reinstate)


def record(caller: Caller, newer: Memory, older: Memory, reason: str, confidence: float, is_certain: bool) -> None:
    """Record a change, unless it is already recorded. Supersede the older fact if the change is certain.

    Must be called in a transaction.
    """
    facts = {"newer_id": newer.id, "older_id": older.id}
    if _rows(caller).filter(**facts).exists():
        return
    proposal = Proposal(tenant=caller.tenant, **facts, reason=reason, confidence=confidence, user_id=newer.user_id)
    proposal.bytes = proposal.size()
    if is_certain:
        _settle(caller, proposal, State.ACCEPTED)
        _supersede(caller, Proposed(proposal, newer, older))
    proposal.save(force_insert=True)
    usage.add(caller.tenant, 0, proposal.bytes)


def set_user(caller: Caller, conversation: Conversation) -> None:
    """Set the user of the proposals whose newer facts are in a conversation. Must be called in a transaction."""
    newer = _facts_of(caller, conversation).values("id")
    _rows(caller).filter(newer_id__in=newer).update(user_id=conversation.user_id)


def relink(caller: Caller, conversation: Conversation) -> None:
    """Recreate the links between a conversation's restored facts and the facts that they supersede, or vice versa.

    Must be called in a transaction.
    """
    of_conversation = _facts_of(caller, conversation).values("id")
    either = Q(newer_id__in=of_conversation) | Q(older_id__in=of_conversation)
    accepted = list(_rows(caller).filter(either, state=State.ACCEPTED).order_by("id"))
    for start in range(0, len(accepted), _BATCH):
        proposed = _with_facts(caller, accepted[start : start + _BATCH])
        replacements = [
            Replacement(pair.newer, pair.older, pair.proposal.reason) for pair in proposed if pair.newer and pair.older
        ]
        supersession_links.link(caller, replacements)


def forget(caller: Caller, purged: Sequence[Memory]) -> None:
    """Remove the proposals about purged facts, in the same transaction."""
    ids = [memory.id for memory in purged if memory.namespace == FACTS]
    if not ids:
        return
    of_facts = _rows(caller).filter(Q(newer_id__among=ids) | Q(older_id__among=ids))
    rows = list(of_facts.order_by("id").select_for_update())
    _rows(caller).filter(id__among=[row.id for row in rows]).delete()
    usage.add(caller.tenant, 0, -sum(row.bytes for row in rows))


def _decide(
    caller: Caller, id: UUID, before: set[str], after: str, act: Callable[[Caller, Proposed], None]
) -> Proposed:
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    return retrying(lambda: _decided(caller, id, before, after, act))


def _decided(
    caller: Caller, id: UUID, before: set[str], after: str, act: Callable[[Caller, Proposed], None]
) -> Proposed:
    """Run the transaction of `_decide`."""
    proposal = _rows(caller).select_for_update().filter(id=id).first()
    if proposal is None:
        raise NotFound(f"there is no proposal with id '{id}'")
    if proposal.state not in before:
        raise Conflict(
            f"the proposal is already {proposal.state}; undo the decision first"
            if State.OPEN in before
            else "the proposal is open; there is no decision to undo"
        )
    [proposed] = _with_facts(caller, [proposal], locked=True)
    act(caller, proposed)
    _settle(caller, proposal, after)
    proposal.save()
    audit.record(caller, f"proposal.{after}", [str(id)], FACTS)
    return _with_facts(caller, [proposal])[0]


def _settle(caller: Caller, proposal: Proposal, state: str) -> None:
    proposal.state = state
    proposal.decided_at = None if state == State.OPEN else timezone.now()
    proposal.decided_by = None if state == State.OPEN else caller.actor


def _supersede(caller: Caller, proposed: Proposed) -> None:
    newer, older = _both(proposed)
    proposed.proposal.former_valid_to = older.valid_to
    supersession.supersede(_writer(caller), [(newer, [older.id])], proposed.proposal.reason)


def _reinstate(caller: Caller, proposed: Proposed) -> None:
    if proposed.proposal.state == State.ACCEPTED:
        newer, older = _both(proposed)
        supersession.reinstate(_writer(caller), newer, older, _end_without(caller, proposed.proposal, newer))
        supersession_links.unlink(_writer(caller), Replacement(newer, older))


def _end_without(caller: Caller, undone: Proposal, newer: Memory) -> datetime | None:
    """Return the end of the older fact's validity without a decision, as other decisions may have ended it, too."""
    others = _rows(caller).filter(older_id=undone.older_id, state=State.ACCEPTED).exclude(id=undone.id)
    others.filter(former_valid_to=newer.valid_from).update(former_valid_to=undone.former_valid_to)
    superseding = Memory.objects.for_tenant(caller.tenant).filter(namespace=FACTS, id__in=others.values("newer_id"))
    ends = [undone.former_valid_to, *superseding.values_list("valid_from", flat=True)]
    return min((end for end in ends if end is not None), default=None)


def _both(proposed: Proposed) -> tuple[Memory, Memory]:
    if proposed.newer is None or proposed.older is None:
        raise Conflict("one of the proposal's facts has been deleted")
    return proposed.newer, proposed.older


def _writer(caller: Caller) -> Caller:
    return with_derived(caller).writing_reserved()


def _with_facts(caller: Caller, rows: Sequence[Proposal], *, locked: bool = False) -> list[Proposed]:
    ids = {id for row in rows for id in (row.newer_id, row.older_id)}
    facts = selectors.live(with_derived(caller), [FACTS]).filter(id__among=ids).defer("terms").order_by()
    if locked:
        facts = facts.select_for_update().order_by("coordinate_key")
    by_id = {fact.id: fact for fact in facts}
    return [Proposed(row, by_id.get(row.newer_id), by_id.get(row.older_id)) for row in rows]


def _facts_of(caller: Caller, conversation: Conversation) -> QuerySet[Memory]:
    """Return the facts of a conversation, including deleted ones."""
    low, high = conversation.root.subtree
    facts: QuerySet[Memory] = Memory.objects.for_tenant(caller.tenant).filter(namespace=FACTS)
    return facts.filter(coordinate_key__gte=low, coordinate_key__lt=high)


def _rows(caller: Caller) -> QuerySet[Proposal]:
    rows: QuerySet[Proposal] = Proposal.objects.for_tenant(caller.tenant)
    return rows

"""Assemble the context for the next prompt: gather candidates, apply the selection rules, and return the result.

The candidates come from a search for the query (which also finds summaries, if there are any), the last messages of
pinned conversations, recent messages from conversations with preferred labels, and the turns before and after the best
of these candidates. Excluded folders are left out, and so are archived conversations unless the request includes them.
No language model is involved.

For a key that is restricted to namespaces other than `conversations`, the candidates are only memories.
"""

from __future__ import annotations

from django.utils import timezone

from conversations.context import pack, rules
from conversations.context.candidates import OF_CONVERSATIONS
from conversations.context.gather import Gathered, gather, gather_memories
from conversations.context.types import Context, ContextRequest
from conversations.lookup import with_derived
from conversations.search.results import COLD, has_cold_conversations
from memories import read_counts
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller

# Maximum number of rejected candidates that a context lists.
MAX_REJECTED = 1_000


@may_read_replica
def assemble_context(caller: Caller, request: ContextRequest) -> Context:
    """Return the most valuable messages that fit the budget. Raises the same errors as a search."""
    only_memories = _only_memories(caller, request)
    caller.require("read", request.namespaces if only_memories else [CONVERSATIONS])
    as_of = request.as_of or timezone.now().replace(minute=0, second=0, microsecond=0)
    gathered = (gather_memories if only_memories else gather)(with_derived(caller), request, as_of)
    packed = pack.pack(gathered.candidates, gathered.days, request)
    rejected = [*packed.rejected, *gathered.duplicates, *gathered.excluded][:MAX_REJECTED]
    items = [gathered.item(candidate) for candidate in packed.chosen]
    read_counts.count([item.message for item in items if request.shown])
    return Context(
        items=items,
        rejected=[(gathered.item(rejection.candidate), rejection) for rejection in rejected],
        used_tokens=sum(candidate.tokens for candidate in packed.chosen),
        budget=request.budget,
        target=request.target,
        hash=rules.fingerprint([request.query, request.budget, request.order], packed.chosen),
        as_of=as_of,
        degraded=sorted(gathered.degraded) if only_memories else _degraded(caller, request, gathered),
    )


def _only_memories(caller: Caller, request: ContextRequest) -> bool:
    """Return whether the caller cannot read conversations, but requests memories from other namespaces."""
    is_restricted = bool(caller.namespaces) and CONVERSATIONS not in caller.namespaces
    return is_restricted and not OF_CONVERSATIONS.issuperset(request.namespaces)


def _degraded(caller: Caller, request: ContextRequest, gathered: Gathered) -> list[str]:
    cold = {COLD} if request.include_archived and has_cold_conversations(caller.tenant) else set()
    return sorted({*gathered.degraded, *cold})

"""Search messages by meaning and by keyword."""

from __future__ import annotations

from dataclasses import replace

from conversations.search.filters import Condition, translate
from conversations.search.results import COLD, MessageResults, has_cold_conversations, with_conversations
from conversations.search.scope import places
from memories.models import NO_IDS, Ids
from memories.reserved_namespaces import CONVERSATIONS
from memories.search import hybrid
from memories.search.hybrid import KEYWORD, Search
from memories.selectors import Narrowing
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller


@may_read_replica
def search_messages(
    caller: Caller,
    query: str,
    filters: object = None,
    *,
    limit: int = 10,
    offset: int = 0,
    include_archived: bool | None = None,
    min_relevance: float = 0.0,
    ids: Ids = NO_IDS,
    shown: bool = True,
) -> MessageResults:
    """Return the messages that best match a query. Raises InvalidInput if the filters are not valid.

    filters: JSON; see `conversations.search.filters`.
    ids: the user, agent and session of the messages.
    include_archived: whether to search archived conversations. None means that they are searched only if the filters
    contain a status or conversation ids.
    shown: whether the messages count as read.
    """
    caller.require("read", [CONVERSATIONS])
    condition = Condition() if filters is None else translate(caller.tenant, filters)
    archived = condition.names_archived if include_archived is None else include_archived
    request = Search(
        query,
        namespaces=(CONVERSATIONS,),
        narrowing=Narrowing(places=places(caller.tenant, condition.conversation), also=condition.message, **ids),
        top_k=limit,
        offset=offset,
        min_relevance=min_relevance,
        explain=True,
        include_archived=archived,
        shown=shown,
    )
    results = hybrid.search(caller, request)
    similarities = {hit.memory.id: (hit.scores or {}).get("semantic") for hit in results.hits}
    relevance = {hit.memory.id: hit.relevance for hit in results.hits}
    hits = [
        replace(hit, similarity=similarities[hit.message.id], relevance=relevance[hit.message.id])
        for hit in with_conversations(caller.tenant, ((hit.memory, hit.score) for hit in results.hits))
    ]
    incomplete = [] if results.every_match else [KEYWORD]
    cold = [COLD] if archived and has_cold_conversations(caller.tenant) else []
    return MessageResults(hits, results.total, sorted({*results.degraded, *incomplete, *cold}), results.next_offset)

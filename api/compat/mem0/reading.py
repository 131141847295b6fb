"""List and search with mem0's filters, and read memories by their mem0 ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from api.compat.changes import Changes
from api.compat.mem0 import names, presenters
from api.compat.mem0.filters import conditions
from api.compat.mem0.schemas import SearchBody
from api.json import JsonObject
from api.schemas import MAX_BULK
from memories import lookup
from memories.models import Memory
from memories.numbered_pages import NumberedPage, numbered_page
from memories.search import as_of
from memories.search.query import HYBRID, KEYWORD, Results, Search
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput
from tenants.caller import Caller

MAX_VERSIONS = 1_000


def page(caller: Caller, filters: Mapping[str, object], number: int, size: int) -> NumberedPage:
    """Return a page of the memories that match mem0's filters, newest first.

    Raises InvalidInput if the filters are not valid or name no entity.
    """
    return numbered_page(caller, names.namespaces(caller), _narrowing(dict(filters)), number, size)


def _narrowing(raw: JsonObject) -> Narrowing:
    """Return the conditions for a list or search. As in mem0, raises InvalidInput unless they name an entity."""
    wanted = conditions(raw)
    if not wanted.names_entity:
        raise InvalidInput("filters", "must contain user_id, agent_id, app_id or run_id; '*' matches any value")
    also = names.only_memories()
    return Narrowing(filters=wanted.filter, also=also if wanted.ids is None else also & wanted.ids)


def search(caller: Caller, body: SearchBody, changes: Changes) -> Results:
    """Return the results. Incomplete results are noted in `changes`, as mem0's responses have no field for this."""
    query = Search(
        query=body.query,
        namespaces=tuple(names.namespaces(caller)),
        narrowing=_narrowing(body.all_filters),
        mode=KEYWORD if body.keyword_search else HYBRID,
        top_k=body.top_k,
        min_relevance=body.threshold or 0.0,
    )
    results = as_of.search(caller, query)
    if results.degraded:
        changes.note("results", f"incomplete, because parts of the search are degraded: {', '.join(results.degraded)}")
    return results


def memory(caller: Caller, id: UUID) -> Memory:
    """Return a live memory. Raises NotFound."""
    return lookup.get(caller, *names.place(caller, id))


def history(caller: Caller, id: UUID) -> list[JsonObject]:
    """Return the latest versions of a memory, oldest first. Raises NotFound."""
    versions = lookup.history(caller, *names.place(caller, id), MAX_VERSIONS).items
    return presenters.history(str(id), versions)


def of_event(caller: Caller, event: UUID) -> Sequence[Memory]:
    """Return the live memories that a request stored, in the order of its messages."""
    below = Narrowing(also=lookup.below(str(event)))
    stored = numbered_page(caller, [names.MEM0], below, 1, MAX_BULK).items
    return sorted(stored, key=lambda memory: (len(memory.key or ""), memory.key))

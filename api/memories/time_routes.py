"""Routes for memory history."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query

from api import throttle
from api.json import JsonObject, reply
from api.memories import presenters
from api.memories.schemas import HistoryOut, HistoryParams, KeyHistoryParams, NamespacedHistoryParams
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import CoordText, Id
from memories import lookup
from memories.versions import Version, Versions
from somamemory.times import rfc3339, rfc3339_or_none

router = PolicyRouter("memories")


@router.get("/memories/{coord}/history", out=HistoryOut, limited=True)
def history(request: Request, coord: Path[CoordText], query: Query[NamespacedHistoryParams]) -> HttpResponse:
    """List the versions of the memory at a coordinate, newest first: who wrote them, when, and what changed."""
    throttle.charge(request, query.limit, per=100)
    return _reply(lookup.history(request.caller, query.namespace, coord, query.limit, query.cursor))


@router.get("/memories/history", out=HistoryOut, limited=True)
def history_by_key(request: Request, query: Query[KeyHistoryParams]) -> HttpResponse:
    """List the versions of a memory, identified by its key, newest first."""
    throttle.charge(request, query.limit, per=100)
    return _reply(lookup.history(request.caller, query.namespace, query.key, query.limit, query.cursor))


@router.get("/memories/by-id/{id}/history", out=HistoryOut, limited=True)
def history_by_id(request: Request, id: Path[Id], query: Query[HistoryParams]) -> HttpResponse:
    """List the versions of a memory, identified by its id, newest first: who wrote them, when, and what changed."""
    throttle.charge(request, query.limit, per=100)
    return _reply(lookup.history(request.caller, None, id, query.limit, query.cursor))


def _reply(page: Versions) -> HttpResponse:
    return reply({"items": [_version(item) for item in page.items], "next_cursor": page.next_cursor})


def _version(version: Version) -> JsonObject:
    row = version.row
    return {
        "version": row.version,
        "at": rfc3339(row.updated_at),
        "until": rfc3339_or_none(version.until),
        "by": row.written_by,
        "action": version.action,
        "changed": version.changed,
        "payload": row.payload,
        "memory_type": row.memory_type,
        "metadata": row.metadata,
        **row.ids,
        "importance": row.importance,
        "context": row.context,
        "expires_at": rfc3339_or_none(row.expires_at),
        **presenters.claims(row),
    }

"""mem0 platform routes for users, agents, apps and runs. Each of them exists as long as it has memories."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, names, presenters
from api.compat.mem0.schemas import EntityKind, PageParams, SourceParams
from api.json import reply
from api.request import Request, absolute_url
from memories import owners
from somamemory.errors import InvalidInput, NotFound
from tenants.caller import Caller

router = CompatRouter("mem0entities", prefix="/mem0")
# The maximum number of entities of each type in a list.
MAX_ENTITIES = 10_000
_COLUMNS = {"user": "user_id", "agent": "agent_id", "app": owners.APP, "run": "session_id"}
_FIELDS = {"user": "user_id", "agent": "agent_id", "app": "app_id", "run": "run_id"}


@router.get("/v1/entities/", out=None, kind="search", limited=True)
def entities(request: Request, query: Query[PageParams]) -> HttpResponse:
    """List users, agents, apps and runs, in that order, with each type sorted by name."""
    throttle.charge(request, query.page_size, per=100)
    caller = request.caller
    found = [owner for field in owners.FIELDS for owner in _owners(caller, field)]
    start = (query.page - 1) * query.page_size
    items = [presenters.entity(caller.tenant, owner) for owner in found[start : start + query.page_size]]
    url = absolute_url(request, request.path)
    return reply(presenters.page(len(found), items, url, query.page, query.page_size))


@router.get("/v2/entities/{kind}/{text:name}/", out=None, kind="search", limited=True)
def entity(request: Request, kind: EntityKind, name: str, query: Query[SourceParams]) -> HttpResponse:
    """Fetch a user, an agent, an app or a run."""
    caller = request.caller
    found = next((owner for owner in _owners(caller, _COLUMNS[kind]) if owner.name == name), None)
    if found is None:
        raise NotFound(f"no {kind} with this name has memories")
    return reply(presenters.entity(caller.tenant, found))


@router.delete("/v1/entities/{kind}/{entity_id}/", out=None, limited=True)
def delete_by_id(request: Request, kind: EntityKind, entity_id: str, query: Query[SourceParams]) -> HttpResponse:
    """Delete an entity's memories, given the id that `/v1/entities/` returns. For older clients.

    An entity without memories counts as deleted.
    """
    caller, id = request.caller, str(names.parsed(entity_id, "entity_id"))
    caller.require("delete", [names.MEM0])
    for owner in _owners(caller, _COLUMNS[kind]):
        if presenters.entity_id(caller.tenant, owner) == id:
            changing.delete_owned(caller, {_FIELDS[kind]: owner.name})
    return reply({"message": "Entity deleted successfully!"})


@router.delete("/v2/entities/{kind}/{text:name}/", out=None, limited=True)
def delete(request: Request, kind: EntityKind, name: str, query: Query[SourceParams]) -> HttpResponse:
    """Delete the memories of a user, an agent, an app or a run."""
    changing.delete_owned(request.caller, {_FIELDS[kind]: name})
    return reply({"message": "Entity deleted successfully!"})


def _owners(caller: Caller, field: str) -> list[owners.Owner]:
    found = owners.owners(caller, names.namespaces(caller), field, MAX_ENTITIES + 1)
    if len(found) > MAX_ENTITIES:
        raise InvalidInput(field, f"has more than {MAX_ENTITIES:,} values, which is too many to list; use filters")
    return found

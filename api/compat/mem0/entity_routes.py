"""Routes of the mem0 platform for users, agents, apps and runs, which exist as long as they have memories."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, names, presenters
from api.compat.mem0.schemas import EntityKind, PageParams, SourceParams
from api.json import reply
from api.request import Request
from memories import owners
from somamemory.errors import InvalidInput

router = CompatRouter("mem0entities", prefix="/mem0")
# The maximum number of entities of each kind that a list covers.
MAX_ENTITIES = 10_000
_FIELDS = {"user": "user_id", "agent": "agent_id", "app": "app_id", "run": "run_id"}


@router.get("/v1/entities/", out=None, kind="search", limited=True)
def entities(request: Request, query: Query[PageParams]) -> HttpResponse:
    """List users, agents, apps and runs, in this order, by name."""
    throttle.charge(request, query.page_size, per=100)
    caller, found = request.caller, []
    for field in owners.FIELDS:
        same = owners.owners(caller, names.namespaces(caller), field, MAX_ENTITIES + 1)
        if len(same) > MAX_ENTITIES:
            raise InvalidInput(field, f"there are more than {MAX_ENTITIES}, so they cannot be listed; use filters")
        found += same
    start = (query.page - 1) * query.page_size
    items = [presenters.entity(caller.tenant, owner) for owner in found[start : start + query.page_size]]
    url = request.build_absolute_uri(request.path)
    return reply(presenters.page(len(found), items, url, query.page, query.page_size))


@router.delete("/v2/entities/{kind}/{text:name}/", out=None, limited=True)
def delete(request: Request, kind: EntityKind, name: str, query: Query[SourceParams]) -> HttpResponse:
    """Delete the memories of a user, an agent, an app or a run."""
    changing.delete_owned(request.caller, {_FIELDS[kind]: name})
    return reply({"message": "Entity deleted successfully!"})

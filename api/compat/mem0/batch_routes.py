"""mem0 platform routes that change many memories."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.changes import changes_of
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, names
from api.compat.mem0.schemas import BatchDeleteBody, BatchUpdateBody, SourceParams
from api.json import reply
from api.request import Request

router = CompatRouter("mem0batch", prefix="/mem0")


@router.put("/v1/batch/", out=None, limited=True)
def update(request: Request, query: Query[SourceParams], body: BatchUpdateBody) -> HttpResponse:
    """Update memories one by one, after checking that all of them exist."""
    throttle.charge(request, len(body.memories), per=50)
    changes = []
    for index, item in enumerate(body.memories):
        item.accept(changes_of(request), f"memories.{index}.")
        changes.append((names.parsed(item.memory_id), item.changes))
    changing.update_many(request.caller, changes)
    return reply({"message": f"Successfully updated {len(changes)} memories"})


@router.delete("/v1/batch/", out=None, limited=True)
def delete(request: Request, query: Query[SourceParams], body: BatchDeleteBody) -> HttpResponse:
    """Delete memories, after checking that all of them exist."""
    throttle.charge(request, len(body.memories), per=50)
    count = changing.delete_many(request.caller, [names.parsed(item.memory_id) for item in body.memories])
    return reply({"message": f"Successfully deleted {count} memories"})

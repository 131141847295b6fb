"""mem0 platform routes for events. An event is a request that stored memories; nothing else is recorded."""

from __future__ import annotations

from itertools import groupby

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.layer import CompatRouter
from api.compat.mem0 import inference, names, presenters, reading
from api.compat.mem0.schemas import PageParams, SourceParams
from api.json import reply
from api.request import Request, absolute_url
from memories.numbered_pages import numbered_page
from memories.selectors import Narrowing

router = CompatRouter("mem0events", prefix="/mem0")


@router.get("/v1/event/{event_id}/", out=None, limited=True)
def event(request: Request, event_id: str, query: Query[SourceParams]) -> HttpResponse:
    """Fetch an event: the memories that it stored or, while a language model is processing it, its status."""
    id = names.parsed(event_id, "event_id")
    stored = reading.of_event(request.caller, id)
    if stored:
        return reply(presenters.event(str(id), "SUCCEEDED", stored, stored[0].created_at))
    return reply(inference.event(request.caller, id))


@router.get("/v1/events/", out=None, limited=True)
def events(request: Request, query: Query[PageParams]) -> HttpResponse:
    """List the events that stored a page of memories, newest first. `count` is the total number of memories."""
    throttle.charge(request, query.page_size, per=100)
    page = numbered_page(request.caller, [names.MEM0], Narrowing(), query.page, query.page_size)
    groups = [(id, list(memories)) for id, memories in groupby(page.items, key=names.event_of)]
    items = [presenters.event(id, "SUCCEEDED", memories, memories[0].created_at) for id, memories in groups]
    url = absolute_url(request, request.path)
    return reply(presenters.page(page.count, items, url, query.page, query.page_size))

"""Sekha's routes for conversations."""

from __future__ import annotations

from uuid import UUID

import orjson
from django.db import transaction
from django.http import HttpResponse

from api.compat.changes import changes_of
from api.compat.lenient import Json, LenientRouter, valid
from api.compat.sekha import messages
from api.compat.sekha.lists import page_of
from api.compat.sekha.requests import PREFIX, body_of, parameters
from api.conversations import routes
from api.conversations.schemas import (
    ConversationBody,
    ConversationDeleteParams,
    CountParams,
    FolderBody,
    LabelBody,
    MessagesBody,
    StatusBody,
)
from api.json import JsonObject
from api.request import Request
from api.schemas import MAX_BULK, Id

router = LenientRouter("sekha", prefix=PREFIX)


@router.post("/api/v1/conversations", out=None, limited=True)
def create(request: Request, body: Json) -> HttpResponse:
    """Create a conversation with any number of messages, in one transaction."""
    return created(request, body)


def created(request: Request, body: JsonObject) -> HttpResponse:
    said = messages.translated(body.get("messages"), changes_of(request))
    first = body_of(request, {**body, "messages": said[:MAX_BULK]}, ConversationBody)
    if len(said) <= MAX_BULK:
        return routes.create(request, first)
    rest = [
        valid(MessagesBody, {"messages": said[start : start + MAX_BULK]})
        for start in range(MAX_BULK, len(said), MAX_BULK)
    ]
    with transaction.atomic():
        response = routes.create(request, first)
        conversation = orjson.loads(response.content)
        for batch in rest:
            routes.append(request, UUID(conversation["id"]), batch)
    response.content = orjson.dumps({**conversation, "message_count": len(said)})
    return response


@router.get("/api/v1/conversations", out=None, limited=True)
def list_conversations(request: Request) -> HttpResponse:
    """List conversations by page and page_size, or by limit and offset."""
    return page_of(request)


@router.get("/api/v1/conversations/count", out=None, limited=True)
def count(request: Request) -> HttpResponse:
    return routes.count(request, parameters(request, CountParams))


@router.get("/api/v1/conversations/{id}", out=None, limited=True)
def fetch(request: Request, id: Id) -> HttpResponse:
    return routes.fetch(request, id)


@router.delete("/api/v1/conversations/{id}", out=None, limited=True)
def delete(request: Request, id: Id) -> HttpResponse:
    return routes.delete(request, id, ConversationDeleteParams())


@router.put("/api/v1/conversations/{id}/label", out=None, limited=True)
def set_label(request: Request, id: Id, body: Json) -> HttpResponse:
    return routes.set_label(request, id, body_of(request, body, LabelBody))


@router.put("/api/v1/conversations/{id}/folder", out=None, limited=True)
def set_folder(request: Request, id: Id, body: Json) -> HttpResponse:
    return routes.set_folder(request, id, body_of(request, body, FolderBody))


@router.put("/api/v1/conversations/{id}/status", out=None, limited=True)
def set_status(request: Request, id: Id, body: Json) -> HttpResponse:
    return routes.set_status(request, id, body_of(request, body, StatusBody))


@router.put("/api/v1/conversations/{id}/pin", out=None, limited=True)
def pin(request: Request, id: Id) -> HttpResponse:
    return routes.pin(request, id)


@router.put("/api/v1/conversations/{id}/archive", out=None, limited=True)
def archive(request: Request, id: Id) -> HttpResponse:
    return routes.archive(request, id)

"""Routes for conversations and their messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from ninja import Query

from api.conversations import presenters
from api.conversations.schemas import (
    ChangedOut,
    ConversationBody,
    ConversationDeletedOut,
    ConversationDeleteParams,
    ConversationListParams,
    ConversationOut,
    ConversationPatch,
    ConversationsOut,
    CountOut,
    CountParams,
    DeletedConversationsOut,
    FolderBody,
    LabelBody,
    MessageBody,
    MessageListParams,
    MessagesBody,
    MessagesOut,
    StatusBody,
)
from api.json import reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import ExternalId, Id
from conversations import restoring, selectors, services
from conversations.messages import NewMessage
from conversations.query import ConversationQuery
from conversations.services import NewConversation
from somamemory.errors import InvalidInput

router = PolicyRouter("conversations")
_EMPTY_CONVERSATION = ConversationBody()


@router.post("/conversations", out={201: ConversationOut}, limited=True)
def create(request: Request, body: ConversationBody) -> HttpResponse:
    """Create a conversation, optionally with its first messages."""
    return reply(presenters.conversation(services.create(request.caller, _new_conversation(body))), 201)


@router.put(
    "/conversations/by-external-id/{external_id}", out={200: ConversationOut, 201: ConversationOut}, limited=True
)
def create_once(
    request: Request, external_id: ExternalId, body: ConversationBody = _EMPTY_CONVERSATION
) -> HttpResponse:
    """Create a conversation with your own id, or return the existing conversation unchanged.

    The id must have 1 to 255 characters, contain no slash, and not be `.` or `..`. It is unique within the tenant. The
    body can be omitted.
    """
    new = replace(_new_conversation(body), external_id=external_id)
    conversation, created = services.create_once(request.caller, new)
    return reply(presenters.conversation(conversation), 201 if created else 200)


@router.get("/conversations/by-external-id/{external_id}", out=ConversationOut, limited=True)
def fetch_by_external_id(request: Request, external_id: ExternalId) -> HttpResponse:
    """Fetch a conversation by your own id, without its messages."""
    return reply(presenters.conversation(selectors.get_by_external_id(request.caller, external_id)))


@router.get("/conversations/by-external-id/{external_id}/messages", out=MessagesOut, limited=True)
def messages_by_external_id(request: Request, external_id: ExternalId, query: Query[MessageListParams]) -> HttpResponse:
    """List a conversation's messages by turn. The conversation is identified by your own id."""
    conversation = selectors.get_by_external_id(request.caller, external_id)
    return messages(request, conversation.id, query)


@router.post("/conversations/by-external-id/{external_id}/messages", out={201: MessagesOut}, limited=True)
def append_by_external_id(request: Request, external_id: ExternalId, body: MessagesBody) -> HttpResponse:
    """Append messages to a conversation in one transaction. The conversation is identified by your own id."""
    added = services.append_by_external_id(request.caller, external_id, _new_messages(body.messages))
    return reply(presenters.appended(*added), 201)


@router.get("/conversations", out=ConversationsOut, limited=True)
def list_conversations(request: Request, query: Query[ConversationListParams]) -> HttpResponse:
    """List conversations, most recently changed first. Select pages by number or by cursor."""
    if (query.page or query.page_size) and (query.cursor or query.limit):
        raise InvalidInput("cursor", "cannot be combined with page; send cursor and limit, or page and page_size")
    size = query.page_size or query.limit or 50
    page = query.page or 1
    rows = selectors.list_conversations(request.caller, _criteria(query), limit=size, page=page, cursor=query.cursor)
    return reply(
        {
            "results": [presenters.listed_conversation(row) for row in rows.items],
            "total": rows.total,
            "page": page,
            "page_size": size,
            "next_cursor": rows.next_cursor,
        }
    )


@router.get("/conversations/count", out=CountOut, limited=True)
def count(request: Request, query: Query[CountParams]) -> HttpResponse:
    """Count the conversations with a label, in a folder, or both."""
    number = selectors.count(request.caller, ConversationQuery(label=query.label, folder=query.folder, **query.ids))
    return reply({"count": number, "label": query.label, "folder": query.folder})


@router.get("/conversations/deleted", out=DeletedConversationsOut, limited=True)
def list_deleted(request: Request, query: Query[MessageListParams]) -> HttpResponse:
    """List the deleted conversations that can still be restored, most recently deleted first."""
    page = restoring.page(request.caller, limit=query.limit, cursor=query.cursor)
    return reply({"items": list(map(presenters.deleted_conversation, page.items)), "next_cursor": page.next_cursor})


@router.get("/conversations/{id}", out=ConversationOut, limited=True)
def fetch(request: Request, id: Id) -> HttpResponse:
    """Fetch a conversation without its messages."""
    return reply(presenters.conversation(selectors.get(request.caller, id)))


@router.patch("/conversations/{id}", out=ChangedOut, limited=True)
def patch(request: Request, id: Id, body: ConversationPatch) -> HttpResponse:
    """Change a conversation's label, folder, status, importance or metadata."""
    changes = body.required_changes()
    if "importance_score" in changes:
        changes["importance"] = changes.pop("importance_score")
    return _change(request, id, changes)


@router.delete("/conversations/{id}", out=ConversationDeletedOut, limited=True)
def delete(request: Request, id: Id, query: Query[ConversationDeleteParams]) -> HttpResponse:
    """Delete a conversation with its messages.

    It can be restored during the retention period, unless `purge` is true.
    """
    services.delete(request.caller, id, purge=query.purge)
    return reply({"success": True, "id": str(id)})


@router.post("/conversations/{id}/restore", out=ChangedOut, limited=True)
def restore(request: Request, id: Id) -> HttpResponse:
    """Restore a deleted conversation with its messages, summaries, facts and links, during the retention period."""
    return reply(presenters.changed_conversation(restoring.restore(request.caller, id)))


@router.get("/conversations/{id}/messages", out=MessagesOut, limited=True)
def messages(request: Request, id: Id, query: Query[MessageListParams]) -> HttpResponse:
    """List a conversation's messages by turn."""
    page = selectors.messages(request.caller, id, limit=query.limit, cursor=query.cursor)
    return reply(
        {
            "items": [presenters.message(message, page.conversation) for message in page.items],
            "total": page.conversation.message_count,
            "next_cursor": page.next_cursor,
        }
    )


@router.post("/conversations/{id}/messages", out={201: MessagesOut}, limited=True)
def append(request: Request, id: Id, body: MessagesBody) -> HttpResponse:
    """Append messages to a conversation in one transaction. The response contains the added messages."""
    added = services.append(request.caller, id, _new_messages(body.messages))
    return reply(presenters.appended(*added), 201)


@router.put("/conversations/{id}/label", out=ChangedOut, limited=True)
def set_label(request: Request, id: Id, body: LabelBody) -> HttpResponse:
    """Set a conversation's label and, if the request contains a folder, its folder."""
    return _change(request, id, body.changes())


@router.put("/conversations/{id}/folder", out=ChangedOut, limited=True)
def set_folder(request: Request, id: Id, body: FolderBody) -> HttpResponse:
    """Move a conversation to another folder."""
    return _change(request, id, {"folder": body.folder})


@router.put("/conversations/{id}/status", out=ChangedOut, limited=True)
def set_status(request: Request, id: Id, body: StatusBody) -> HttpResponse:
    """Set a conversation's status: active, pinned or archived."""
    return _change(request, id, {"status": body.status})


@router.put("/conversations/{id}/pin", out=ChangedOut, limited=True)
def pin(request: Request, id: Id) -> HttpResponse:
    """Pin a conversation and set its importance to 10."""
    return reply(presenters.changed_conversation(services.pin(request.caller, id)))


@router.put("/conversations/{id}/archive", out=ChangedOut, limited=True)
def archive(request: Request, id: Id) -> HttpResponse:
    """Archive a conversation. Searches and contexts skip it unless the request includes archived conversations."""
    return reply(presenters.changed_conversation(services.archive(request.caller, id)))


def _new_conversation(body: ConversationBody) -> NewConversation:
    new = NewConversation(
        label=body.label or "",
        folder=body.folder or "",
        messages=_new_messages(body.messages),
        metadata=body.metadata,
        **body.ids,
    )
    return new if body.importance_score is None else replace(new, importance=body.importance_score)


def _criteria(query: ConversationListParams) -> ConversationQuery:
    return ConversationQuery(
        label=query.label,
        folder=query.folder,
        status=query.status,
        pinned=query.pinned,
        archived=query.archived,
        part_of_label=query.q,
        **query.ids,
    )


def _change(request: Request, id: Id, changes: dict[str, Any]) -> HttpResponse:
    return reply(presenters.changed_conversation(services.change(request.caller, id, changes)))


def _new_messages(bodies: Iterable[MessageBody]) -> list[NewMessage]:
    return [_new_message(body) for body in bodies]


def _new_message(body: MessageBody) -> NewMessage:
    return NewMessage(body.role, body.text, body.metadata, body.timestamp, body.more)

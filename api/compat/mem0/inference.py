"""Requests with `infer=true` and a language model: the messages become a conversation, and the facts job extracts its
facts.

The event for such a request has the conversation's id.
"""

from __future__ import annotations

from uuid import UUID

from api.compat.mem0 import presenters
from api.compat.mem0.schemas import AddBody
from api.json import JsonObject
from conversations import llm, selectors, services
from conversations.enrichment import facts
from conversations.messages import NewMessage
from conversations.models import Conversation
from conversations.query import ConversationQuery
from conversations.services import NewConversation
from memories.new_memory import check_expiry
from memories.owners import APP
from memories.reserved_namespaces import CONVERSATIONS
from somamemory import deadline
from somamemory.times import rfc3339
from tenants.caller import Caller

FOLDER = "/mem0"
MAX_RESULTS = 1_000
_STATUS = {"done": "SUCCEEDED", "failed": "FAILED", "running": "RUNNING"}


def is_possible() -> bool:
    return llm.current() is not None


def start(caller: Caller, body: AddBody) -> Conversation:
    """Store the messages, and queue the extraction of their facts. Raises InvalidInput if they have already expired."""
    check_expiry(body.expiration_date)
    said = [
        NewMessage(role if role in ("user", "assistant", "system", "tool") else "user", text, timestamp=body.timestamp)
        for role, text in body.said
    ]
    inherited: JsonObject = {"metadata": body.metadata or {}}
    if body.source is not None:
        inherited["source"] = body.source
    if body.expiration_date is not None:
        inherited["expires_at"] = rfc3339(body.expiration_date)
    conversation = services.create(
        caller,
        NewConversation(
            folder=FOLDER,
            messages=said,
            metadata={facts.INHERITED: inherited},
            **body.people,
        ),
    )
    facts.request(caller, conversation.id)
    return conversation


def event(caller: Caller, id: UUID) -> JsonObject:
    """Return the event for a conversation. Raises NotFound."""
    progress = facts.progress(caller, id)
    found = facts.of_conversation(caller, progress.conversation, limit=MAX_RESULTS)
    status = _STATUS.get(progress.state, "PENDING")
    return presenters.event(str(id), status, found.items, progress.conversation.created_at)


def forget(caller: Caller, owners: dict[str, str]) -> None:
    """Delete the conversations that `start` stored for these owners, and their facts. `*` means any owner."""
    if caller.namespaces and CONVERSATIONS not in caller.namespaces:
        return
    exact = {field: value for field, value in owners.items() if value != "*" and field != APP}
    query = ConversationQuery(
        folder=FOLDER,
        user_id=exact.get("user_id"),
        agent_id=exact.get("agent_id"),
        session_id=exact.get("run_id"),
    )
    cursor = None
    while True:
        deadline.check()
        page = selectors.list_conversations(caller, query, cursor=cursor)
        for conversation in page.items:
            if _belongs(conversation, owners):
                services.delete(caller, conversation.id)
        cursor = page.next_cursor
        if cursor is None:
            return


def _belongs(conversation: Conversation, owners: dict[str, str]) -> bool:
    source = facts.Inherited.of(conversation).source or {}
    of = {
        "user_id": conversation.user_id,
        "agent_id": conversation.agent_id,
        "run_id": conversation.session_id,
        APP: source.get(APP),
    }
    return all(of[field] == value or (value == "*" and of[field] is not None) for field, value in owners.items())

"""Store the messages of a request as memories, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from api.compat.mem0.names import MEM0
from api.compat.mem0.schemas import AddBody
from api.json import JsonObject
from memories import services
from memories.addresses import key
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.owners import APP
from tenants.caller import Caller


def verbatim(caller: Caller, body: AddBody, event: UUID) -> Sequence[Memory]:
    """Store each message as a memory, in one transaction."""
    items = [
        NewMemory(
            coordinate=None,
            key=key(f"{event}/{number}"),
            namespace=MEM0,
            payload={"text": text, "role": role},
            metadata=body.metadata or {},
            created_at=body.timestamp,
            expires_at=body.expiration_date,
            source=source(body.app_id),
            user_id=body.user_id,
            agent_id=body.agent_id,
            session_id=body.run_id,
        )
        for number, (role, text) in enumerate(body.said)
    ]
    return [stored.memory for stored in services.store_many(caller, items)]


def source(app_id: str | None) -> JsonObject | None:
    return None if app_id is None else {APP: app_id}

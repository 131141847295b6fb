"""Store a request's messages: word for word or, with a language model, as facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from api.compat.mem0 import inference
from api.compat.mem0.names import MEM0
from api.compat.mem0.schemas import AddBody
from api.json import JsonObject
from memories import services
from memories.addresses import key
from memories.models import Memory
from memories.new_memory import NewMemory
from tenants.caller import Caller

VERBATIM = "stored word for word, because no language model is configured (SOMA_LLM_PROVIDER)"


@dataclass(frozen=True)
class Added:
    """The result of storing messages.

    If a language model has yet to extract the facts, `memories` is empty and `status` is PENDING.
    """

    event_id: UUID
    status: str
    message: str
    memories: Sequence[Memory] = ()

    @property
    def event(self) -> JsonObject:
        return {"event_id": str(self.event_id), "status": self.status, "message": self.message}


def add(caller: Caller, body: AddBody) -> Added:
    if body.infer and inference.is_possible():
        message = "Memory processing has been queued for background execution"
        return Added(inference.start(caller, body).id, "PENDING", message)
    event = uuid4()
    message = VERBATIM if body.infer else "Memories stored word for word"
    return Added(event, "SUCCEEDED", message, _verbatim(caller, body, event))


def _verbatim(caller: Caller, body: AddBody, event: UUID) -> Sequence[Memory]:
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
            source=body.source,
            **body.people,
        )
        for number, (role, text) in enumerate(body.said)
    ]
    return [stored.memory for stored in services.store_many(caller, items)]

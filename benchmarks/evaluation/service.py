"""The embedded service that is evaluated: store conversations, search, and assemble contexts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.evaluation.data import Conversation, Turn

if TYPE_CHECKING:
    from memories.search.query import Search
    from memories.search.relevance import Signals
    from tenants.caller import Caller

BATCH = 200
LONG_PAGE = 100  # number of hits from which to fill the token budgets


@dataclass(frozen=True)
class Found:
    """The ids and texts of the hits, best first, and the duration of the search.

    signals: the signals of a search, or None for a context.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    ms: float
    signals: Signals | None = None

    @property
    def probability(self) -> float:
        """Return the probability that the hits contain the answer."""
        return self.signals.probability if self.signals else float(bool(self.ids))


def start(folder: Path, database: str = "") -> None:
    """Start the service in this process, with its data in a folder or a database. Other settings apply as usual."""
    os.environ |= {"SOMA_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "somamemory.settings"}
    os.environ.setdefault("SOMA_SECRET_KEY", os.urandom(32).hex())  # PostgreSQL requires a secret key
    os.environ.setdefault("SOMA_LOG_LEVEL", "ERROR")
    os.environ.pop("SOMA_DATABASE_URL", None)
    if database:
        os.environ["SOMA_DATABASE_URL"] = database
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def stop() -> None:
    """Close the connections, so that the database can be dropped."""
    from django.db import connections

    connections.close_all()


class Store:
    """A tenant with one set's conversations. Each is stored as memories in a namespace and as messages in a folder."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @classmethod
    def create(cls, slug: str) -> Store:
        from tenants.caller import Caller
        from tenants.models import Tenant

        return cls(Caller.command(Tenant.objects.create(slug=slug, name=slug)))

    def add(self, conversation: Conversation, *, with_context: bool) -> None:
        """Store the turns as memories.

        If `with_context` is true, store each turn with the previous turn of its session as its context.
        """
        from memories import coordinates, services
        from memories.new_memory import NewMemory

        items, previous = [], None
        for number, turn in enumerate(conversation.turns):
            context = previous.spoken if with_context and previous and previous.session == turn.session else ""
            coordinate, payload = coordinates.of([1, number]), {"text": turn.spoken}
            metadata = _metadata(turn)
            items.append(NewMemory(coordinate, payload, conversation.name, metadata=metadata, context=context))
            previous = turn
        for first in range(0, len(items), BATCH):
            services.store_many(self.caller, items[first : first + BATCH])

    def add_messages(self, conversation: Conversation) -> None:
        """Store the turns as the messages of a conversation. The first speaker is the user."""
        from conversations import services
        from conversations.messages import NewMessage

        first_speaker = conversation.turns[0].speaker
        messages = [
            NewMessage("user" if turn.speaker == first_speaker else "assistant", turn.spoken, _metadata(turn))
            for turn in conversation.turns
        ]
        created = services.create(self.caller, services.NewConversation(folder=f"/{conversation.name}"))
        for first in range(0, len(messages), BATCH):
            services.append(self.caller, created.id, messages[first : first + BATCH])

    def index(self) -> None:
        """Add everything that is not yet indexed to the vector index."""
        from memories.index import drain

        while drain.drain():
            pass

    def search(self, name: str, query: str, mode: str, top_k: int) -> Found:
        """Search the memories of a conversation."""
        from memories.search.query import Search

        return self._search(self.caller, Search(query, namespaces=(name,), mode=mode, top_k=top_k, shown=False))

    def search_folder(self, name: str, query: str, mode: str, top_k: int) -> Found:
        """Search the messages of a conversation, as context assembly does."""
        from conversations.lookup import with_derived
        from conversations.query import in_folder
        from conversations.search.scope import places
        from memories.reserved_namespaces import CONVERSATIONS, SUMMARIES
        from memories.search.query import Search
        from memories.selectors import Narrowing

        of_folder = Narrowing(places=places(self.caller.tenant, in_folder(f"/{name}"), with_summaries=True))
        search = Search(query, (CONVERSATIONS, SUMMARIES), narrowing=of_folder, mode=mode, top_k=top_k, shown=False)
        return self._search(with_derived(self.caller), search)

    def _search(self, caller: Caller, search: Search) -> Found:
        from memories import payloads
        from memories.search import hybrid

        began = time.perf_counter()
        results = hybrid.search(caller, search)
        ms = (time.perf_counter() - began) * 1000
        texts = [payloads.text_of(hit.memory.payload) for hit in results.hits]
        return Found([hit.memory.metadata["turn"] for hit in results.hits], texts, ms, results.signals)

    def context(self, name: str, query: str, budget: int, *, floor: bool = True) -> Found:
        """Assemble a context from the messages of a conversation, with or without the default floor."""
        from conversations.context.assemble import assemble_context
        from conversations.context.types import ContextRequest

        min_relevance = None if floor else 0.0
        request = ContextRequest(query, budget, folder=f"/{name}", min_relevance=min_relevance)
        began = time.perf_counter()
        items = assemble_context(self.caller, request).items
        ms = (time.perf_counter() - began) * 1000
        texts = [item.candidate.content for item in items]
        return Found([item.message.metadata["turn"] for item in items], texts, ms)


def _metadata(turn: Turn) -> dict[str, str]:
    return {"turn": turn.id} | ({"date": turn.date} if turn.date else {})

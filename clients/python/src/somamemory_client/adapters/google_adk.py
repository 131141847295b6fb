"""Google ADK: `SomaMemoryService` and `SomaSessionService`, with the asynchronous client.

memory_service = SomaMemoryService(AsyncClient())
session_service = SomaSessionService(AsyncClient())
Runner(app_name="kitchen", agent=agent, memory_service=memory_service, session_service=session_service)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any
from uuid import uuid4

from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions import Session, State
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
from google.genai.types import Content

from somamemory_client import AsyncClient, NotFound, PreconditionFailed
from somamemory_client.adapters._calls import as_query, memories, pages, requests, run_async
from somamemory_client.adapters._namespaces import KEPT, MAX_ID, fitted, key_of, label, namespace

_Object = Mapping[str, Any]


class SomaMemoryService(BaseMemoryService):
    """Users' memories, one for each event that contains text.

    namespace: the namespace that contains one namespace per app.
    options: additional fields for each search, such as `top_k` (10 by default) or `min_relevance`.
    """

    def __init__(self, client: AsyncClient, namespace: str = "google-adk/memories", **options: Any) -> None:
        self._client = client
        self._root = namespace
        self._options = {"top_k": 10} | options

    async def add_session_to_memory(self, session: Session) -> None:
        await self._add_events(session.app_name, session.user_id, session.events, session.id, {})

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        await self._add_events(app_name, user_id, events, session_id, custom_metadata or {})

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        items = [_memory(entry, custom_metadata or {}) for entry in memories]
        await self._store(app_name, user_id, None, items)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        text = as_query(query)
        if not text:
            return SearchMemoryResponse()
        place = namespace(self._root, [app_name])
        hits = await self._client.memories.search(text, namespace=place, user_id=user_id, **self._options)
        return SearchMemoryResponse(memories=[_entry(hit) for hit in hits])

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        if memory_id is not None:
            place = namespace(self._root, [app_name])
            await self._client.memories.delete_many(namespace=place, keys=[key_of(user_id, memory_id)])

    async def _add_events(
        self, app: str, user: str, events: Sequence[Event], session: str | None, metadata: Mapping[str, object]
    ) -> None:
        """Store the events that have never been stored. Deleted events are not stored again."""
        known = {
            memory["metadata"].get("id")
            async for memory in self._client.memories.list(
                namespace=namespace(self._root, [app]),
                user_id=user,
                session_id=_session_field(session),
                include_deleted=True,
                limit=1000,
            )
        }
        new = {event.id: event for event in events if event.id not in known and _text(event.content)}
        await self._store(app, user, session, [_memory(_of_event(event), metadata) for event in new.values()])

    async def _store(self, app: str, user: str, session: str | None, items: Sequence[_Object]) -> None:
        ids = {"user_id": user, "session_id": _session_field(session)}
        place: dict[str, Any] = {"namespace": namespace(self._root, [app]), **ids}
        bodies: list[Any] = [{**item, **place, "key": key_of(user, item["metadata"]["id"])} for item in items]
        for some in requests(bodies):
            await self._client.memories.store_many(some, atomic=True)


class SomaSessionService(BaseSessionService):
    """Users' sessions. If several processes append to a session at the same time, no event is lost.

    namespace: the namespace that contains each app's namespaces.
    """

    def __init__(self, client: AsyncClient, namespace: str = "google-adk") -> None:
        self._client = client
        self._root = namespace

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        name = (session_id or "").strip() or str(uuid4())
        of_app, of_user, own = _scopes(state or {})
        metadata = {"id": name, "last_update_time": time(), "state": own}
        try:
            await self._client.memories.store(
                {},
                key=_session_key(user_id, name),
                namespace=self._states(app_name),
                user_id=user_id,
                metadata=metadata,
                if_none_match="*",
            )
        except PreconditionFailed:
            raise AlreadyExistsError(f"Session with id {name} already exists.") from None
        await self._change_state(app_name, "app", of_app)
        await self._change_state(app_name, _user_key(user_id), of_user)
        session = await self.get_session(app_name=app_name, user_id=user_id, session_id=name)
        if session is None:
            raise SessionNotFoundError(f"Session {name} not found.")
        return session

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        name = session_id.strip()
        keys = [_session_key(user_id, name), "app", _user_key(user_id)]
        stored, of_app, of_user = await run_async(self._client, memories("keys", keys, self._states(app_name)))
        if stored is None:
            return None
        session = _session(app_name, stored, of_app, of_user)
        session.events = await self._read_events(session, config or GetSessionConfig())
        return session

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        own = "session/" if user_id is None else _session_key(user_id, "")
        # A long session id can shorten the user's segment of the key.
        prefix = own if len(own) <= KEPT else "session/"
        place: dict[str, Any] = {"namespace": self._states(app_name), "key_prefix": prefix, "user_id": user_id or None}
        listed = self._client.memories.list(**place, limit=1000)
        stored = [memory async for memory in listed]
        users = sorted({str(memory["user_id"]) for memory in stored})
        keys = ["app", *map(_user_key, users)]
        of_app, *of_users = await run_async(self._client, memories("keys", keys, self._states(app_name)))
        states = dict(zip(users, of_users, strict=True))
        sessions = [_session(app_name, memory, of_app, states[str(memory["user_id"])]) for memory in stored]
        sessions.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=sessions)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        name = session_id.strip()
        place = self._states(app_name)
        deleted = await self._client.memories.delete_many(namespace=place, keys=[_session_key(user_id, name)])
        if not deleted["deleted"]:
            return
        events, delete = self._place(app_name, user_id, name), self._client.memories.delete_matching
        while not (await delete(**events))["complete"]:
            pass

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        keys = [_user_key(user_id)]
        return _values((await run_async(self._client, memories("keys", keys, self._states(app_name))))[0])

    async def append_event(self, session: Session, event: Event) -> Event:
        """Append an event to the stored session and to `session`. Ignore partial and already stored events."""
        if event.partial:
            return event
        place = self._place(session.app_name, session.user_id, session.id)
        if await self._is_stored(event, place):
            return event
        delta = event.actions.state_delta if event.actions else None
        of_app, of_user, own = _scopes(delta or {})
        change = {"last_update_time": event.timestamp, "state": own}
        await self._patch(session.app_name, _session_key(session.user_id, session.id), change)
        await self._change_state(session.app_name, "app", of_app)
        await self._change_state(session.app_name, _user_key(session.user_id), of_user)
        if event not in session.events:  # a failed attempt may have added it
            await super().append_event(session, event)
        # A stored event is not appended again, so it is stored last.
        stored: Any = {**place, "payload": _payload(event.content, event.author), "metadata": {"event": _dump(event)}}
        await self._client.memories.store_many([stored], atomic=True)
        session.last_update_time = event.timestamp
        return event

    # --- Requests ------------------------------------------------------------------------------------------------

    async def _read_events(self, session: Session, config: GetSessionConfig) -> list[Event]:
        """Return the events that a configuration selects, oldest first."""
        most = config.num_recent_events
        if most == 0:
            return []
        place = self._place(session.app_name, session.user_id, session.id)
        calls = pages("memories.list", most=most, order="-coordinate", limit=min(most or 1000, 1000), **place)
        events = [_load(memory) for memory in reversed(await run_async(self._client, calls))]
        if config.after_timestamp is None:
            return events
        earlier = [at for at, event in enumerate(events) if event.timestamp < config.after_timestamp]
        return events[earlier[-1] + 1 :] if earlier else events

    async def _is_stored(self, event: Event, place: Mapping[str, Any]) -> bool:
        filters = json.dumps({"metadata.event.id": event.id})
        found = await run_async(self._client, pages("memories.list", filters=filters, **place))
        return any(_load(memory) == event for memory in found)

    async def _change_state(self, app: str, key: str, changes: Mapping[str, str | None]) -> None:
        if not changes:
            return
        try:
            await self._client.memories.store(
                {}, key=key, namespace=self._states(app), metadata={"state": changes}, if_none_match="*"
            )
        except PreconditionFailed:
            await self._patch(app, key, {"state": changes})

    async def _patch(self, app: str, key: str, metadata: Mapping[str, Any]) -> None:
        """Change some fields of the metadata in the service, without overwriting other writers' changes to other
        fields.
        """
        try:
            await self._client.memories.update(key=key, namespace=self._states(app), metadata=metadata)
        except NotFound:
            raise SessionNotFoundError(f"Session {label(key.rpartition('/')[2])} not found.") from None

    def _states(self, app: str) -> str:
        return namespace(self._root, [app, "states"])

    def _place(self, app: str, user: str, session: str) -> dict[str, Any]:
        """Return the namespace and the ids of a session's events."""
        ids = {"user_id": user, "session_id": _session_field(session)}
        return {"namespace": namespace(self._root, [app, "events"]), **ids}


# --- Keys and states ---------------------------------------------------------------------------------------------


def _user_key(user: str) -> str:
    return key_of("user", user)


def _session_key(user: str, session: str) -> str:
    return key_of("session", user, session)


def _session_field(session: str | None) -> str | None:
    return session and fitted(session, MAX_ID)


def _scopes(state: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Split state by scope: app, user and session.

    Values are stored as JSON or, if they cannot be serialised, as text, as in ADK's own services.
    """
    scopes: dict[str, dict[str, str]] = {State.APP_PREFIX: {}, State.USER_PREFIX: {}, "": {}}
    for name, value in state.items():
        if not name.startswith(State.TEMP_PREFIX):
            prefix = next(prefix for prefix in scopes if name.startswith(prefix))
            scopes[prefix][name.removeprefix(prefix)] = json.dumps(value, default=str)
    of_app, of_user, own = scopes.values()
    return of_app, of_user, own


def _values(memory: _Object | None) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in (memory["metadata"]["state"] if memory else {}).items()}


def _session(app: str, stored: _Object, of_app: _Object | None, of_user: _Object | None) -> Session:
    state = _values(stored)
    state |= {State.APP_PREFIX + name: value for name, value in _values(of_app).items()}
    state |= {State.USER_PREFIX + name: value for name, value in _values(of_user).items()}
    metadata = stored["metadata"]
    last = metadata["last_update_time"]
    return Session(id=metadata["id"], app_name=app, user_id=stored["user_id"], state=state, last_update_time=last)


# --- Events and entries ------------------------------------------------------------------------------------------


def _dump(event: Event) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude_none=True)


def _load(memory: _Object) -> Event:
    return Event.model_validate(memory["metadata"]["event"])


def _text(content: Content | None) -> str:
    return "\n".join(part.text for part in (content.parts if content else None) or () if part.text)


def _payload(content: Content | None, author: str | None) -> dict[str, str]:
    """Return the searchable payload: the text of the content, without tool calls."""
    text = _text(content)
    return {"text": text, "role": author or ""} if text else {}


def _of_event(event: Event) -> MemoryEntry:
    said_at = datetime.fromtimestamp(event.timestamp, UTC).isoformat()
    return MemoryEntry(id=event.id, content=event.content or Content(), author=event.author, timestamp=said_at)


def _memory(entry: MemoryEntry, metadata: Mapping[str, object]) -> dict[str, Any]:
    stored = entry.model_dump(mode="json", exclude_none=True) | {"id": entry.id or str(uuid4())}
    stored["custom_metadata"] = {**metadata, **entry.custom_metadata}
    return {"payload": _payload(entry.content, entry.author), "metadata": stored}


def _entry(hit: _Object) -> MemoryEntry:
    return MemoryEntry.model_validate({name: hit["metadata"].get(name) for name in MemoryEntry.model_fields})

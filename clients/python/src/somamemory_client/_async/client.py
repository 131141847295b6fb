"""The client, with its options and scopes."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from somamemory_client import types
from somamemory_client._async.admin import AsyncAdmin
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._async.context import AsyncContext
from somamemory_client._async.conversations import AsyncConversations
from somamemory_client._async.graph import AsyncGraph
from somamemory_client._async.memories import AsyncMemories
from somamemory_client._async.namespaces import AsyncNamespaces
from somamemory_client._async.proposals import AsyncProposals
from somamemory_client._async_http import AsyncHttpTransport
from somamemory_client._config import Config, address_of, free_request
from somamemory_client._embedded import AsyncEmbeddedTransport
from somamemory_client._messages import AsyncTransport, Response
from somamemory_client.errors import SomaError
from somamemory_client.hooks import Hook


class AsyncClient:
    """A client for a SomaMemory server.

        client = AsyncClient("http://127.0.0.1:9595", api_key="…")
        await client.memories.store("Ada drinks coffee", user_id="ada")

    Methods such as `user`, `tenant` and `with_options` return clients that share this client's connections.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
        max_retries: int = 3,
        hooks: Iterable[Hook] = (),
        ssl_context: ssl.SSLContext | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        """Create a client. Raises InvalidArgument if an argument is invalid.

        base_url: the URL of the server. Default: the environment variable `SOMA_URL`, or else http://127.0.0.1:9595.
        api_key: the API key. Default: the environment variable `SOMA_API_KEY`.
        tenant: the tenant to act for, with an operator's key. Default: the environment variable `SOMA_TENANT`.
        timeout: the time limit in seconds for one attempt, from connecting to the last byte of the response. Default:
          60, or 660 for operations for which the service allows more time, such as imports and exports.
        max_retries: the maximum number of retries.
        hooks: objects that are called before and after each request; see `somamemory_client.hooks`.
        ssl_context: the TLS settings; by default, the client verifies certificates with the system's trust store.
        transport: an object that sends the requests instead of the client's own connections.
        """
        config = Config.create(api_key, tenant, timeout, max_retries, hooks)
        self._use(AsyncCaller(transport or AsyncHttpTransport(address_of(base_url, ssl_context)), config))

    def _use(self, caller: AsyncCaller) -> None:
        self._caller = caller
        self.memories = AsyncMemories(caller)
        self.conversations = AsyncConversations(caller)
        self.context = AsyncContext(caller)
        self.graph = AsyncGraph(caller)
        self.namespaces = AsyncNamespaces(caller)
        self.proposals = AsyncProposals(caller)
        self.admin = AsyncAdmin(caller)

    @classmethod
    def embedded(
        cls,
        path: str | Path,
        api_key: str | None = None,
        *,
        tenant: str | None = None,
        max_retries: int = 3,
        hooks: Iterable[Hook] = (),
    ) -> AsyncClient:
        """Return a client that runs the service in this process, with its data in a folder. No port is opened.

        The `somamemory` package must be installed. A process can open only one folder, but several processes and a
        server can use the same folder at the same time. Requests use the service's deadlines instead of a timeout.
        Raises InvalidArgument if the service is not installed or cannot use the folder.

        api_key: an API key stored in this folder. Default: the folder's first key, which is an operator's key.
        """
        transport = AsyncEmbeddedTransport.open(Path(path))
        key = transport.api_key if api_key is None else api_key
        return cls(api_key=key, tenant=tenant, max_retries=max_retries, hooks=hooks, transport=transport)

    # --- Scope ---------------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> AsyncClient:
        """Return a client whose calls are limited to one user.

        The client adds the user id to calls that take one, and rejects lists and searches that cannot be limited to a
        user. Calls for a single object, such as `get(key=…)`, are not limited. To limit them, use an API key with a
        `user_id`.
        """
        return self._copy(self._caller.config.with_scope("user_id", user_id))

    def agent(self, agent_id: str) -> AsyncClient:
        """Return a client whose calls are limited to one agent. See `user`."""
        return self._copy(self._caller.config.with_scope("agent_id", agent_id))

    def session(self, session_id: str) -> AsyncClient:
        """Return a client whose calls are limited to one session. See `user`."""
        return self._copy(self._caller.config.with_scope("session_id", session_id))

    def namespace(self, name: str) -> AsyncClient:
        """Return a client whose calls are limited to one namespace. See `user`."""
        return self._copy(self._caller.config.with_scope("namespace", name))

    def tenant(self, slug: str) -> AsyncClient:
        """Return a client that acts for another tenant. Requires an operator's key."""
        return self._copy(self._caller.config.with_tenant(slug))

    def with_options(
        self,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncClient:
        """Return a client with other options.

        idempotency_key: the Idempotency-Key for one write. By default, each write gets a random key.
        """
        return self._copy(self._caller.config.with_options(timeout, max_retries, headers, idempotency_key))

    def _copy(self, config: Config) -> AsyncClient:
        copy = object.__new__(type(self))
        copy._use(AsyncCaller(self._caller.transport, config))
        return copy

    # --- Other requests ------------------------------------------------------------------------------------------

    async def raw(self, operation: str, **fields: object) -> Response:
        """Call an operation by its name in the OpenAPI document, and return the response, including its status and
        headers.

        response = await client.raw("memories.get", coord="1,2")
        response.headers["etag"], response.json()["memory"]
        """
        return await self._caller.respond(self._caller.config.request(operation, fields))

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # whatever the route returns
        """Send a request to a path under /api/v1. Return the parsed JSON, or the text if it is not JSON."""
        request = free_request(self._caller.config, method, path, json, params, headers)
        response = await self._caller.respond(request)
        return response.json() if response.is_json else response.text()

    # --- Health --------------------------------------------------------------------------------------------------

    async def health(self) -> types.HealthOut:
        """Return the state of the service and its dependencies."""
        return await self._caller.fetch(types.HealthOut, "health.get", {})

    async def is_ready(self) -> bool:
        """Return whether the service can process requests now."""
        try:
            return (await self.with_options(max_retries=0).raw("health.ready")).status == 200
        except SomaError:
            return False

    # --- Lifetime ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close the idle connections. If the client is used again, it opens new ones."""
        await self._caller.transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

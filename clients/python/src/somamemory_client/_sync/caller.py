# Written by scripts/client_sync.py from _async/caller.py. Do not edit: run `make reference`.
"""Send a request, with retries, and return its response."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from somamemory_client._config import Config
from somamemory_client._contract import VERSION
from somamemory_client._messages import Request, Response, Transport
from somamemory_client._operation import Fields
from somamemory_client._results import is_unknown_route
from somamemory_client._retries import error_of
from somamemory_client._sleep import sleep
from somamemory_client.errors import IncompatibleServer, InvalidResponse, SomaError
from somamemory_client.hooks import Call

T = TypeVar("T")
VERSION_TIMEOUT_S = 5.0


class Caller:
    """Calls API operations on behalf of a client."""

    def __init__(self, transport: Transport, config: Config) -> None:
        self.transport = transport
        self.config = config

    def fetch(self, result: type[T], operation: str, fields: Fields) -> T:
        """Call an operation, and return its JSON response. `result` is the response type, for the type checker only."""
        return cast(T, self.document(self.config.request(operation, fields)))

    def document(self, request: Request) -> Any:  # a JSON document
        response = self.respond(request)
        try:
            return response.json()
        except InvalidResponse:
            self._refuse_another_version()
            raise

    def text(self, operation: str, fields: Fields) -> str:
        return (self.respond(self.config.request(operation, fields))).text()

    def respond(self, request: Request) -> Response:
        """Return the response, or raise the error of the last attempt."""
        call = Call(request)
        for hook in self.config.hooks:
            hook.started(call)
        try:
            response = self._attempt_until_final(call)
        except BaseException as error:  # such as a cancellation, which must also end a trace's span
            for hook in self.config.hooks:
                hook.finished(call, None, error)
            raise
        for hook in self.config.hooks:
            hook.finished(call, response, None)
        return response

    def _attempt_until_final(self, call: Call) -> Response:
        while True:
            call.attempts += 1
            try:
                return self._attempt(call.request)
            except SomaError as error:
                pause_s = self.config.pause_s(call, error)
                if pause_s is None:
                    if isinstance(error, InvalidResponse) or is_unknown_route(error):
                        self._refuse_another_version()
                    raise
                for hook in self.config.hooks:
                    hook.retrying(call, error, pause_s)
            call.waited_s += pause_s
            sleep(pause_s)

    def _attempt(self, request: Request) -> Response:
        response = self.transport.send(request, self.config.timeout_for(request))
        if response.status >= 400:
            raise error_of(response)
        return response

    def _refuse_another_version(self) -> None:
        """Raise IncompatibleServer if the server's major version differs from the client's."""
        request = Request("health.get", "GET", "/health", dict(self.config.headers), None, repeatable=True)
        try:
            version = (self.transport.send(request, VERSION_TIMEOUT_S)).json()["version"]
        except (SomaError, TypeError, KeyError):
            return
        major = str(version).partition(".")[0]
        if major != VERSION.partition(".")[0]:
            raise IncompatibleServer(
                f"the server is version {version}, but this client is version {VERSION}; install somamemory-client "
                f"{major}.*"
            )

"""Client configuration: key, tenant, scope, timeout, retries and hooks."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from ._address import USER_AGENT, Address
from ._contract import OPERATIONS, VERSION
from ._messages import Request
from ._operation import LONG, Fields, Operation, encode, target
from ._retries import Retries
from .errors import InvalidArgument, SomaError
from .hooks import Call, Hook

DEFAULT_URL = "http://127.0.0.1:9595"
DEFAULT_TIMEOUT_S = 60.0
LONG_TIMEOUT_S = 660.0  # longer than the service's default deadline, so that its response arrives
IDS = ("user_id", "agent_id", "session_id", "namespace")


@dataclass(frozen=True)
class Config:
    """A client's configuration. `scope` contains the default ids and namespace for its calls."""

    headers: Mapping[str, str]
    timeout_s: float | None = None  # None: the default for the operation
    retries: Retries = field(default_factory=Retries)
    scope: Mapping[str, str] = field(default_factory=dict)
    hooks: Sequence[Hook] = ()
    idempotency_key: str | None = None

    @classmethod
    def create(
        cls, api_key: str | None, tenant: str | None, timeout: float | None, max_retries: int, hooks: Iterable[Hook]
    ) -> Config:
        """Create a configuration from arguments and the environment. Raises InvalidArgument if a value is invalid."""
        headers = {"Accept-Encoding": "identity", "User-Agent": f"{USER_AGENT}/{VERSION}"}
        key = api_key or os.environ.get("SOMA_API_KEY")
        if key:
            headers["Authorization"] = f"Bearer {header_text('api_key', key)}"
        if tenant := tenant or os.environ.get("SOMA_TENANT"):
            headers["X-Tenant"] = header_text("tenant", tenant)
        timeout_s = None if timeout is None else positive("timeout", timeout)
        return cls(headers, timeout_s, Retries(whole("max_retries", max_retries)), {}, tuple(hooks))

    def with_scope(self, name: str, value: str) -> Config:
        if value is None:  # otherwise, the client would not be limited
            raise InvalidArgument(name, "must be text, not None")
        operation = OPERATIONS["memories.store"]
        operation.check({"payload": {}, name: value})
        return replace(self, scope={**self.scope, name: value})

    def with_tenant(self, slug: str) -> Config:
        return replace(self, headers={**self.headers, "X-Tenant": header_text("tenant", slug)})

    def with_options(
        self,
        timeout: float | None,
        max_retries: int | None,
        headers: Mapping[str, str] | None,
        idempotency_key: str | None,
    ) -> Config:
        changes: dict[str, object] = {}
        if timeout is not None:
            changes["timeout_s"] = positive("timeout", timeout)
        if max_retries is not None:
            changes["retries"] = replace(self.retries, limit=whole("max_retries", max_retries))
        if headers is not None:
            changes["headers"] = {**self.headers, **header_fields(headers)}
        if idempotency_key is not None:
            changes["idempotency_key"] = header_text("idempotency_key", idempotency_key)
        return replace(self, **changes)  # type: ignore[arg-type]

    def request(self, operation_id: str, fields: Fields) -> Request:
        """Build the request for a call.

        Raises InvalidArgument if a field is invalid, or if the call cannot be limited to the client's scope.
        """
        operation = operation_named(operation_id)
        if self.scope:
            self._apply_scope(operation, fields)
        operation.check(fields)
        headers = {**self.headers, **operation.header_values(fields)}
        where = operation.target(fields)
        body = None
        if fields or operation.has_body:
            body = encode(fields)
            headers["Content-Type"] = "application/json"
        if operation.once:
            headers["Idempotency-Key"] = self.idempotency_key or uuid4().hex
        repeatable = operation.repeatable and not _deletes_once(operation.method, headers)
        return Request(operation.id, operation.method, where, headers, body, repeatable)

    def timeout_for(self, request: Request) -> float:
        """Return the time limit for one attempt."""
        if self.timeout_s is not None:
            return self.timeout_s
        return LONG_TIMEOUT_S if request.operation in LONG else DEFAULT_TIMEOUT_S

    def pause_s(self, call: Call, error: SomaError) -> float | None:
        """Return how long to wait before the next attempt, or None if the error is final.

        If the connection is lost during a long operation, keep retrying until its time limit has passed.
        """
        request = call.request
        left_s = self.timeout_for(request) - call.waited_s if request.operation in LONG else 0.0
        return self.retries.pause_s(request, error, call.attempts, left_s)

    def _apply_scope(self, operation: Operation, fields: Fields) -> None:
        """Add the scope to the fields. Raises InvalidArgument if the call cannot be limited to the scope."""
        removes = operation.method == "PATCH"  # in a merge patch, null removes a value
        for name, value in self.scope.items():
            if fields.get(name) is not None or (removes and name in fields):
                continue
            if name == "namespace" and fields.get("namespace_prefix") is not None:
                continue
            if operation.takes(name):
                fields[name] = value
            elif not operation.names_an_object:
                raise InvalidArgument(
                    name, f"{operation.id} does not support this scope; call it on a client without the scope"
                )

    def scoped_item(self, item: Mapping[str, object], names: Iterable[str] = IDS) -> Fields:
        """Return a bulk request item, with the scope values listed in `names` added.

        Raises InvalidArgument if the item is not an object.
        """
        if not isinstance(item, Mapping):
            raise InvalidArgument("item", f"must be an object, such as a dict, not {type(item).__name__}")
        scope = {name: self.scope[name] for name in names if name in self.scope and item.get(name) is None}
        return {**item, **scope}


def operation_named(name: str) -> Operation:
    if name not in OPERATIONS:
        raise InvalidArgument("operation", f"there is no operation {name!r}; see OPERATIONS in somamemory_client")
    return OPERATIONS[name]


def address_of(base_url: str | None, context: ssl.SSLContext | None) -> Address:
    return Address.parse(base_url or os.environ.get("SOMA_URL") or DEFAULT_URL, context)


def free_request(
    config: Config,
    method: str,
    path: object,
    json: object,
    params: Mapping[str, object] | None,
    headers: Mapping[str, str] | None,
) -> Request:
    """Build a request to a path under /api/v1, without a scope. Raises InvalidArgument if an argument is invalid."""
    if method not in METHODS:
        raise InvalidArgument("method", f"must be one of {', '.join(METHODS)}")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or not path.isascii()
        or not path.isprintable()
        or " " in path
    ):
        raise InvalidArgument(
            "path",
            "must start with / and contain only printable ASCII characters and no spaces; percent-encode all others",
        )
    sent = {**config.headers, **header_fields(headers or {})}
    body = None if json is None else encode(json)
    if body is not None:
        sent["Content-Type"] = "application/json"
    if method in ("POST", "PUT", "PATCH"):
        sent.setdefault("Idempotency-Key", config.idempotency_key or uuid4().hex)
    repeatable = method in ("GET", "DELETE") or KEYED_PATHS.fullmatch(f"{method} {path}") is not None
    repeatable = repeatable and not _deletes_once(method, sent)
    return Request(f"{method} {path}", method, target(path, params or {}), sent, body, repeatable)


def _deletes_once(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether the request deletes a specific version. A retry fails if the first attempt has succeeded."""
    return method == "DELETE" and any(name.lower() == "if-match" for name in headers)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Routes that call a language model ignore the Idempotency-Key, so a request that may have had an effect is not retried.
KEYED_PATHS = re.compile(
    "|".join(
        f"{operation.method} {re.sub('{[^}]*}', '.+', operation.template)}"
        for operation in OPERATIONS.values()
        if operation.repeatable
    )
)


HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_text(field: str, text: object) -> str:
    """Return the text if it is valid in a header. Otherwise, raise InvalidArgument."""
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise InvalidArgument(field, "must be printable ASCII text without leading or trailing spaces")
    return text


def header_fields(headers: Mapping[str, object]) -> dict[str, str]:
    """Return the headers if they are valid. Otherwise, raise InvalidArgument."""
    for name in headers:
        if HEADER_NAME.fullmatch(name) is None:
            raise InvalidArgument("headers", f"{name!r} is not a valid header name")
    return {name: header_text(name, text) for name, text in headers.items()}


def file_content(content: object) -> bytes:
    """Return the content of a file. Raises InvalidArgument if it is text, which has no defined encoding."""
    if not isinstance(content, bytes | bytearray | memoryview):
        kind = type(content).__name__
        raise InvalidArgument("content", f"must be bytes, such as the result of `Path.read_bytes`, not {kind}")
    return bytes(content)


def positive(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise InvalidArgument(field, "must be a positive number of seconds")
    return float(value)


def whole(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise InvalidArgument(field, "must be a whole number from 0 to 100")
    return value

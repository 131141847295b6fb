"""The request state that the routes share with the layers that run before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from somamemory.errors import InvalidInput
from tenants.caller import Caller
from tenants.idempotency import Attempt
from tenants.limits.policy import Quota

Kind = Literal["read", "write", "search", "llm"]


@dataclass(frozen=True)
class Policy:
    """The rules of one route.

    kind: the rate-limit class, which determines the cost of a request.
    writes: whether the route changes data.
    conditional: whether the route supports If-Match and If-None-Match.
    idempotent: whether the route accepts an Idempotency-Key.
    long: whether a request may take as long as an import (`SOMA_LONG_REQUEST_DEADLINE_S`).
    resumable: whether a request consists of many transactions and can be retried after a crash; see `api.idempotency`.
    limited: whether a key that is limited to a user may use the route. Everything that the route reads and writes must
    then come through `for_tenant` or belong to no user.
    crosses: whether the route may access the rows of all tenants. If the route requires a key, this applies only to
    operators.
    """

    kind: Kind
    writes: bool
    conditional: bool
    idempotent: bool
    long: bool = False
    resumable: bool = False
    limited: bool = False
    crosses: bool = False


@dataclass(slots=True)
class Admission:
    """Data about a request.

    The router sets it before authentication. `api.throttle` and `api.idempotency` update it.
    """

    policy: Policy
    takes_body: bool
    query_error: InvalidInput | None = None
    running_tenant: UUID | None = None  # set while the request counts towards the tenant's concurrency
    quotas: tuple[Quota, ...] = ()
    attempt: Attempt | None = None  # set for a long request with an Idempotency-Key
    # Tokens that the view has requested in its current run, and tokens taken in all its runs. A view can run more than
    # once.
    charged: int = 0
    paid: int = 0


class Request(HttpRequest):
    """A request to the API. The router sets `admission`; authentication sets `caller`."""

    admission: Admission
    caller: Caller


def as_api(request: HttpRequest) -> Request:
    return cast(Request, request)


def absolute_url(request: HttpRequest, path: str) -> str:
    """Return the URL of a path on this server, or only the path if the Host header is not a valid name.

    path: not percent-encoded, as in `request.path`.

    With `SOMA_ALLOWED_HOSTS=*`, a client may use a name that Django rejects, such as one with an underscore.
    """
    encoded = escape_uri_path(path)
    try:
        return request.build_absolute_uri(encoded)
    except DisallowedHost:
        return encoded

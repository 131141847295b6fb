"""State shared by the layers that process a request: middleware, authentication, error handlers and the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from django.http import HttpRequest


class TenantLabels(Protocol):
    """The tenant's attributes that appear in logs, metrics and traces."""

    @property
    def slug(self) -> str: ...

    @property
    def tier(self) -> str: ...


@dataclass(slots=True)
class RequestState:
    request_id: str = ""
    client_address: str = ""
    trace_id: str = ""  # empty unless the request is traced
    tenant: TenantLabels | None = None  # set once the caller is authenticated
    # The request's deadline is running. An MCP message shares its deadline with the requests that its tool sends.
    has_begun: bool = False


def state_of(request: HttpRequest) -> RequestState:
    """Return a request's state. Creates it on first use."""
    state: RequestState = vars(request).setdefault("state", RequestState())
    return state

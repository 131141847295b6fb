"""The tenant whose rows the running code can access, when row-level security is on.

Commands, scheduled work and Celery tasks serve all tenants, so they can access all rows. A request starts without a
tenant. Authentication sets the caller's tenant, and the few places that need other tenants' rows use `crossing`. The
backend (`somamemory.db.postgresql.base`) applies the scope to each statement; `tenants.row_level_security` contains
the policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar
from uuid import UUID

# The database role of sessions that serve one tenant. It owns nothing, cannot log in and cannot bypass the policies.
ROLE = "soma_tenant"
CROSSING = "*"  # all tenants
NO_TENANT = ""

Piece = TypeVar("Piece")

_scope: ContextVar[str] = ContextVar("tenant_scope", default=CROSSING)


def current() -> str:
    """Return `CROSSING`, `NO_TENANT` or the tenant's id."""
    return _scope.get()


def enter(tenant: UUID) -> None:
    """Restrict access to this tenant's rows until the request ends."""
    _scope.set(str(tenant))


def cross() -> None:
    """Allow access to all tenants' rows until the request ends, for operators and the console."""
    _scope.set(CROSSING)


def crossing() -> AbstractContextManager[None]:
    """Allow access to all tenants' rows inside this context, for example to look up an API key."""
    return _within(CROSSING)


def request() -> AbstractContextManager[None]:
    """Return the context for a request, which has no tenant until its caller is authenticated."""
    return _within(NO_TENANT)


@contextmanager
def _within(scope: str) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def stream(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield the parts of a streamed response. Each part is produced in the scope of the current request."""
    return _stream(_scope.get(), pieces)


def _stream(scope: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    while True:
        token = _scope.set(scope)  # the scope is not active while the server sends a part
        try:
            piece = next(pieces)
        except StopIteration:
            return
        finally:
            _scope.reset(token)
        yield piece

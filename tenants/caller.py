"""The caller: the first argument of every service and selector."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from somamemory.errors import Forbidden
from tenants.models import Tenant

SCOPES = ("read", "write", "delete", "admin")


@dataclass(frozen=True)
class Caller:
    """An authenticated identity acting for one tenant."""

    tenant: Tenant
    actor: str  # "key:<prefix>", "staff:<name>", "command" or "retention": recorded in the audit log
    scopes: frozenset[str]
    namespaces: frozenset[str] = field(default_factory=frozenset)  # empty: all
    operator: bool = False
    request_id: str = ""
    key_id: uuid.UUID | None = None  # None on the command line and in scheduled work
    address: str = ""  # of the client, as far as the proxies in between are trusted
    writes_reserved: bool = False  # see `writing_reserved`

    def require(self, scope: str, namespaces: Iterable[str] = ()) -> None:
        """Raise Forbidden unless the key has `scope` and may use all of `namespaces`."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the scope '{scope}'; use a key that has it")
        if self.namespaces and not self.namespaces.issuperset(namespaces):
            raise Forbidden("this key is restricted to the namespaces " + ", ".join(sorted(self.namespaces)))

    def require_operator(self, scope: str = "admin") -> None:
        """Raise Forbidden unless an operator of the installation is calling; `read` is enough to view."""
        if not self.operator:
            raise Forbidden("this action requires an operator key")
        self.require(scope)
        if self.namespaces:
            raise Forbidden("this key is restricted to some namespaces; this action concerns the whole tenant")

    def acting_for(self, tenant: Tenant) -> Caller:
        return replace(self, tenant=tenant)

    def writing_reserved(self) -> Caller:
        """Return the caller with the right to write to reserved namespaces, for the code that maintains them.

        It adds no scope and no namespace: see `memories.reserved_namespaces`.
        """
        return replace(self, writes_reserved=True)

    @classmethod
    def command(cls, tenant: Tenant) -> Caller:
        """The user of the server's command line."""
        return cls(tenant=tenant, actor="command", scopes=frozenset(SCOPES), operator=True)

    @classmethod
    def retention(cls, tenant: Tenant) -> Caller:
        """The scheduler, removing data whose retention period is over."""
        return cls(tenant=tenant, actor="retention", scopes=frozenset())

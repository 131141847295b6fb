"""Who is calling: the first argument of every service and selector."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from somamemory.errors import Forbidden
from tenants.models import Tenant

SCOPES = ("read", "write", "delete", "admin")


@dataclass(frozen=True)
class Caller:
    """A checked identity acting for one tenant."""

    tenant: Tenant
    actor: str  # "key:<prefix>", "staff:<name>" or "command" or "retention", for the audit log
    scopes: frozenset[str]
    namespaces: frozenset[str] = field(default_factory=frozenset)  # empty: all
    operator: bool = False
    request_id: str = ""
    key_id: uuid.UUID | None = None  # None: no key, but the command line
    address: str = ""  # of the client, as far as the proxies in between are trusted

    def require(self, scope: str, namespaces: Iterable[str] = ()) -> None:
        """Refuse (403) unless the key has `scope` and may use every one of `namespaces`."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the scope '{scope}'")
        if self.namespaces and not self.namespaces.issuperset(namespaces):
            raise Forbidden("this key may use only the namespaces " + ", ".join(sorted(self.namespaces)))

    def require_operator(self, scope: str = "admin") -> None:
        """Refuse (403) whoever does not run the installation; `read` is enough to look."""
        if not self.operator:
            raise Forbidden("only an operator key may do that")
        self.require(scope)
        if self.namespaces:
            raise Forbidden("this key may use only some namespaces, and that is about all of a tenant")

    def acting_for(self, tenant: Tenant) -> Caller:
        return replace(self, tenant=tenant)

    @classmethod
    def command(cls, tenant: Tenant) -> Caller:
        """The person at the command line of the server."""
        return cls(tenant=tenant, actor="command", scopes=frozenset(SCOPES), operator=True)

    @classmethod
    def retention(cls, tenant: Tenant) -> Caller:
        """Nobody: what time does, by the rules of the installation."""
        return cls(tenant=tenant, actor="retention", scopes=frozenset())

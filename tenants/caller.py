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
    """An authenticated identity that acts for one tenant."""

    tenant: Tenant
    actor: str  # such as "key:<prefix>", "staff:<id>:<name>" or "command"; recorded in the audit log
    scopes: frozenset[str]
    namespaces: frozenset[str] = field(default_factory=frozenset)  # empty: all namespaces
    operator: bool = False
    request_id: str = ""
    key_id: uuid.UUID | None = None  # None for commands and scheduled work
    delegated: bool = False  # whether the key belongs to a connected app, which renews its secret
    address: str = ""  # client address, according to the trusted proxies
    writes_reserved: bool = False  # see `writing_reserved`

    @property
    def user_id(self) -> str | None:
        """Return the user to whom the key is limited, or None. `Model.objects.for_tenant` enforces the limit."""
        return self.tenant.only_user

    def require(self, scope: str, namespaces: Iterable[str] = ()) -> None:
        """Raise Forbidden unless the key has `scope` and may use all of `namespaces`."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the '{scope}' scope; use a key that has it")
        if self.namespaces and not self.namespaces.issuperset(namespaces):
            raise Forbidden("this key is restricted to the namespaces " + ", ".join(sorted(self.namespaces)))

    def require_operator(self, scope: str = "admin") -> None:
        """Raise Forbidden unless the caller is an operator of the installation.

        The key also needs `scope`. For actions that only show data, `read` is sufficient.
        """
        if not self.operator:
            raise Forbidden("this action requires an operator key")
        self.require(scope)
        if self.namespaces:
            raise Forbidden(
                "this action affects the whole tenant, but this key is restricted to some namespaces; use an "
                "unrestricted key"
            )

    def require_unlimited(self) -> None:
        """Raise Forbidden for a key that is limited to a user, because the action affects all users."""
        if self.user_id is not None:
            raise Forbidden(
                f"this action affects all users, but this key is limited to user '{self.user_id}'; "
                "use a key without this limit"
            )

    def require_user(self, user_id: str | None) -> None:
        """Raise Forbidden if the key is limited to another user."""
        if self.user_id is not None and user_id != self.user_id:
            raise Forbidden(f"this key is limited to user '{self.user_id}'; omit user_id or use another key")

    def unlimited(self) -> Caller:
        """Return the caller with access to all users' data.

        Needed for rows that depend on a row of the caller's user but do not themselves belong to that user.
        """
        return replace(self, tenant=self.tenant.narrowed_to(None))

    def acting_for(self, tenant: Tenant) -> Caller:
        return replace(self, tenant=tenant)

    def writing_reserved(self) -> Caller:
        """Return the caller with permission to write to reserved namespaces, for the code that maintains them.

        The permission adds no scope and no namespace: see `memories.reserved_namespaces`.
        """
        return replace(self, writes_reserved=True)

    @classmethod
    def command(cls, tenant: Tenant) -> Caller:
        """Return the caller for the server's command line."""
        return cls(tenant=tenant, actor="command", scopes=frozenset(SCOPES), operator=True)

    @classmethod
    def retention(cls, tenant: Tenant) -> Caller:
        """Return the caller for the scheduler, which removes data after its retention period."""
        return cls(tenant=tenant, actor="retention", scopes=frozenset())

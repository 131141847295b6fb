# Written by scripts/client_sync.py from _async/admin.py. Do not edit: run `make reference`.
"""Tenants, keys, jobs and maintenance. Most calls need an operator's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from somamemory_client import types
from somamemory_client._operation import Fields
from somamemory_client._sync.caller import Caller
from somamemory_client._sync.pages import Pages


class Admin:
    """Methods for administrators and operators, grouped by purpose."""

    def __init__(self, caller: Caller) -> None:
        self.tenants = Tenants(caller)
        self.keys = Keys(caller)
        self.jobs = Jobs(caller)
        self.pruning = Pruning(caller)
        self.upkeep = Upkeep(caller)


class Tenants:
    """Manage tenants, and read their usage and audit logs."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(self, slug: str, **options: Unpack[types.TenantsCreateOptions]) -> types.TenantOut:
        """Create a tenant."""
        return self._caller.fetch(types.TenantOut, "tenants.create", {**options, "slug": slug})

    def list(self, **options: Unpack[types.TenantsListOptions]) -> Pages[types.TenantOut]:
        """Return all tenants."""
        return Pages(self._caller, "tenants.list", {**options})

    def get(self, slug: str) -> types.TenantOut:
        """Return a tenant. Raises NotFound if it does not exist."""
        return self._caller.fetch(types.TenantOut, "tenants.get", {"slug": slug})

    def update(self, slug: str, /, **changes: Unpack[types.TenantsUpdateOptions]) -> types.TenantOut:
        """Change the given fields of a tenant."""
        return self._caller.fetch(types.TenantOut, "tenants.update", {**changes, "slug": slug})

    def erase(self, slug: str) -> types.ErasedOut:
        """Erase a tenant and all its data. This cannot be undone."""
        return self._caller.fetch(types.ErasedOut, "tenants.erase", {"slug": slug})

    def usage(self, slug: str) -> types.UsageOut:
        """Return a tenant's usage and quotas."""
        return self._caller.fetch(types.UsageOut, "tenants.usage", {"slug": slug})

    def audit(self, slug: str, **options: Unpack[types.TenantsListAuditOptions]) -> Pages[types.AuditOut]:
        """Return a tenant's audit log entries, newest first."""
        return Pages(self._caller, "tenants.list_audit", {**options, "slug": slug})

    def export(self, slug: str) -> str:
        """Return all of a tenant's data as JSON lines."""
        return self._caller.text("tenants.export", {"slug": slug})


class Keys:
    """Manage a tenant's API keys."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(self, slug: str, /, **options: Unpack[types.KeysCreateOptions]) -> types.IssuedKeyOut:
        """Create a key for a tenant. Only this response contains the secret."""
        return self._caller.fetch(types.IssuedKeyOut, "keys.create", {**options, "slug": slug})

    def list(self, slug: str, **options: Unpack[types.KeysListOptions]) -> Pages[types.KeyOut]:
        """Return a tenant's keys, without their secrets."""
        return Pages(self._caller, "keys.list", {**options, "slug": slug})

    def rotate(self, slug: str, prefix: str, **options: Unpack[types.KeysRotateOptions]) -> types.IssuedKeyOut:
        """Replace a key. The old key remains valid for `overlap_hours`."""
        fields = {**options, "slug": slug, "prefix": prefix}
        return self._caller.fetch(types.IssuedKeyOut, "keys.rotate", fields)

    def revoke(self, slug: str, prefix: str) -> types.KeyOut:
        """Revoke a key immediately."""
        return self._caller.fetch(types.KeyOut, "keys.revoke", {"slug": slug, "prefix": prefix})


class Jobs:
    """Start and follow long-running jobs."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get(self, id: str) -> types.JobOut:
        """Return the state of a job. Raises NotFound if it does not exist."""
        return self._caller.fetch(types.JobOut, "jobs.get", {"id": id})

    def rebuild_embeddings(self, **options: Unpack[types.EmbeddingsRebuildOptions]) -> types.RebuildOut:
        """Recompute all vectors in the background, with the current or another model."""
        return self._caller.fetch(types.RebuildOut, "embeddings.rebuild", {**options})


class Pruning:
    """Archive unused conversations."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def preview(self, **options: Unpack[types.PruningPreviewOptions]) -> types.PruneSuggestionsOut:
        """Return the conversations that pruning would archive."""
        return self._caller.fetch(types.PruneSuggestionsOut, "pruning.preview", {**options})

    def execute(self, conversation_ids: Sequence[str]) -> types.ArchivedOut:
        """Archive the given conversations."""
        fields: Fields = {"conversation_ids": conversation_ids}
        return self._caller.fetch(types.ArchivedOut, "pruning.execute", fields)

    def undo(self, conversation_ids: Sequence[str]) -> types.RestoredOut:
        """Restore conversations that pruning has archived."""
        fields: Fields = {"conversation_ids": conversation_ids}
        return self._caller.fetch(types.RestoredOut, "pruning.undo", fields)


class Upkeep:
    """Read and change the lifecycle policy, which archives unused conversations automatically."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get(self) -> types.UpkeepOut:
        """Return the lifecycle policy and the report on its last run."""
        return self._caller.fetch(types.UpkeepOut, "upkeep.get", {})

    def update(self, **changes: Unpack[types.UpkeepUpdateOptions]) -> types.UpkeepOut:
        """Change the given fields of the lifecycle policy."""
        return self._caller.fetch(types.UpkeepOut, "upkeep.update", {**changes})

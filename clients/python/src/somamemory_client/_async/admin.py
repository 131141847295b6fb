"""Tenants, keys, jobs and maintenance. Most calls need an operator's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from somamemory_client import types
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._async.pages import AsyncPages
from somamemory_client._operation import Fields


class AsyncAdmin:
    """Methods for administrators and operators, grouped by purpose."""

    def __init__(self, caller: AsyncCaller) -> None:
        self.tenants = AsyncTenants(caller)
        self.keys = AsyncKeys(caller)
        self.jobs = AsyncJobs(caller)
        self.pruning = AsyncPruning(caller)
        self.upkeep = AsyncUpkeep(caller)


class AsyncTenants:
    """Manage tenants, and read their usage and audit logs."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def create(self, slug: str, **options: Unpack[types.TenantsCreateOptions]) -> types.TenantOut:
        """Create a tenant."""
        return await self._caller.fetch(types.TenantOut, "tenants.create", {**options, "slug": slug})

    def list(self, **options: Unpack[types.TenantsListOptions]) -> AsyncPages[types.TenantOut]:
        """Return all tenants."""
        return AsyncPages(self._caller, "tenants.list", {**options})

    async def get(self, slug: str) -> types.TenantOut:
        """Return a tenant. Raises NotFound if it does not exist."""
        return await self._caller.fetch(types.TenantOut, "tenants.get", {"slug": slug})

    async def update(self, slug: str, /, **changes: Unpack[types.TenantsUpdateOptions]) -> types.TenantOut:
        """Change the given fields of a tenant."""
        return await self._caller.fetch(types.TenantOut, "tenants.update", {**changes, "slug": slug})

    async def erase(self, slug: str) -> types.ErasedOut:
        """Erase a tenant and all its data. This cannot be undone."""
        return await self._caller.fetch(types.ErasedOut, "tenants.erase", {"slug": slug})

    async def usage(self, slug: str) -> types.UsageOut:
        """Return a tenant's usage and quotas."""
        return await self._caller.fetch(types.UsageOut, "tenants.usage", {"slug": slug})

    def audit(self, slug: str, **options: Unpack[types.TenantsListAuditOptions]) -> AsyncPages[types.AuditOut]:
        """Return a tenant's audit log entries, newest first."""
        return AsyncPages(self._caller, "tenants.list_audit", {**options, "slug": slug})

    async def export(self, slug: str) -> str:
        """Return all of a tenant's data as JSON lines."""
        return await self._caller.text("tenants.export", {"slug": slug})


class AsyncKeys:
    """Manage a tenant's API keys."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def create(self, slug: str, /, **options: Unpack[types.KeysCreateOptions]) -> types.IssuedKeyOut:
        """Create a key for a tenant. Only this response contains the secret."""
        return await self._caller.fetch(types.IssuedKeyOut, "keys.create", {**options, "slug": slug})

    def list(self, slug: str, **options: Unpack[types.KeysListOptions]) -> AsyncPages[types.KeyOut]:
        """Return a tenant's keys, without their secrets."""
        return AsyncPages(self._caller, "keys.list", {**options, "slug": slug})

    async def rotate(self, slug: str, prefix: str, **options: Unpack[types.KeysRotateOptions]) -> types.IssuedKeyOut:
        """Replace a key. The old key remains valid for `overlap_hours`."""
        fields = {**options, "slug": slug, "prefix": prefix}
        return await self._caller.fetch(types.IssuedKeyOut, "keys.rotate", fields)

    async def revoke(self, slug: str, prefix: str) -> types.KeyOut:
        """Revoke a key immediately."""
        return await self._caller.fetch(types.KeyOut, "keys.revoke", {"slug": slug, "prefix": prefix})


class AsyncJobs:
    """Start and follow long-running jobs."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def get(self, id: str) -> types.JobOut:
        """Return the state of a job. Raises NotFound if it does not exist."""
        return await self._caller.fetch(types.JobOut, "jobs.get", {"id": id})

    async def rebuild_embeddings(self, **options: Unpack[types.EmbeddingsRebuildOptions]) -> types.RebuildOut:
        """Recompute all vectors in the background, with the current or another model."""
        return await self._caller.fetch(types.RebuildOut, "embeddings.rebuild", {**options})


class AsyncPruning:
    """Archive unused conversations."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def preview(self, **options: Unpack[types.PruningPreviewOptions]) -> types.PruneSuggestionsOut:
        """Return the conversations that pruning would archive."""
        return await self._caller.fetch(types.PruneSuggestionsOut, "pruning.preview", {**options})

    async def execute(self, conversation_ids: Sequence[str]) -> types.ArchivedOut:
        """Archive the given conversations."""
        fields: Fields = {"conversation_ids": conversation_ids}
        return await self._caller.fetch(types.ArchivedOut, "pruning.execute", fields)

    async def undo(self, conversation_ids: Sequence[str]) -> types.RestoredOut:
        """Restore conversations that pruning has archived."""
        fields: Fields = {"conversation_ids": conversation_ids}
        return await self._caller.fetch(types.RestoredOut, "pruning.undo", fields)


class AsyncUpkeep:
    """Read and change the lifecycle policy, which archives unused conversations automatically."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def get(self) -> types.UpkeepOut:
        """Return the lifecycle policy and the report on its last run."""
        return await self._caller.fetch(types.UpkeepOut, "upkeep.get", {})

    async def update(self, **changes: Unpack[types.UpkeepUpdateOptions]) -> types.UpkeepOut:
        """Change the given fields of the lifecycle policy."""
        return await self._caller.fetch(types.UpkeepOut, "upkeep.update", {**changes})

"""Namespaces."""

from __future__ import annotations

from typing import Unpack

from somamemory_client import types
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._async.pages import AsyncPages


class AsyncNamespaces:
    """List, rename and delete namespaces."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    def list(self, **options: Unpack[types.NamespacesListOptions]) -> AsyncPages[types.NamespaceOut]:
        """Return the namespaces with the number of memories in each."""
        return AsyncPages(self._caller, "namespaces.list", {**options})

    async def rename(
        self, namespace: str, to: str, **options: Unpack[types.NamespacesRenameOptions]
    ) -> types.ReceiptOut:
        """Rename a namespace. With `merge`, the new namespace may already exist."""
        fields = {**options, "namespace": namespace, "to": to}
        return await self._caller.fetch(types.ReceiptOut, "namespaces.rename", fields)

    async def delete(self, namespace: str, **options: Unpack[types.NamespacesDeleteOptions]) -> types.ReceiptOut:
        """Delete the memories in a namespace. With `purge`, permanently delete its memories and links."""
        fields = {**options, "namespace": namespace}
        return await self._caller.fetch(types.ReceiptOut, "namespaces.delete", fields)

# Written by scripts/client_sync.py from _async/namespaces.py. Do not edit: run `make reference`.
"""Namespaces."""

from __future__ import annotations

from typing import Unpack

from somamemory_client import types
from somamemory_client._sync.caller import Caller
from somamemory_client._sync.pages import Pages


class Namespaces:
    """List, rename and delete namespaces."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def list(self, **options: Unpack[types.NamespacesListOptions]) -> Pages[types.NamespaceOut]:
        """Return the namespaces with the number of memories in each."""
        return Pages(self._caller, "namespaces.list", {**options})

    def rename(self, namespace: str, to: str, **options: Unpack[types.NamespacesRenameOptions]) -> types.ReceiptOut:
        """Rename a namespace. With `merge`, the new namespace may already exist."""
        fields = {**options, "namespace": namespace, "to": to}
        return self._caller.fetch(types.ReceiptOut, "namespaces.rename", fields)

    def delete(self, namespace: str, **options: Unpack[types.NamespacesDeleteOptions]) -> types.ReceiptOut:
        """Delete the memories in a namespace. With `purge`, permanently delete its memories and links."""
        fields = {**options, "namespace": namespace}
        return self._caller.fetch(types.ReceiptOut, "namespaces.delete", fields)

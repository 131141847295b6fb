# Written by scripts/client_sync.py from _async/memories.py. Do not edit: run `make reference`.
"""Memories: store, fetch, change, delete, search and list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from somamemory_client import types
from somamemory_client._operation import Fields
from somamemory_client._results import (
    BulkReport,
    BulkStopped,
    Memory,
    Results,
    batches,
    memory_fields,
    one_name,
    several,
)
from somamemory_client._sync.caller import Caller
from somamemory_client._sync.pages import Pages
from somamemory_client.errors import InvalidArgument, SomaError

Coordinate = str | Sequence[float]


class Memories:
    """Store, find, change and delete memories. A memory is identified by its `coord`, its `key` or its `id`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def store(self, memory: Memory, /, **options: Unpack[types.MemoriesStoreOptions]) -> types.StoredOut:
        """Store a memory, given as text or as a payload. If a memory with its `key` or `coord` exists, replace it.

        Text becomes the payload `{"text": …}`.
        """
        fields = {**options, "payload": memory_fields(memory)}
        return self._caller.fetch(types.StoredOut, "memories.store", fields)

    def get(
        self,
        *,
        coord: Coordinate | None = None,
        key: str | None = None,
        id: str | None = None,
        **options: Unpack[types.MemoriesGetOptions],
    ) -> types.MemoryOut:
        """Return a memory, optionally as it was at an earlier time (`as_of`). Raises NotFound if there is none."""
        operation, fields = _named("memories.get", coord, key, id, options)
        return (self._caller.fetch(types.MemoryEnvelope, operation, fields))["memory"]

    def update(
        self,
        *,
        coord: Coordinate | None = None,
        key: str | None = None,
        id: str | None = None,
        namespace: str | None = None,
        **changes: Unpack[types.MemoriesPatchByIdOptions],
    ) -> types.MemoryOut:
        """Change the given fields of a memory, and leave the others unchanged. In objects, None removes a field."""
        scope = {} if namespace is None else {"namespace": namespace}
        operation, fields = _named("memories.patch", coord, key, id, {**changes, **scope})
        return (self._caller.fetch(types.MemoryEnvelope, operation, fields))["memory"]

    def delete(
        self,
        *,
        coord: Coordinate | None = None,
        key: str | None = None,
        id: str | None = None,
        **options: Unpack[types.MemoriesDeleteOptions],
    ) -> types.DeletedOut:
        """Delete a memory. It can be restored during the retention period, unless `purge` is true."""
        operation, fields = _named("memories.delete", coord, key, id, options)
        return self._caller.fetch(types.DeletedOut, operation, fields)

    def restore(
        self,
        *,
        coord: Coordinate | None = None,
        key: str | None = None,
        id: str | None = None,
        namespace: str | None = None,
        version: int | None = None,
    ) -> types.MemoryOut:
        """Restore a deleted memory, or restore an earlier version as a new version."""
        one_name(coord=coord, key=key, id=id)
        given = {"coord": coord, "key": key, "id": id, "namespace": namespace, "version": version}
        fields: Fields = {name: value for name, value in given.items() if value is not None}
        return (self._caller.fetch(types.MemoryEnvelope, "memories.restore_by_name", fields))["memory"]

    def history(
        self,
        *,
        coord: Coordinate | None = None,
        key: str | None = None,
        id: str | None = None,
        **options: Unpack[types.MemoriesHistoryOptions],
    ) -> Pages[types.VersionOut]:
        """Return a memory's versions, newest first."""
        operation, fields = _named("memories.history", coord, key, id, options)
        return Pages(self._caller, operation, fields)

    def search(self, query: str, /, **options: Unpack[types.MemoriesSearchOptions]) -> Results[types.FoundOut]:
        """Search by meaning and keyword. Returns up to `top_k` memories, best first."""
        body = self._caller.fetch(types.SearchOut, "memories.search", {**options, "query": query})
        return Results(body["memories"], body)

    def list(self, **options: Unpack[types.MemoriesListOptions]) -> Pages[types.MemoryOut]:
        """Return all memories that match the options. `limit` is the page size."""
        return Pages(self._caller, "memories.list", {**options})

    def map(self, **options: Unpack[types.MemoriesMapOptions]) -> types.MapOut:
        """Count memories by the first numbers of their coordinates, or in the cells of a grid."""
        return self._caller.fetch(types.MapOut, "memories.map", {**options})

    def stats(self) -> types.StatsOut:
        """Count memories, links and conversations, and report the state of the index."""
        return self._caller.fetch(types.StatsOut, "stats.get", {})

    def get_many(
        self,
        *,
        coords: Sequence[Coordinate] | None = None,
        keys: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        namespace: str | None = None,
    ) -> types.BulkGotOut:
        """Return up to 1,000 memories, in the order in which they were requested."""
        fields = _many(coords, keys, ids, namespace)
        return self._caller.fetch(types.BulkGotOut, "memories.get_many", fields)

    def delete_many(
        self,
        *,
        coords: Sequence[Coordinate] | None = None,
        keys: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        namespace: str | None = None,
    ) -> types.BulkDeletedOut:
        """Delete up to 1,000 memories in one transaction."""
        fields = _many(coords, keys, ids, namespace)
        return self._caller.fetch(types.BulkDeletedOut, "memories.delete_many", fields)

    def delete_matching(self, **conditions: Unpack[types.MemoriesDeleteMatchingOptions]) -> types.DeletedMatchingOut:
        """Delete the memories that match all conditions. Call it again while `complete` is false."""
        return self._caller.fetch(types.DeletedMatchingOut, "memories.delete_matching", {**conditions})

    def store_many(self, items: Iterable[Memory | types.StoreBody], *, atomic: bool = False) -> types.BulkStoredOut:
        """Store up to 1,000 memories in one request. With `atomic`, store all or none.

        An item is text, or an object with the fields of `store` and a `payload`.
        """
        fields: Fields = {"items": [self._item(item) for item in several("items", items)], "atomic": atomic}
        return self._caller.fetch(types.BulkStoredOut, "memories.store_many", fields)

    def store_all(self, items: Iterable[Memory | types.StoreBody], *, batch_size: int = 200) -> BulkReport:
        """Store any number of memories in batches, and report the items that were rejected.

        Raises BulkStopped, with the report so far, if a whole batch fails or a later item is invalid.
        """
        report = BulkReport()
        try:
            for batch in batches((self._item(item) for item in several("items", items)), batch_size):
                body = self._caller.fetch(types.BulkStoredOut, "memories.store_many", {"items": batch})
                report.add(body["results"])
        except SomaError as error:
            if isinstance(error, InvalidArgument) and report.done == 0:
                raise
            raise BulkStopped(report, error) from error
        return report

    def _item(self, item: Memory | types.StoreBody) -> Fields:
        """Return an item of a bulk request. Its own fields override the scope."""
        fields: Mapping[str, Any] = {"payload": {"text": item}} if isinstance(item, str) else item
        return self._caller.config.scoped_item(fields)


def _named(
    operation: str, coord: Coordinate | None, key: str | None, id: str | None, options: Mapping[str, object]
) -> tuple[str, Fields]:
    """Return the operation for a coordinate, key or id, whichever is given, and the fields to call it with.

    Raises InvalidArgument unless exactly one of them is given.
    """
    kind = one_name(coord=coord, key=key, id=id)
    name = {"coord": coord, "key": key, "id": id}[kind]
    return operation if kind == "coord" else f"{operation}_by_{kind}", {**options, kind: name}


def _many(
    coords: Sequence[Coordinate] | None,
    keys: Sequence[str] | None,
    ids: Sequence[str] | None,
    namespace: str | None,
) -> Fields:
    names: Fields = {"coords": coords, "keys": keys, "ids": ids}
    kind = one_name(**names)
    fields: Fields = {} if namespace is None else {"namespace": namespace}
    return {**fields, kind: names[kind]}

"""LangGraph's long-term memory: `SomaStore` and `AsyncSomaStore`.

    graph = builder.compile(store=SomaStore(Client()))

Each item is stored as a memory. The namespace `("users", "ada")`, for example, becomes `langgraph/users/ada`. An item's
value is stored in the metadata as `value`, so that filters can use it. Searches use all strings in the value, or only
the strings at the paths in `index`.
"""

from __future__ import annotations

import asyncio
import json
import math
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    tokenize_path,
)
from langgraph.store.base.batch import AsyncBatchedBaseStore

from somamemory_client import ApiError, AsyncClient, Client, InvalidArgument, SomaError
from somamemory_client._retries import may_pass
from somamemory_client.adapters._calls import (
    MOST,
    Call,
    Calls,
    as_query,
    call,
    memories,
    pages,
    requests,
    run,
    run_async,
    slices,
    without_scope,
)
from somamemory_client.adapters._namespaces import labels, namespace

PAGE = 200  # hits in one response
T = TypeVar("T")
Mode = Literal["hybrid", "semantic", "keyword"]
Consistency = Literal["eventual", "strong"]
Memory = Mapping[str, Any]
_Waiting = tuple[asyncio.Future[Result], Op]
_OPERATORS = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}


class _Translation:
    """Translates the store's operations into API calls, for a client without a scope.

    ids: stored with each item. Searches and lists are limited to these ids.
    """

    def __init__(
        self,
        ids: Mapping[str, str],
        root: str,
        fields: Sequence[str] | None,
        mode: Mode,
        consistency: Consistency,
    ) -> None:
        self.ids = ids
        self.root = root
        self.fields = fields
        self.mode = mode
        self.consistency = consistency

    def batch(self, ops: Sequence[Op]) -> Calls[list[Result]]:
        """Return the results of operations. As in LangGraph's stores, reads precede writes, and the last write wins.

        Equal reads are sent once.
        """
        reads = {repr(op): op for op in ops if not isinstance(op, PutOp)}  # a filter cannot be hashed
        results: dict[str, Result] = {}
        results |= yield from self._gets([(name, op) for name, op in reads.items() if isinstance(op, GetOp)])
        for name, op in reads.items():
            if isinstance(op, SearchOp):
                results[name] = yield from self._search(op)
            elif isinstance(op, ListNamespacesOp):
                results[name] = yield from self._list_namespaces(op)
        yield from self._puts([op for op in ops if isinstance(op, PutOp)])
        return [None if isinstance(op, PutOp) else results.get(repr(op)) for op in ops]

    # --- Reads ---------------------------------------------------------------------------------------------------

    def _gets(self, ops: Sequence[tuple[str, GetOp]]) -> Calls[dict[str, Result]]:
        results: dict[str, Result] = {}
        for place, group in _grouped((op.namespace, (name, op)) for name, op in ops):
            found = yield from memories("keys", [op.key for _, op in group], self._namespace(place))
            pairs = [(name, op, memory) for (name, op), memory in zip(group, found, strict=True) if memory]
            results |= {name: self._item(memory) for name, _, memory in pairs}
            yield from _refreshed(memory for _, op, memory in pairs if op.refresh_ttl)
        return results

    def _search(self, op: SearchOp) -> Calls[list[SearchItem]]:
        query = as_query(op.query)
        found = yield from (self._found(op, query) if query else self._listed(op))
        if op.refresh_ttl:
            yield from _refreshed(memory for memory, _ in found)
        return [SearchItem(**self._fields(memory), score=score) for memory, score in found]

    def _found(self, op: SearchOp, query: str) -> Calls[list[tuple[Memory, float | None]]]:
        """Return the hits of a query.

        Hits do not contain the time of the last change, so the memories are read as well.
        """
        scores: dict[str, float] = {}
        while len(scores) < op.limit:
            body = yield call(
                "memories.search",
                query=query,
                namespace_prefix=self._namespace(op.namespace_prefix),
                filters=_filters(op.filter),
                mode=self.mode,
                consistency=self.consistency,
                top_k=min(op.limit - len(scores), PAGE),
                offset=op.offset + len(scores),
                **self.ids,
            )
            scores |= {hit["id"]: hit["score"] for hit in body["memories"]}
            if len(body["memories"]) < PAGE and body.get("next_offset") is None:
                break
        found = yield from memories("ids", list(scores))
        return [(memory, scores[memory["id"]]) for memory in found if memory]

    def _listed(self, op: SearchOp) -> Calls[list[tuple[Memory, float | None]]]:
        """Return the memories that match the filter, most recently changed first."""
        filters = _filters(op.filter)
        end = op.offset + op.limit
        found: list[Memory] = []
        for name in (yield from self._names(op.namespace_prefix)):
            found += yield from pages(
                "memories.list",
                most=end,
                namespace=name,
                filters=json.dumps(filters) if filters else None,
                order="-updated_at",
                limit=min(end, MOST),
                **self.ids,
            )
        found.sort(key=lambda memory: str(memory["updated_at"]), reverse=True)
        return [(memory, None) for memory in found[op.offset : end]]

    def _list_namespaces(self, op: ListNamespacesOp) -> Calls[list[tuple[str, ...]]]:
        conditions = op.match_conditions or ()
        first = next((condition.path for condition in conditions if condition.match_type == "prefix"), ())
        names = yield from self._names(tuple(first[: first.index("*")] if "*" in first else first))
        places = (labels(self.root, name) for name in names)
        matching = (place for place in places if all(_matches(place, condition) for condition in conditions))
        own = (yield from self._own(matching)) if self.ids else matching
        distinct = sorted({place[: op.max_depth] for place in own})
        return distinct[op.offset : op.offset + op.limit]

    def _own(self, places: Iterable[tuple[str, ...]]) -> Calls[list[tuple[str, ...]]]:
        """Return the places that contain items with the store's ids. The service cannot limit namespaces to ids."""
        own: list[tuple[str, ...]] = []
        for place in places:
            found = yield call("memories.list", namespace=self._namespace(place), limit=1, **self.ids)
            own += [place] if found["items"] else []
        return own

    def _names(self, prefix: tuple[str, ...]) -> Calls[list[str]]:
        """Return the namespaces at and under a prefix."""
        listed = yield from pages("namespaces.list", prefix=self._namespace(prefix), limit=200)
        return [item["namespace"] for item in listed]

    # --- Writes --------------------------------------------------------------------------------------------------

    def _puts(self, ops: Sequence[PutOp]) -> Calls[None]:
        last = {(op.namespace, op.key): op for op in ops}.values()
        for some in requests(self._memory(op) for op in last if op.value is not None):
            yield call("memories.store_many", items=some, atomic=True)
        for place, keys in _grouped((op.namespace, op.key) for op in last if op.value is None):
            for names in slices(keys):
                yield call("memories.delete_many", namespace=self._namespace(place), keys=names)

    def _memory(self, op: PutOp) -> dict[str, object]:
        ttl_s = None if op.ttl is None else max(1, math.ceil(op.ttl * 60))
        metadata = {"value": op.value} if ttl_s is None else {"value": op.value, "ttl_s": ttl_s}
        memory: dict[str, object] = {"namespace": self._namespace(op.namespace), "key": op.key, "metadata": metadata}
        return memory | {"payload": self._payload(op), "ttl_seconds": ttl_s, **self.ids}

    def _payload(self, op: PutOp) -> Mapping[str, object]:
        """Return the searchable payload."""
        fields = self.fields if op.index is None else op.index
        if fields is None:
            return op.value or {}
        texts = [text for field in fields or () for text in get_text_at_path(op.value, tokenize_path(field))]
        return {"text": "\n".join(texts)} if texts else {}

    # --- Names and items -----------------------------------------------------------------------------------------

    def _namespace(self, place: Iterable[str]) -> str:
        if not all(place := tuple(place)):
            raise InvalidNamespaceError("a namespace label must not be empty")
        return namespace(self.root, place)

    def _item(self, memory: Memory) -> Item:
        return Item(**self._fields(memory))

    def _fields(self, memory: Memory) -> dict[str, Any]:
        return {
            "namespace": labels(self.root, memory["namespace"]),
            "key": memory["key"] or memory["id"],
            "value": memory["metadata"].get("value", memory["payload"]),
            "created_at": datetime.fromisoformat(memory["created_at"]),
            "updated_at": datetime.fromisoformat(memory["updated_at"]),
        }


class SomaStore(BaseStore):
    """LangGraph's store, with the synchronous client. Its asynchronous methods run in threads.

    client: a client with a scope, such as `client.user("ada")`, searches, lists and stores only in that scope.
    namespace: the service's namespace that contains the store's namespaces.
    fields: the paths in a value that searches use; by default, all strings. The `index` argument of `put` overrides
    them.
    mode, consistency: for searches with a query. "strong" consistency also finds items that are not indexed yet.
    ttl: `default_ttl` in minutes, and `refresh_on_read`, which is off by default because each refresh is a write.
    """

    supports_ttl = True
    __slots__ = ("_client", "_translation", "ttl_config")

    def __init__(
        self,
        client: Client,
        *,
        namespace: str = "langgraph",
        fields: Sequence[str] | None = None,
        mode: Mode = "hybrid",
        consistency: Consistency = "eventual",
        ttl: TTLConfig | None = None,
    ) -> None:
        self._client, ids = without_scope(client)
        self._translation = _Translation(ids, namespace, fields, mode, consistency)
        self.ttl_config = TTLConfig(refresh_on_read=False) | (ttl or {})

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return run(self._client, self._translation.batch(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))


class AsyncSomaStore(AsyncBatchedBaseStore):
    """LangGraph's store, with the asynchronous client. Concurrent operations are sent together. See SomaStore.

    If an operation is rejected, only its own task gets the error.
    """

    supports_ttl = True
    __slots__ = ("_client", "_translation", "ttl_config")

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str = "langgraph",
        fields: Sequence[str] | None = None,
        mode: Mode = "hybrid",
        consistency: Consistency = "eventual",
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__()
        self._client, ids = without_scope(client)
        self._translation = _Translation(ids, namespace, fields, mode, consistency)
        self.ttl_config = TTLConfig(refresh_on_read=False) | (ttl or {})

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await run_async(self._client, self._translation.batch(list(ops)))

    def _ensure_task(self) -> None:
        """Start our own task, because LangGraph's task gives the error of one operation to all of them."""
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(_send_queue(self._aqueue, weakref.ref(self)))

    async def _send(self, waiting: Sequence[_Waiting]) -> None:
        """Send each kind of operation together, reads first."""
        for kind in (GetOp, SearchOp, ListNamespacesOp, PutOp):
            await self._settle([(future, op) for future, op in waiting if isinstance(op, kind)])

    async def _settle(self, waiting: Sequence[_Waiting]) -> None:
        """Send operations in one batch. If it is rejected, send each half of it until the rejected ones are alone."""
        waiting = [(future, op) for future, op in waiting if not future.done()]  # some tasks may have been cancelled
        try:
            results = await self.abatch(op for _, op in waiting)
        except Exception as error:  # noqa: BLE001 - the tasks get every error
            if len(waiting) > 1 and _is_rejection(error):
                half = len(waiting) // 2
                await self._settle(waiting[:half])
                await self._settle(waiting[half:])
                return
            for future, _ in waiting:
                if not future.done():
                    future.set_exception(error)
        else:
            for (future, _), result in zip(waiting, results, strict=True):
                if not future.done():
                    future.set_result(result)


async def _send_queue(queue: asyncio.Queue[_Waiting], store: weakref.ref[AsyncSomaStore]) -> None:
    """Send waiting operations until the store has been deleted."""
    while True:
        waiting = [await queue.get()]
        while not queue.empty():
            waiting.append(queue.get_nowait())
        if (alive := store()) is None:
            return
        await alive._send(waiting)
        del alive


def _is_rejection(error: Exception) -> bool:
    """Return whether an error can concern one operation of a batch, rather than the key or the server."""
    if isinstance(error, ApiError):
        return error.status not in (401, 429) and not may_pass(error)
    return isinstance(error, InvalidArgument) or not isinstance(error, SomaError)


def _refreshed(read: Iterable[Memory]) -> Calls[None]:
    """Reset the time to live of the memories that have one."""
    for memory in read:
        if (ttl_s := memory["metadata"].get("ttl_s")) is not None:
            expires_at = datetime.now(UTC) + timedelta(seconds=ttl_s)
            yield Call("memories.patch_by_id", {"id": memory["id"], "expires_at": expires_at})


def _filters(conditions: Mapping[str, Any] | None) -> dict[str, object] | None:
    """Return the conditions on a value as conditions on the metadata.

    Raises InvalidArgument if the service cannot apply them.
    """
    return dict(_conditions("metadata.value", conditions)) if conditions else None


def _conditions(path: str, conditions: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield a condition per field. As in LangGraph's stores, an object without operators is compared field by field."""
    for name, condition in conditions.items():
        if not name or "." in name:
            raise InvalidArgument("filter", f"cannot refer to the key {name!r}, which is empty or contains a dot")
        field = f"{path}.{name}"
        if not isinstance(condition, Mapping):
            yield field, condition
        elif not condition:
            raise InvalidArgument("filter", f"cannot compare the key {name!r} with an empty object")
        elif any(operator.startswith("$") for operator in condition):
            yield field, {_operator(operator): operand for operator, operand in condition.items()}
        else:
            yield from _conditions(field, condition)


def _operator(name: str) -> str:
    if name not in _OPERATORS:
        raise InvalidArgument("filter", f"unknown operator {name!r}; must be one of {', '.join(_OPERATORS)}")
    return _OPERATORS[name]


def _matches(place: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(path) > len(place):
        return False
    part = place[: len(path)] if condition.match_type == "prefix" else place[len(place) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _grouped(pairs: Iterable[tuple[tuple[str, ...], T]]) -> Iterator[tuple[tuple[str, ...], list[T]]]:
    groups: defaultdict[tuple[str, ...], list[T]] = defaultdict(list)
    for key, item in pairs:
        groups[key].append(item)
    yield from groups.items()

"""Run an adapter's calls with a synchronous or an asynchronous client.

An adapter is written once, as generators that yield calls. For each call, they receive the JSON response or the error.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from somamemory_client import AsyncClient, Client, SomaError
from somamemory_client._results import batches

T = TypeVar("T")
C = TypeVar("C", Client, AsyncClient)
MOST = 1000  # names per request, and items per page
MAX_QUERY = 8192  # characters


class Call(NamedTuple):
    """A call to an API operation. `operation` is its name in the OpenAPI document."""

    operation: str
    fields: dict[str, object]


def call(operation: str, **fields: object) -> Call:
    """Return a call with the fields that are not None."""
    return Call(operation, {name: value for name, value in fields.items() if value is not None})


Calls = Generator[Call, Any, T]  # receives JSON documents


def run(client: Client, calls: Calls[T]) -> T:
    """Send the calls one after another, and return the result."""
    try:
        step = next(calls)
        while True:
            try:
                answer = client.raw(step.operation, **step.fields).json()
            except SomaError as error:
                step = calls.throw(error)
            else:
                step = calls.send(answer)
    except StopIteration as finished:
        result: T = finished.value
        return result


async def run_async(client: AsyncClient, calls: Calls[T]) -> T:
    """Send the calls one after another, and return the result."""
    try:
        step = next(calls)
        while True:
            try:
                answer = (await client.raw(step.operation, **step.fields)).json()
            except SomaError as error:
                step = calls.throw(error)
            else:
                step = calls.send(answer)
    except StopIteration as finished:
        result: T = finished.value
        return result


def without_scope(client: C) -> tuple[C, dict[str, str]]:
    """Return a client without a scope, and the ids of the client's scope, such as `user_id`."""
    config = client._caller.config
    if not config.scope:
        return client, {}
    ids = {name: value for name, value in config.scope.items() if name != "namespace"}
    return client._copy(replace(config, scope={})), ids


def pages(operation: str, *, items: str = "items", most: int | None = None, **fields: object) -> Calls[list[Any]]:
    """Return the items from all pages of a list, or the first `most` items."""
    found: list[Any] = []
    cursor: object = None
    while True:
        page = yield call(operation, cursor=cursor, **fields)
        found += page[items]
        cursor = page.get("next_cursor")
        if cursor is None or (most is not None and len(found) >= most):
            return found[:most]


def memories(kind: str, names: Sequence[str], namespace: str | None = None) -> Calls[list[Any]]:
    """Return a memory for each name, or None if there is none. `kind`: "keys" or "ids"."""
    found: list[Any] = []
    while len(found) < len(names):  # large memories can make a response end early
        some = names[len(found) : len(found) + MOST]
        body = yield call("memories.get_many", namespace=namespace, **{kind: some})
        found += [item["memory"] for item in body["items"]]
    return found


def as_query(text: str | None) -> str:
    """Return the beginning of a text as a search query, or "" for a blank text, which the service rejects."""
    return (text or "").strip()[:MAX_QUERY]


def slices(names: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield slices of names that fit in a bulk request."""
    return (names[start : start + MOST] for start in range(0, len(names), MOST))


def requests(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield lists of memories or messages that fit in a bulk request."""
    return batches(items, MOST)

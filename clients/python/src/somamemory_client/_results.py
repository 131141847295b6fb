"""Search results, and reports on bulk requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload

from ._operation import encode
from .errors import ApiError, InvalidArgument, SomaError
from .types import BulkResult

T = TypeVar("T")
MAX_BATCH = 1000
# The service accepts bodies of 10 MiB with 500,000 values.
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_BATCH_VALUES = 400_000

Memory = str | Mapping[str, Any]


class Results(Sequence[T], Generic[T]):
    """The results of a search, best first.

    degraded: the search legs ("semantic" or "keyword") that were unavailable; normally empty.
    body: the whole response.
    """

    def __init__(self, items: list[T], body: Mapping[str, Any]) -> None:
        self._items = items
        self.body = body

    @property
    def degraded(self) -> list[str]:
        return list(self.body.get("degraded", ()))

    @property
    def next_offset(self) -> int | None:
        """Return the `offset` of the next results, if the results were too large for one response."""
        offset: int | None = self.body.get("next_offset")
        return offset

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"Results({self._items!r})"


@dataclass
class BulkReport:
    """The progress of a method that sends several bulk requests.

    done: the number of items processed so far, in the given order.
    failures: the results of the items that were rejected. `index` is the position among all given items.
    """

    stored: int = 0
    done: int = 0
    failures: list[BulkResult] = field(default_factory=list)

    def add(self, results: Iterable[BulkResult]) -> None:
        first = self.done
        for result in results:
            self.done += 1
            if result["status"] < 400:
                self.stored += 1
            else:
                self.failures.append({**result, "index": first + result["index"]})


class BulkStopped(SomaError):
    """A bulk operation could not continue. Items from index `report.done` onwards may not have been stored."""

    def __init__(self, report: BulkReport, cause: SomaError) -> None:
        super().__init__(f"stopped after {report.done} items: {cause}")
        self.report = report


def memory_fields(memory: Memory) -> dict[str, Any]:
    """Return the payload of a memory given as text or as an object."""
    if isinstance(memory, str):
        return {"text": memory}
    if isinstance(memory, Mapping):
        return dict(memory)
    raise InvalidArgument("memory", f"must be text or an object, such as a dict, not {type(memory).__name__}")


def several(field: str, items: Iterable[T]) -> Iterable[T]:
    """Return the items. Raises InvalidArgument for a single text or object, which must be in a list."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise InvalidArgument(field, f"must be a list or other iterable, not {type(items).__name__}")
    return items


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` items, MAX_BATCH_BYTES bytes and MAX_BATCH_VALUES values.

    The number of values is estimated from the commas, including those in text. An item that exceeds these limits is
    yielded alone.
    """
    if size not in range(1, MAX_BATCH + 1):
        raise InvalidArgument("batch_size", f"must be a whole number from 1 to {MAX_BATCH}")
    batch: list[T] = []
    held = held_values = 0
    for item in items:
        body = encode(item, "items")
        length, values = len(body), body.count(b",") + 1
        is_full = len(batch) >= size or held + length > MAX_BATCH_BYTES or held_values + values > MAX_BATCH_VALUES
        if batch and is_full:
            yield batch
            batch, held, held_values = [], 0, 0
        batch.append(item)
        held += length
        held_values += values
    if batch:
        yield batch


def one_name(**names: object) -> str:
    """Return the name of the argument that is given. Raises InvalidArgument unless exactly one is given."""
    given = [name for name, value in names.items() if value is not None]
    if len(given) != 1:
        raise InvalidArgument(given[1] if given else next(iter(names)), f"give exactly one of {', '.join(names)}")
    return given[0]


def is_unknown_route(error: SomaError) -> bool:
    """Return whether the server lacks the route, perhaps because its version differs."""
    return isinstance(error, ApiError) and (
        error.status == 405 or (error.code == "not_found" and error.detail == error.title)
    )

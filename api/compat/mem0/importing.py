"""Import an export from mem0: the memories that `client.get_all()` returns, as one JSON document or as one JSON object
per line.

A memory keeps its id, owners, metadata, categories and times. Importing the file again adds only what is missing.
"""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from uuid import NAMESPACE_OID, UUID, uuid5

import orjson
from django.utils import timezone
from pydantic import Field, ValidationError

from api.compat.mem0 import presenters
from api.compat.mem0.names import IMPORTED, MEM0
from api.compat.mem0.schemas import Entities, Expiry, Lenient, MemoryText, Moment
from api.field_errors import field_errors
from api.json import JsonObject
from memories import lookup, services
from memories.addresses import Key, key
from memories.models import Memory
from memories.new_memory import NewMemory
from somamemory.errors import IndexBacklog, InvalidInput, SomaError
from tenants.caller import Caller

BATCH = 500
MAX_ERRORS = 20
_LISTS = ("results", "memories")


@dataclass
class Report:
    """The result of an import.

    `sent` gives the number and the hash of the memories in the file; `stored` gives the same for the database.
    """

    added: int = 0
    present: int = 0
    expired: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    sent: str = ""
    stored: str = ""

    def fail(self, number: int, reason: str) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(f"memory {number}: {reason}")


class Exported(Entities, Lenient):
    id: str
    memory: MemoryText
    metadata: JsonObject | None = None
    categories: list[str] | None = None
    created_at: Moment | None = None
    expiration_date: Expiry = Field(default=None)

    @property
    def key(self) -> Key:
        """Return the memory's key. Clients expect a UUID, so if the id is not one, a UUID is derived from it."""
        try:
            id = UUID(self.id)
        except ValueError:
            id = uuid5(NAMESPACE_OID, self.id)
        return key(f"{IMPORTED}{id}")

    def new(self) -> NewMemory:
        categories: JsonObject = {"categories": self.categories} if self.categories else {}
        return NewMemory(
            coordinate=None,
            key=self.key,
            namespace=MEM0,
            payload={"text": self.memory, **categories},
            metadata=self.metadata or {},
            created_at=self.created_at,
            expires_at=self.expiration_date,
            source=self.source,
            **self.people,
        )


def load(caller: Caller, file: BinaryIO, wait: Callable[[SomaError], None]) -> Report:
    """Import a file, 500 memories per transaction. Read each batch back, and hash the sent and the stored memories.

    wait: called before each retry while too many memories await indexing.

    Raises InvalidInput if the file is not an export.
    """
    report, sent, stored = Report(), set[str](), set[str]()
    for batch in _batches(_parsed(_items(file.read().removeprefix(BOM_UTF8)), report)):
        _store(caller, batch, report, wait)
        sent |= {_hash(_content(item)) for item in batch}
        stored |= {_hash(_stored_content(memory)) for memory in _found(caller, [item.key for item in batch]) if memory}
    report.sent, report.stored = _summary(sent), _summary(stored)
    return report


def _content(item: Exported) -> list[Any]:
    owners = [item.user_id, item.agent_id, item.app_id, item.run_id]
    return [item.key.text, item.memory, *owners, item.metadata or {}, item.categories or []]


def _stored_content(memory: Memory) -> list[Any]:
    owners = presenters.owners(memory).values()
    return [memory.key, presenters.text(memory), *owners, memory.metadata, memory.payload.get("categories", [])]


def _summary(hashes: set[str]) -> str:
    return f"{len(hashes):,} memories, hash {_hash(sorted(hashes))}"


def _hash(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _batches(items: Iterator[Exported]) -> Iterator[Sequence[Exported]]:
    batch: list[Exported] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _items(content: bytes) -> list[Any]:
    try:
        whole = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _lines(content)
    if isinstance(whole, dict):
        whole = next((whole[name] for name in _LISTS if name in whole), [whole])
    if not isinstance(whole, list):
        raise InvalidInput("file", "must be a list of memories, or an object that contains 'results' or 'memories'")
    return whole


def _lines(content: bytes) -> list[Any]:
    try:
        return [orjson.loads(line) for line in content.splitlines() if line.strip()]
    except orjson.JSONDecodeError as error:
        raise InvalidInput("file", f"must be JSON, or contain one JSON object per line: {error}") from None


def _parsed(items: Sequence[Any], report: Report) -> Iterator[Exported]:
    now = timezone.now()
    for number, item in enumerate(items, start=1):
        try:
            memory = Exported.model_validate(item)
        except ValidationError as error:
            report.fail(number, "; ".join(f"{name}: {text}" for name, text in field_errors(error.errors())))
            continue
        if memory.expiration_date is not None and memory.expiration_date <= now:
            report.expired += 1
            continue
        yield memory


def _store(caller: Caller, batch: Sequence[Exported], report: Report, wait: Callable[[SomaError], None]) -> None:
    keys = list(dict.fromkeys(item.key for item in batch))
    present = {name for name, memory in zip(keys, _found(caller, keys), strict=True) if memory}
    new = {item.key: item.new() for item in batch if item.key not in present}
    while new:
        try:
            services.store_many(caller, list(new.values()))
            break
        except IndexBacklog as error:
            wait(error)
    report.added += len(new)
    report.present += len(batch) - len(new)


def _found(caller: Caller, keys: Sequence[Key]) -> list[Memory | None]:
    """For each key, in order, return the memory that has this key, or None."""
    found: list[Memory | None] = []
    while len(found) < len(keys):  # `get_many` returns fewer memories if they are large
        found += lookup.get_many(caller, MEM0, keys[len(found) :])
    return found

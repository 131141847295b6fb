"""The files of cold conversations: what is in one, and the storage that keeps them.

A file is gzip over lines of JSON: `{"format", "tenant", "conversation", "written_at"}`, then a line for each message.
Its name is made of the tenant and the SHA-256 of the file, so that a name never means two contents, whoever reads a
file knows whether it is what was written, and all that a tenant has lies in one folder. The moment it was written makes
two attempts two files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages

from memories.archiving import Taken
from somamemory import files as disk
from somamemory.errors import ColdFileDamaged, ColdUnavailable

FORMAT = "somamemory-cold/1"
_SUFFIX = ".jsonl.gz"
_PARTIAL, _LEFT_AFTER_S = ".partial-", 24 * 3600.0
_LEVEL = 6  # 9 takes twice as long for 1 % less


@dataclass(frozen=True)
class Packed:
    name: str
    data: bytes


def pack(tenant: uuid.UUID, conversation: uuid.UUID, written_at: str, messages: Iterable[Taken]) -> Packed:
    head = {"format": FORMAT, "tenant": str(tenant), "conversation": str(conversation), "written_at": written_at}
    lines = [orjson.dumps(head), *(orjson.dumps(message.facts, option=orjson.OPT_UTC_Z) for message in messages)]
    data = gzip.compress(b"\n".join(lines), _LEVEL, mtime=0)
    digest = hashlib.sha256(data).hexdigest()
    return Packed(f"{tenant.hex}/{digest[:2]}/{digest}{_SUFFIX}", data)


def unpack(data: bytes, tenant: uuid.UUID, conversation: uuid.UUID) -> list[Taken]:
    """The messages in the order of their turns. Raises ColdFileDamaged, also for what is another conversation's."""
    try:
        head, *lines = gzip.decompress(data).split(b"\n")
        told = orjson.loads(head)
        if (told["format"], told["tenant"], told["conversation"]) != (FORMAT, str(tenant), str(conversation)):
            raise ColdFileDamaged("the file of a cold conversation belongs to another one")
        return [Taken(orjson.loads(line)) for line in lines]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ColdFileDamaged(f"the file of a cold conversation cannot be read: {error}") from None


def write(packed: Packed) -> None:
    """Keep it, for good, and see that it is there. Raises ColdUnavailable."""
    with translating_errors():
        _storage().save(packed.name, ContentFile(packed.data))
    if read(packed.name) != packed.data:
        raise ColdFileDamaged("what was written to cold storage is not what is there")


def read(name: str) -> bytes:
    """What was written under this name. Raises ColdUnavailable, ColdFileDamaged."""
    with translating_errors(), _storage().open(name, "rb") as file:
        data = bytes(file.read())
    if hashlib.sha256(data).hexdigest() != digest_of(name):
        raise ColdFileDamaged(f"{name} in cold storage is not what was written")
    return data


def remove(name: str) -> None:
    """Nothing happens where there is none. Raises ColdUnavailable."""
    with translating_errors():
        _storage().delete(name)


def names(tenant: uuid.UUID) -> Iterator[str]:
    """All that the storage holds of a tenant, whether or not anybody knows of it. Raises ColdUnavailable."""
    for part in _listed(tenant.hex)[0]:
        for file in _listed(f"{tenant.hex}/{part}")[1]:
            yield f"{tenant.hex}/{part}/{file}"


def digest_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(_SUFFIX)


class Folder(FileSystemStorage):
    """A folder of this machine. A file is there as a whole, and survives a power cut, or it is not there."""

    def _save(self, name: str, content: File[bytes]) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in path.parent.glob(f"{_PARTIAL}*"):  # of somebody who was killed
            if left.stat().st_mtime < time.time() - _LEFT_AFTER_S:
                left.unlink(missing_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(content.chunks())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:  # also when the process is asked to end: no half file stays
            Path(partial).unlink(missing_ok=True)
            raise
        for folder in (path.parent, *path.parent.parents[:2]):
            disk.sync(folder)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # a name never means two contents


@contextmanager
def translating_errors() -> Iterator[None]:
    """A storage's errors become ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise ColdFileDamaged("the file of a cold conversation is not there") from error
    except _vendor_errors() as error:
        raise ColdUnavailable(f"cold storage does not answer: {type(error).__name__}") from error


def _vendor_errors() -> tuple[type[Exception], ...]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError, ClientError)


def _listed(folder: str) -> tuple[list[str], list[str]]:
    try:
        with translating_errors():
            folders, files = _storage().listdir(folder)
    except ColdFileDamaged:
        return [], []  # no such folder
    return sorted(folders), sorted(files)


def _storage() -> Storage:
    storage: Any = storages["cold"]
    return storage  # type: ignore[no-any-return]

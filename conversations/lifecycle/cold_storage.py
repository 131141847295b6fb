"""Cold storage: the format of the files that contain cold conversations, and access to the storage.

A file contains gzip-compressed JSON lines: a header `{"format", "tenant", "conversation", "written_at"}`, then one line
per message. The file's name consists of the tenant and the SHA-256 of the content. Therefore, a name always refers to
the same content, every read can verify the file, and all of a tenant's files are in one folder. Because of
`written_at`, two attempts to write the same conversation produce different file names.
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
from somamemory import failpoints, files
from somamemory.errors import ColdFileDamaged, ColdUnavailable

FORMAT = "somamemory-cold/1"
_SUFFIX = ".jsonl.gz"
_PARTIAL, _ABANDONED_AFTER_S = ".partial-", 24 * 3600.0
_LEVEL = 6  # level 9 takes twice as long and saves 1%


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
    """Return the messages in a cold file, in order.

    Raises ColdFileDamaged if the file is damaged or belongs to another conversation.
    """
    try:
        head, *lines = gzip.decompress(data).split(b"\n")
        header = orjson.loads(head)
        if (header["format"], header["tenant"], header["conversation"]) != (FORMAT, str(tenant), str(conversation)):
            raise ColdFileDamaged(f"the cold file for conversation {conversation} belongs to another conversation")
        return [Taken(orjson.loads(line)) for line in lines]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ColdFileDamaged(f"the cold file for conversation {conversation} cannot be read: {error}") from None


def write(packed: Packed) -> None:
    """Write a file durably, then read it back and compare the contents. Raises ColdUnavailable, ColdFileDamaged."""
    with translating_errors():
        _storage().save(packed.name, ContentFile(packed.data))
    if read(packed.name) != packed.data:
        raise ColdFileDamaged(f"the data read back from cold storage differs from what was written to {packed.name}")


def read(name: str) -> bytes:
    """Return the verified content of a file. Raises ColdUnavailable, ColdFileDamaged."""
    with translating_errors(), _storage().open(name, "rb") as file:
        data = bytes(file.read())
    if hashlib.sha256(data).hexdigest() != digest_of(name):
        raise ColdFileDamaged(f"file {name} in cold storage does not match its checksum; restore it from a backup")
    return data


def remove(name: str) -> None:
    """Delete a file if it exists. Raises ColdUnavailable."""
    with translating_errors():
        _storage().delete(name)


def names(tenant: uuid.UUID) -> Iterator[str]:
    """Yield the names of all of a tenant's files in cold storage, including those that no row refers to.

    Raises ColdUnavailable.
    """
    for part in _list(tenant.hex)[0]:
        for file in _list(f"{tenant.hex}/{part}")[1]:
            yield f"{tenant.hex}/{part}/{file}"


def remove_all(tenant: uuid.UUID) -> int:
    """Remove all of a tenant's files, including those that no row refers to. Return the number removed."""
    all_names = list(names(tenant))
    for name in all_names:
        remove(name)
    return len(all_names)


def digest_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(_SUFFIX)


class Folder(FileSystemStorage):
    """Cold storage in a local folder. Writes are atomic and survive a power failure."""

    def _save(self, name: str, content: File[bytes]) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(path.parent)
        _write_atomically(path, content)
        for folder in (path.parent, *path.parent.parents[:2]):
            files.sync(folder)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # a name always refers to the same content


def _remove_abandoned(folder: Path) -> None:
    """Remove partial files left by processes that were killed."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        if partial.stat().st_mtime < time.time() - _ABANDONED_AFTER_S:
            partial.unlink(missing_ok=True)


def _write_atomically(path: Path, content: File[bytes]) -> None:
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(content.chunks())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:  # leave no partial file, even if the process is being shut down
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def translating_errors() -> Iterator[None]:
    """Translate the storage backend's exceptions into our errors."""
    try:
        failpoints.reach("call.cold_storage")
        yield
    except FileNotFoundError as error:
        raise ColdFileDamaged("the file for a cold conversation is missing from cold storage") from error
    except _vendor_errors() as error:
        reason = getattr(error, "strerror", None) or type(error).__name__  # str(error) may contain a path
        raise ColdUnavailable(f"cold storage cannot be used ({reason}); retry later") from error


def _vendor_errors() -> tuple[type[Exception], ...]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError, ClientError)


def _list(folder: str) -> tuple[list[str], list[str]]:
    """Return the names of the folders and files in a folder."""
    try:
        with translating_errors():
            folders, names = _storage().listdir(folder)
    except ColdFileDamaged:
        return [], []  # the folder does not exist
    return sorted(folders), sorted(names)


def _storage() -> Storage:
    storage: Any = storages["cold"]
    return storage  # type: ignore[no-any-return]

"""Copies of cold conversations in backups and in tenant exports.

A backup uses the folder structure of cold storage. Files with the same name always have the same content. A file that
is already in the previous backup is therefore hard-linked instead of copied, and takes up no additional space.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.utils import timezone

from conversations.lifecycle import cold_storage
from conversations.lifecycle.cold_storage import Packed
from conversations.models import ColdFile, DeletedConversation
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.errors import ColdFileDamaged, InvalidInput
from somamemory.files import Progress, checksum, sync
from tenants.caller import Caller
from tenants.models import Tenant

NAME = "cold"
_PAGE = 500


def copy(to: Path, earlier: Path | None, since: datetime, progress: Progress) -> dict[str, Any]:
    """Copy the files that were in use at `since` or later.

    In the result, `missing` lists damaged files and files that were purged while the backup was running.
    """
    rows = ColdFile.all_tenants.filter(ColdFile.needed(since)).order_by("name")
    names = list(rows.values_list("name", flat=True))
    copied, size, missing = 0, 0, []
    for number, name in enumerate(names, start=1):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            if not (earlier and _link(earlier / name, target)):
                target.write_bytes(cold_storage.read(name))
                sync(target)
        except ColdFileDamaged:
            missing.append(name)
            continue
        copied, size = copied + 1, size + target.stat().st_size
        progress("cold conversations", number / len(names))
    return {"files": copied, "bytes": size, "missing": missing}


def check(folder: Path, summary: dict[str, Any], progress: Progress) -> None:
    """Verify the files in a backup. Raises InvalidInput if a file is missing or damaged."""
    files = _files(folder)
    for number, file in enumerate(files, start=1):
        if checksum(file, _no_progress) != cold_storage.digest_of(file.name):
            raise InvalidInput(
                "folder", f"contains a damaged file: {file} does not match its checksum; use another backup"
            )
        progress("cold conversations", number / len(files))
    expected = summary.get("files", 0)
    if len(files) != expected:
        raise InvalidInput(
            "folder", f"is incomplete: {folder} contains {len(files)} of {expected} cold files; use another backup"
        )


def bring_back(folder: Path, summary: dict[str, Any], progress: Progress) -> None:
    """Restore the files to the configured cold storage, replacing files with the same names."""
    files = _files(folder)
    if files and not settings.COLD_STORAGE:
        raise InvalidInput(
            "folder", f"cannot be restored without cold storage; set SOMA_COLD_STORAGE and restore {folder} again"
        )
    for number, file in enumerate(files, start=1):
        cold_storage.write(Packed(file.relative_to(folder).as_posix(), file.read_bytes()))
        progress("cold conversations", number / len(files))


def rows(tenant: Tenant, since: datetime) -> Iterator[Model]:
    """Yield the messages in a tenant's cold files as database rows, including those of deleted conversations.

    Includes conversations restored after `since`, because a concurrent reader of the database may or may not have seen
    their rows. A row can therefore occur twice in an export, possibly in two versions.
    """
    caller = Caller(tenant, "export", frozenset(("read",)))
    files = ColdFile.objects.for_tenant(tenant).filter(ColdFile.needed(since)).order_by("id")
    page = list(files[:_PAGE])
    while page:
        for file in page:
            yield from _messages(caller, file)
        page = list(files.filter(id__gt=page[-1].id)[:_PAGE])


def _messages(caller: Caller, file: ColdFile) -> Iterator[Memory]:
    try:
        taken = cold_storage.unpack(cold_storage.read(file.name), caller.tenant.id, file.conversation_id)
    except ColdFileDamaged:
        if ColdFile.objects.for_tenant(caller.tenant).filter(ColdFile.needed(timezone.now()), id=file.id).exists():
            raise
        return  # the file is still being written, or the conversation has just been purged
    deleted = DeletedConversation.objects.for_tenant(caller.tenant).filter(conversation_id=file.conversation_id)
    deleted_at = deleted.values_list("deleted_at", flat=True).first()
    for message in taken:
        memory = message.memory(caller, CONVERSATIONS)
        memory.deleted_at = deleted_at
        yield memory


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _link(old: Path, new: Path) -> bool:
    """Hard-link or copy the file from the previous backup. Return False if it is missing or damaged there."""
    if not old.is_file() or checksum(old, _no_progress) != cold_storage.digest_of(old.name):
        return False
    try:
        os.link(old, new)
    except OSError:  # the file system does not support hard links
        shutil.copy2(old, new)
        sync(new)
    return True


def _no_progress(phase: str, share: float) -> None:
    pass

"""The files of cold conversations where everything is taken along: in backups, and in the export of a tenant.

In a backup they lie as in the storage. A file's name never means two contents, so that one which the last backup holds
is linked, not copied: it takes room once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Model, Q

from conversations.lifecycle import cold_storage, tiers
from conversations.lifecycle.cold_storage import Packed
from conversations.models import ColdFile, Conversation
from somamemory import files as disk
from somamemory.errors import ColdFileDamaged, InvalidInput
from somamemory.files import Progress, checksum
from tenants.caller import Caller
from tenants.models import Tenant

NAME = "cold"
_PAGE = 500


def copy(to: Path, earlier: Path | None, since: datetime, progress: Progress) -> dict[str, Any]:
    """The files that were in use at `since` or later. `missing`: those that are damaged, or were purged meanwhile."""
    rows = ColdFile.all_tenants.filter(Q(dropped_at=None) | Q(dropped_at__gte=since)).order_by("name")
    names = list(rows.values_list("name", flat=True))
    copied, size, missing = 0, 0, []
    for number, name in enumerate(names, start=1):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            if not (earlier and _linked(earlier / name, target)):
                target.write_bytes(cold_storage.read(name))
                disk.sync(target)
        except ColdFileDamaged:
            missing.append(name)
            continue
        copied, size = copied + 1, size + target.stat().st_size
        progress("cold conversations", number / len(names))
    return {"files": copied, "bytes": size, "missing": missing}


def check(folder: Path, told: dict[str, Any], progress: Progress) -> None:
    """Raises InvalidInput where a file is missing, or is not what was written."""
    files = _files(folder)
    for number, file in enumerate(files, start=1):
        if checksum(file, _unseen) != cold_storage.digest_of(file.name):
            raise InvalidInput("folder", f"{file} is damaged: it is not what was written")
        progress("cold conversations", number / len(files))
    if len(files) != told.get("files", 0):
        expected = told.get("files", 0)
        raise InvalidInput("folder", f"{folder} holds {len(files)} files of cold conversations instead of {expected}")


def bring_back(folder: Path, told: dict[str, Any], progress: Progress) -> None:
    """Into the storage that the settings name; what is there already is written again."""
    files = _files(folder)
    if files and not settings.COLD_STORAGE:
        raise InvalidInput("folder", f"{folder} holds files of cold conversations: set SOMA_COLD_STORAGE first")
    for number, file in enumerate(files, start=1):
        cold_storage.write(Packed(file.relative_to(folder).as_posix(), file.read_bytes()))
        progress("cold conversations", number / len(files))


def rows(tenant: Tenant, since: datetime) -> Iterator[Model]:
    """The messages of a tenant's cold conversations, as they would be in the database.

    Those of conversations that have come back since then, too: whoever has read the database meanwhile may have seen
    them, or not.
    """
    caller = Caller(tenant, "export", frozenset(("read",)))
    back = ColdFile.objects.for_tenant(tenant).filter(dropped_at__gte=since).values("conversation_id")
    conversations = Conversation.objects.for_tenant(tenant).order_by("key")
    cold = conversations.filter(Q(tier=Conversation.Tier.COLD) | Q(id__in=back))
    page = list(cold[:_PAGE])
    while page:
        for conversation in page:
            yield from tiers.messages(caller, conversation)
        page = list(cold.filter(key__gt=page[-1].key)[:_PAGE])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _linked(old: Path, new: Path) -> bool:
    """Whether the last backup has it, unharmed."""
    if not old.is_file() or checksum(old, _unseen) != cold_storage.digest_of(old.name):
        return False
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        shutil.copy2(old, new)
        disk.sync(new)
    return True


def _unseen(phase: str, share: float) -> None:
    pass

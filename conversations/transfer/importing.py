"""Takes conversations over: each in a transaction of its own, once however often it comes.

A conversation is known by its source and its id there. One that has grown since gets the new turns; one that went
another way (a message was edited, another branch chosen) is reported and left as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID, uuid4

from django.db import transaction

from conversations import services
from conversations.lifecycle import tiers
from conversations.messages import NewMessage, in_conversation, read_messages
from conversations.models import Conversation, ImportedConversation
from conversations.services import NewConversation
from conversations.transfer.formats import simple
from conversations.transfer.formats.base import Broken, Imported
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.errors import ColdFileDamaged, IndexBacklog, SomaError, Unavailable
from tenants.caller import Caller

CREATED, EXTENDED, UNCHANGED, DIVERGED = "created", "extended", "unchanged", "diverged"
MAX_ERRORS = 1_000
_AT_ONCE = 500  # messages of one statement
Wait = Callable[[SomaError], None]


@dataclass
class Report:
    """What became of a file. `errors` holds the first thousand; `failed` counts them all."""

    counts: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    errors: list[Broken] = field(default_factory=list)
    failed: int = 0

    def note(self, error: Broken) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    @property
    def seen(self) -> int:
        return self.counts.total() + self.failed


def take_in(
    caller: Caller,
    found: Iterable[Imported | Broken],
    *,
    dry_run: bool = False,
    progress: Callable[[Report], None] = lambda report: None,
    wait: Wait | None = None,
) -> Report:
    """Store what an importer has read. One that cannot be stored is reported, and the others are.

    wait: called when there is no room at the moment, before the same conversation is tried again; without it that
    error ends the import, and doing it once more goes on where it ended. Raises IndexBacklog, Unavailable, Forbidden.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    report = Report()
    for item in found:
        if isinstance(item, Broken):
            report.note(item)
        else:
            _take_one(caller, item, report, dry_run, wait)
        progress(report)
    return report


def _take_one(caller: Caller, item: Imported, report: Report, dry_run: bool, wait: Wait | None) -> None:
    try:
        outcome, added = ("readable", len(item.messages)) if dry_run else _patiently(caller, item, wait)
    except ColdFileDamaged as error:  # to wait mends no file, and the other conversations need not
        report.note(Broken(f"{item.source} {item.source_id}", str(error)))
        return
    except (IndexBacklog, Unavailable):
        raise
    except SomaError as error:
        report.note(Broken(f"{item.source} {item.source_id}", str(error)))
        return
    report.counts[outcome] += 1
    report.messages += added
    report.left_out.update(item.left_out)
    if outcome == DIVERGED:
        report.note(
            Broken(f"{item.source} {item.source_id}", "it has other messages than when it was imported; left as it is")
        )


def _patiently(caller: Caller, item: Imported, wait: Wait | None) -> tuple[str, int]:
    while True:
        try:
            return _stored(caller, item)
        except ColdFileDamaged:
            raise
        except (IndexBacklog, Unavailable) as error:
            if wait is None:
                raise
            wait(error)


def _stored(caller: Caller, item: Imported) -> tuple[str, int]:
    """What happened, and how many messages were added."""
    return tiers.warmed(caller, lambda: _stored_at_once(caller, item))


@transaction.atomic
def _stored_at_once(caller: Caller, item: Imported) -> tuple[str, int]:
    row = _claimed(caller, item)
    conversations = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    known = conversations.filter(id=row.conversation_id).first()
    if known is None:
        return _created(caller, row, item)
    tiers.refuse_cold(known)  # it is compared with what is there
    return _extended(caller, known, item)


def _claimed(caller: Caller, item: Imported) -> ImportedConversation:
    """The row of this source and id, which whoever imports the same at the same time waits for.

    It names the conversation that this one has become. That may be deleted since, or not be there yet: an export of
    our own names the one that it was made of, which may be here.
    """
    rows = ImportedConversation.objects.for_tenant(caller.tenant).select_for_update()
    here = _uuid(item.source_id) if item.source == simple.SOMA else None
    row: ImportedConversation
    row, _ = rows.get_or_create(
        source=item.source,
        source_id=item.source_id,
        defaults={"tenant": caller.tenant, "conversation_id": here or uuid4()},
    )
    return row


def _created(caller: Caller, row: ImportedConversation, item: Imported) -> tuple[str, int]:
    conversation = services.create(
        caller,
        NewConversation(
            label=item.label,
            folder=item.folder,
            metadata=item.metadata,
            importance=item.importance,
            status=item.status,
            created_at=item.created_at,
        ),
    )
    row.conversation_id = conversation.id
    row.save(update_fields=["conversation_id"])
    _append(caller, conversation.id, item.messages)
    return CREATED, len(item.messages)


def _extended(caller: Caller, conversation: Conversation, item: Imported) -> tuple[str, int]:
    """Append the new messages, if the import begins with the messages that are stored."""
    imported = iter(item.messages)
    for stored in read_messages(in_conversation(caller, conversation), chunk_size=_AT_ONCE):
        message = next(imported, None)
        if message is None:
            return UNCHANGED, 0  # the stored conversation has more messages
        if (stored.role, stored.text) != (message.role, message.content):
            return DIVERGED, 0
    new = list(imported)
    _append(caller, conversation.id, new)
    return (EXTENDED, len(new)) if new else (UNCHANGED, 0)


def _append(caller: Caller, id: UUID, messages: Iterable[NewMessage]) -> None:
    left = iter(messages)
    while batch := list(islice(left, _AT_ONCE)):
        services.append(caller, id, batch)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

"""Import conversations, each in its own transaction. Importing the same file again adds nothing.

A conversation is identified by its source and by its id in that source. If it has grown since the last import, the new
turns are added. If it has diverged (a message was edited or another branch was chosen), it is reported and left
unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple
from uuid import UUID, uuid4

from conversations import lookup, services
from conversations.lifecycle import tiers
from conversations.messages import NewMessage, in_conversation, read_messages
from conversations.models import Conversation, ImportedConversation
from conversations.services import NewConversation
from conversations.transfer.formats import simple
from conversations.transfer.formats.base import Broken, Imported
from memories.reserved_namespaces import CONVERSATIONS
from somamemory import deadline
from somamemory.db.collisions import retrying
from somamemory.errors import ColdFileDamaged, IndexBacklog, SomaError, Unavailable
from tenants import usage
from tenants.caller import Caller

CREATED, EXTENDED, UNCHANGED, DIVERGED, EMPTY = "created", "extended", "unchanged", "diverged", "empty"
MAX_ERRORS = MAX_UNREADABLE = 1_000
EXTERNAL_ID_IN_USE = "external ids in use"  # key in `left_out`; such conversations are stored without their external id
_BATCH = 500  # messages per statement
Wait = Callable[[SomaError], None]


@dataclass
class Report:
    """The result of an import. `failed` is the number of errors; `errors` lists the first thousand.

    If the import stopped because of too many errors, the last entry in `errors` says so.
    """

    counts: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    errors: list[Broken] = field(default_factory=list)
    failed: int = 0

    def note(self, error: Broken) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    def stop(self, reason: str) -> None:
        self.failed += 1
        self.errors.append(Broken("the import", reason))

    @property
    def seen(self) -> int:
        return self.counts.total() + self.failed


class _Stored(NamedTuple):
    outcome: str
    added: int  # messages
    left_out: Sequence[str] = ()


def import_conversations(
    caller: Caller,
    items: Iterable[Imported | Broken],
    *,
    dry_run: bool = False,
    max_unreadable: int | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    wait: Wait | None = None,
) -> Report:
    """Store the conversations read from a file, and report those that cannot be stored.

    max_unreadable: stop after this many items that cannot be read.
    wait: called on IndexBacklog and Unavailable, before the same conversation is retried. Without `wait`, the error
    ends the import, and importing the file again continues from that point. Raises IndexBacklog, Unavailable,
    Forbidden.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    report, unreadable = Report(), 0
    for item in items:
        deadline.check()
        if isinstance(item, Broken):
            report.note(item)
            unreadable += 1
        else:
            _import_one(caller, item, report, dry_run, wait)
        progress(report)
        if unreadable == max_unreadable:
            report.stop(f"stopped after {unreadable} errors; correct the file and import it again to continue")
            break
    return report


def _import_one(caller: Caller, item: Imported, report: Report, dry_run: bool, wait: Wait | None) -> None:
    if item.left_out and not item.messages:
        report.counts[EMPTY] += 1  # none of its content can be stored
        report.left_out.update(item.left_out)
        return
    try:
        stored = _Stored("readable", len(item.messages)) if dry_run else _store_with_retry(caller, item, wait)
    except ColdFileDamaged as error:  # waiting does not repair the file, and other conversations are not affected
        report.note(Broken(f"{item.source} {item.source_id}", str(error)))
        return
    except (IndexBacklog, Unavailable):
        raise
    except SomaError as error:
        report.note(Broken(f"{item.source} {item.source_id}", str(error)))
        return
    report.counts[stored.outcome] += 1
    report.messages += stored.added
    report.left_out.update(item.left_out)
    report.left_out.update(stored.left_out)
    if stored.outcome == DIVERGED:
        report.note(
            Broken(
                f"{item.source} {item.source_id}",
                "its messages have changed since the last import, so it was not updated",
            )
        )


def _store_with_retry(caller: Caller, item: Imported, wait: Wait | None) -> _Stored:
    while True:
        try:
            return _store(caller, item)
        except ColdFileDamaged:
            raise
        except (IndexBacklog, Unavailable) as error:
            if wait is None:
                raise
            wait(error)


def _store(caller: Caller, item: Imported) -> _Stored:
    """Store a conversation, in one transaction."""
    return tiers.warmed(caller, lambda: retrying(lambda: _store_in_transaction(caller, item)))


def _store_in_transaction(caller: Caller, item: Imported) -> _Stored:
    row = _lock_row(caller, item)
    conversations = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    known = conversations.filter(id=row.conversation_id).first()
    if known is None:
        return _create(caller, row, item)
    tiers.refuse_cold(known)  # the stored messages are compared with the imported ones
    return _extend(caller, known, item)


def _lock_row(caller: Caller, item: Imported) -> ImportedConversation:
    """Return the row for the conversation's source and id, locked against concurrent imports of the same conversation.

    The row points to a conversation in this database. That conversation may not exist yet or may have been deleted. In
    a SomaMemory export, the source id is the id of the original conversation, which may already exist here.
    """
    rows = ImportedConversation.objects.for_tenant(caller.tenant).select_for_update()
    here = _uuid(item.source_id) if item.source == simple.SOMA else None
    row: ImportedConversation
    row, is_new = rows.get_or_create(
        source=item.source,
        source_id=item.source_id,
        defaults={"tenant": caller.tenant, "conversation_id": here or uuid4()},
    )
    if is_new:
        usage.add(caller.tenant, 0, row.size())
    return row


def _create(caller: Caller, row: ImportedConversation, item: Imported) -> _Stored:
    """Create the conversation, without its external id if another conversation already has that id."""
    in_use = item.external_id is not None and lookup.by_external_id(caller.unlimited(), item.external_id) is not None
    conversation = services.create(
        caller,
        NewConversation(
            label=item.label,
            folder=item.folder,
            metadata=item.metadata,
            importance=item.importance,
            status=item.status,
            created_at=item.created_at,
            external_id=None if in_use else item.external_id,
            **item.ids,
        ),
    )
    row.conversation_id = conversation.id
    row.save(update_fields=["conversation_id"])
    _append(caller, conversation.id, item.messages)
    return _Stored(CREATED, len(item.messages), [EXTERNAL_ID_IN_USE] if in_use else ())


def _extend(caller: Caller, conversation: Conversation, item: Imported) -> _Stored:
    """Append the new turns, if the imported conversation begins with the stored messages."""
    imported = iter(item.messages)
    for stored in read_messages(in_conversation(caller, conversation), chunk_size=_BATCH):
        message = next(imported, None)
        if message is None:
            return _Stored(UNCHANGED, 0)  # the stored conversation already has more messages than the imported one
        if (stored.role, stored.text) != (message.role, message.content):
            return _Stored(DIVERGED, 0)
    new = list(imported)
    _append(caller, conversation.id, new)
    return _Stored(EXTENDED if new else UNCHANGED, len(new))


def _append(caller: Caller, id: UUID, messages: Iterable[NewMessage]) -> None:
    left = iter(messages)
    while batch := list(islice(left, _BATCH)):
        services.append(caller, id, batch)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

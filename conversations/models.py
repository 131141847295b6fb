"""What the messages of a conversation have in common. The messages themselves are memories."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.utils import timezone

from conversations import folders
from memories import coordinates
from memories.coordinates import Coordinate
from memories.models import JsonField, KeyField
from somamemory.db.leases import Leased
from tenants.scoping import TenantOwned

MAX_LABEL_LENGTH = 500
MAX_METADATA_BYTES = 65_536  # of a conversation, as JSON: a list shows them all
DEFAULT_IMPORTANCE = 5.0
PINNED_IMPORTANCE = 10.0


class Conversation(TenantOwned):
    """The message of turn `t` is the memory at `[number, t]` in the namespace `conversations`."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        PINNED = "pinned"
        ARCHIVED = "archived"

    class Tier(models.TextChoices):
        """Where its messages are: in the index too, in the database alone, in a file."""

        ACTIVE = "active"
        ARCHIVED = "archived"
        COLD = "cold"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveBigIntegerField()
    key = KeyField(max_length=coordinates.DIGITS_PER_NUMBER)  # of the number: all messages' keys begin with it
    label = models.CharField(max_length=MAX_LABEL_LENGTH, blank=True)  # empty: none
    folded_label = models.CharField(max_length=2 * MAX_LABEL_LENGTH, blank=True)  # without case
    folder = models.CharField(max_length=folders.MAX_LENGTH, blank=True)  # as it was given; empty: none
    place = KeyField(max_length=folders.MAX_LENGTH + 2)  # of the folder: what lies below it begins with it
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    importance = models.FloatField(default=DEFAULT_IMPORTANCE)
    message_count = models.PositiveIntegerField(default=0)
    word_count = models.PositiveBigIntegerField(default=0)
    last_turn = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # When there is something to summarise: a day that holds messages is over. Empty: all of it is done.
    summarise_at = models.DateTimeField(null=True)
    # Who chose the label, if it chose itself: a language model, or `key-phrases`. None: a caller.
    labelled_by = models.CharField(max_length=255, null=True)  # noqa: DJ001 - SQLite adds no other column in place
    # Follows the status: archived or cold is what is archived, and nothing else.
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.ACTIVE, db_default=Tier.ACTIVE)
    archived_at = models.DateTimeField(null=True)  # when it was archived, or was used since
    metadata = JsonField(default=dict)  # last: SQLite walks over all that stands before the column it reads

    class Meta(TenantOwned.Meta):
        db_table = "sfm_conversations"
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="sfm_conversations_key")]
        indexes = [
            models.Index(fields=["tenant", "updated_at", "number"], name="sfm_conversations_updated"),
            models.Index(fields=["tenant", "status", "updated_at", "number"], name="sfm_conversations_status"),
            models.Index(fields=["tenant", "label"], name="sfm_conversations_label"),
            models.Index(fields=["tenant", "place"], name="sfm_conversations_place"),
            models.Index(
                fields=["summarise_at"],
                name="sfm_conversations_summarise",
                condition=models.Q(summarise_at__isnull=False),
            ),
            models.Index(fields=["tenant", "tier", "status", "archived_at"], name="sfm_conversations_tier"),
        ]

    def __str__(self) -> str:
        return f"conversation {self.number}"

    @property
    def root(self) -> Coordinate:
        """Where its messages lie."""
        return coordinates.from_key(self.key)


class NumberStripe(TenantOwned):
    """Gives away the numbers of a tenant's conversations: this stripe every 16th, beginning with its own.

    Several stripes, so that those who begin a conversation at the same time need not wait for one another.
    """

    STRIPES = 16

    id = models.BigAutoField(primary_key=True)
    stripe = models.PositiveSmallIntegerField()
    next = models.PositiveBigIntegerField()

    class Meta(TenantOwned.Meta):
        db_table = "sfm_conversation_numbers"
        constraints = [models.UniqueConstraint(fields=["tenant", "stripe"], name="sfm_conversation_number_stripe")]

    def __str__(self) -> str:
        return f"conversation numbers from {self.next}"


class ImportedConversation(TenantOwned):
    """Which conversation of ours a conversation of another service has become."""

    id = models.BigAutoField(primary_key=True)
    source = models.CharField(max_length=16)
    source_id = models.CharField(max_length=255)
    conversation_id = models.UUIDField()  # it may be deleted before this row is
    imported_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_imported_conversations"
        constraints = [models.UniqueConstraint(fields=["tenant", "source", "source_id"], name="sfm_import_source_id")]

    def __str__(self) -> str:
        return f"{self.source} {self.source_id}"


class Chore(Leased, TenantOwned):
    """Something to be done with a conversation beside the requests, and how far it has come.

    Whoever appends sets `due_at`, and whoever does it takes that away, both while holding the conversation's row: so no
    message comes unseen in between.
    """

    class Kind(models.TextChoices):
        FACTS = "facts"
        LABEL = "label"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"  # it did not work, and will be tried again
        FAILED = "failed"  # it did not work, and will be tried again when somebody asks for it, or says more
        DONE = "done"

    id = models.BigAutoField(primary_key=True)
    conversation_id = models.UUIDField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    due_at = models.DateTimeField(null=True)  # None: there is nothing to do
    turn = models.PositiveIntegerField(default=0)  # what was said up to here has been dealt with
    found = models.PositiveIntegerField(default=0)  # facts that were stored
    left_out = models.PositiveIntegerField(default=0)  # and those that named no message that was asked about
    cut = models.PositiveIntegerField(default=0)  # messages of which only the beginning was read
    attempts = models.PositiveSmallIntegerField(default=0)  # in a row that have failed
    error = models.CharField(max_length=64, blank=True)  # the code of the last one

    class Meta(TenantOwned.Meta):
        db_table = "sfm_conversation_chores"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "conversation_id", "kind"], name="sfm_chores_conversation")
        ]
        indexes = [
            models.Index(fields=["due_at"], name="sfm_chores_due", condition=models.Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.conversation_id}"

    def state(self, now: datetime) -> str:
        if self.due_at is None:
            return self.State.FAILED if self.error else self.State.DONE
        if self.is_leased(now):
            return self.State.RUNNING
        return self.State.WAITING if self.error else self.State.QUEUED


class ColdFile(TenantOwned):
    """A file that holds the messages of a conversation, or did, or was to: every file in the storage has a row first.

    With `dropped_at` nothing needs it, and it is removed a while later.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation_id = models.UUIDField()  # it may be deleted before this row is
    name = models.CharField(max_length=255)  # ends with the SHA-256 of what is in it
    bytes = models.PositiveBigIntegerField()  # of the file
    memories = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField()  # of the memories, as quotas count them
    written_at = models.DateTimeField(default=timezone.now)
    dropped_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_cold_files"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="sfm_cold_files_name"),
            models.UniqueConstraint(
                fields=["tenant", "conversation_id"],
                name="sfm_one_cold_file",
                condition=models.Q(dropped_at__isnull=True),
            ),
        ]
        indexes = [
            models.Index(
                fields=["dropped_at"], name="sfm_cold_files_dropped", condition=models.Q(dropped_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DeletedConversation(TenantOwned):
    """What is needed to purge a conversation that was deleted softly, while its messages are still there."""

    id = models.BigAutoField(primary_key=True)
    conversation_id = models.UUIDField()
    key = KeyField(max_length=coordinates.DIGITS_PER_NUMBER)
    deleted_at = models.DateTimeField(default=timezone.now, db_index=False)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_deleted_conversations"
        constraints = [models.UniqueConstraint(fields=["tenant", "conversation_id"], name="sfm_deleted_conversation")]
        indexes = [models.Index(fields=["deleted_at"], name="sfm_deleted_conversations_at")]

    def __str__(self) -> str:
        return f"deleted conversation {self.conversation_id}"


class Upkeep(TenantOwned):
    """What a tenant wants done with what nobody uses any more, and what was done when somebody looked last."""

    class Pruning(models.TextChoices):
        OFF = "off"
        REPORT = "report"
        ARCHIVE = "archive"

    id = models.BigAutoField(primary_key=True)
    active_days = models.PositiveIntegerField(null=True)  # empty: the installation's; 0: never
    archived_days = models.PositiveIntegerField(null=True)
    pruning = models.CharField(max_length=16, choices=Pruning.choices, default=Pruning.OFF)
    pruning_days = models.FloatField(default=90.0)
    pruning_importance = models.FloatField(default=DEFAULT_IMPORTANCE)
    ran_at = models.DateTimeField(null=True)
    pruned_at = models.DateTimeField(null=True)
    positions = JsonField(default=dict)  # where a run that was out of time goes on
    report = JsonField(default=dict)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_upkeep"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="sfm_upkeep_tenant")]

    def __str__(self) -> str:
        return f"upkeep of {self.tenant_id}"


class LlmCall(TenantOwned):
    """One call of a language model and what it took; until it has ended, what it may take at most."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    month = models.PositiveIntegerField()  # 202611
    at = models.DateTimeField(default=timezone.now)
    purpose = models.CharField(max_length=32)
    model = models.CharField(max_length=255)
    prompt_tokens = models.PositiveBigIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    micro_usd = models.PositiveBigIntegerField()  # millionths of a dollar

    class Meta(TenantOwned.Meta):
        db_table = "sfm_llm_calls"
        constraints = [models.UniqueConstraint(fields=["tenant", "month", "id"], name="sfm_llm_calls_month")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.at:%Y-%m-%d}"

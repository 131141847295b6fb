"""Conversations and related rows. The messages of conversations are stored as memories."""

from __future__ import annotations

import uuid
from datetime import datetime

import orjson
from django.db import models
from django.utils import timezone

from conversations import folders
from memories import coordinates
from memories.coordinates import Coordinate
from memories.models import JsonField, KeyField, UserOwned
from somamemory.db.leases import Leased
from tenants.models import MAX_ID_LENGTH, problem_with_id
from tenants.scoping import TenantOwned

MAX_LABEL_LENGTH = 500
MAX_EXTERNAL_ID_LENGTH = 255
MAX_METADATA_BYTES = 65_536  # maximum size per conversation, as JSON; limited because lists return the metadata
DEFAULT_IMPORTANCE = 5.0
PINNED_IMPORTANCE = 10.0


def problem_with_external_id(text: str) -> str | None:
    """Return the problem with a conversation's external id, or None if the id is valid."""
    if (problem := problem_with_id(text)) is not None:
        return problem
    if "/" in text:
        return "must not contain a slash"
    # Clients and proxies resolve these segments in a URL path, so a request would reach a different route.
    return "must not be '.' or '..'" if text in (".", "..") else None


USAGE_SQL = "SELECT 0 AS memories, COALESCE(SUM(bytes), 0) AS bytes FROM sfm_conversations WHERE tenant_id = %s"
IMPORTS_USAGE_SQL = (
    "SELECT 0 AS memories, COALESCE(SUM(LENGTH(source) + LENGTH(source_id)), 0) AS bytes "
    "FROM sfm_imported_conversations WHERE tenant_id = %s"
)
DELETED_USAGE_SQL = (
    "SELECT 0 AS memories, COALESCE(SUM(bytes), 0) AS bytes FROM sfm_deleted_conversations WHERE tenant_id = %s"
)
PROPOSALS_USAGE_SQL = "SELECT 0 AS memories, COALESCE(SUM(bytes), 0) AS bytes FROM sfm_proposals WHERE tenant_id = %s"


class Conversation(UserOwned):
    """A conversation. The message at turn `t` is the memory at `[number, t]` in the `conversations` namespace."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        PINNED = "pinned"
        ARCHIVED = "archived"

    class Tier(models.TextChoices):
        """Where the messages are stored: in the index and the database, only in the database, or in a file."""

        ACTIVE = "active"
        ARCHIVED = "archived"
        COLD = "cold"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveBigIntegerField()
    key = KeyField(
        max_length=coordinates.DIGITS_PER_NUMBER
    )  # the number as a key; the keys of all the conversation's messages begin with it
    label = models.CharField(max_length=MAX_LABEL_LENGTH, blank=True)  # empty: no label
    folded_label = models.CharField(max_length=2 * MAX_LABEL_LENGTH, blank=True)  # case-folded
    folder = models.CharField(max_length=folders.MAX_LENGTH, blank=True)  # as given; empty: no folder
    place = KeyField(max_length=folders.MAX_LENGTH + 2)  # key of the folder; the keys of its subfolders begin with it
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    importance = models.FloatField(default=DEFAULT_IMPORTANCE)
    message_count = models.PositiveIntegerField(default=0)
    word_count = models.PositiveBigIntegerField(default=0)
    last_turn = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # When summaries are due: at the end of a day with messages. None means that all summaries are up to date.
    summarise_at = models.DateTimeField(null=True)
    # The source of an automatic label: a language model, or `key-phrases`. None means that a caller set the label.
    labelled_by = models.CharField(max_length=255, null=True)  # noqa: DJ001 - SQLite adds only a nullable column in place
    # Follows the status: archived conversations are `archived` or `cold`, all others are `active`.
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.ACTIVE, db_default=Tier.ACTIVE)
    archived_at = models.DateTimeField(null=True)  # when it was archived or last read, whichever is later
    bytes = models.PositiveIntegerField(default=0, db_default=0)  # counts towards the quota: see `size`
    external_id = KeyField(max_length=MAX_EXTERNAL_ID_LENGTH, null=True)  # the caller's own id for the conversation
    metadata = JsonField(default=dict)  # last column, because SQLite scans all columns before the one that it reads

    class Meta(UserOwned.Meta):
        db_table = "sfm_conversations"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="sfm_conversations_key"),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                name="sfm_conversations_external_id",
                condition=models.Q(external_id__isnull=False),
            ),
        ]
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
            *(
                models.Index(
                    fields=["tenant", f"{owner}_id", "updated_at", "number"],
                    name=f"sfm_conversations_{owner}",
                    condition=models.Q((f"{owner}_id__isnull", False)),
                )
                for owner in ("user", "agent", "session")
            ),
        ]

    def __str__(self) -> str:
        return f"conversation {self.number}"

    def size(self) -> int:
        """Return the number of bytes that count towards a quota, without the messages, which count as memories."""
        external = (
            [self.external_id] if self.external_id else []
        )  # a missing external id adds no bytes, because the migration that measured older rows did not count it
        return len(orjson.dumps([str(self.id), self.label, self.folder, self.metadata, *external]))

    @property
    def root(self) -> Coordinate:
        """Return the coordinate under which the conversation's messages are stored."""
        return coordinates.from_key(self.key)


class NumberStripe(TenantOwned):
    """A counter for conversation numbers.

    Each of a tenant's 16 stripes hands out every 16th number, from its own start. With several stripes, concurrent
    requests can create conversations without waiting for each other.
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
    """Maps a conversation's id in another service to the imported conversation."""

    id = models.BigAutoField(primary_key=True)
    source = models.CharField(max_length=16)
    source_id = models.CharField(max_length=255)
    conversation_id = models.UUIDField()  # the conversation may be deleted before this row
    imported_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_imported_conversations"
        constraints = [models.UniqueConstraint(fields=["tenant", "source", "source_id"], name="sfm_import_source_id")]

    def __str__(self) -> str:
        return f"{self.source} {self.source_id}"

    def size(self) -> int:
        """Return the size that counts towards a quota. A character counts as a byte, as in `IMPORTS_USAGE_SQL`."""
        return len(self.source) + len(self.source_id)


class Chore(Leased, TenantOwned):
    """A background task for a conversation, with its progress.

    Appending a message sets `due_at`, and the worker clears `due_at`. Both lock the conversation's row first, so that
    the worker cannot miss a message that is appended at the same time.
    """

    class Kind(models.TextChoices):
        FACTS = "facts"
        LABEL = "label"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"  # the task failed and will be retried
        FAILED = "failed"  # the task failed and will be retried only on request or after the next append
        DONE = "done"

    id = models.BigAutoField(primary_key=True)
    conversation_id = models.UUIDField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    due_at = models.DateTimeField(null=True)  # None: nothing to do
    turn = models.PositiveIntegerField(default=0)  # messages up to this turn have been processed
    found = models.PositiveIntegerField(default=0)  # number of facts stored
    left_out = models.PositiveIntegerField(
        default=0
    )  # facts dropped because they cite a message that was not in the prompt
    cut = models.PositiveIntegerField(default=0)  # number of truncated or skipped messages
    # Number of consecutive failures, and code of the last one. For outages, see `enrichment.worker`.
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=64, blank=True)

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


class Proposal(TenantOwned):
    """A newer fact that may supersede an older one. The older fact is superseded while the proposal is accepted."""

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        REJECTED = "rejected"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    newer_id = models.UUIDField()  # id of a memory; purging the memory also removes the proposal
    older_id = models.UUIDField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    reason = models.CharField(max_length=500)
    confidence = models.FloatField()  # confidence that the newer fact makes the older one outdated, from 0 to 1
    former_valid_to = models.DateTimeField(null=True)  # `valid_to` of the older fact before it was superseded
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=64, null=True)  # noqa: DJ001 - the actor; None: open
    bytes = models.PositiveIntegerField(default=0)  # counts towards the quota: see `size`
    user_id = KeyField(max_length=MAX_ID_LENGTH, null=True)

    user_lookup = "user_id"

    class Meta(TenantOwned.Meta):
        db_table = "sfm_proposals"
        constraints = [models.UniqueConstraint(fields=["tenant", "newer_id", "older_id"], name="sfm_proposals_facts")]
        indexes = [
            models.Index(fields=["tenant", "state", "created_at", "id"], name="sfm_proposals_state"),
            models.Index(fields=["tenant", "older_id"], name="sfm_proposals_older"),
        ]

    def __str__(self) -> str:
        return f"{self.newer_id} supersedes {self.older_id}: {self.state}"

    def size(self) -> int:
        """Return the number of bytes that count towards a quota."""
        return len(orjson.dumps([self.newer_id, self.older_id, self.reason]))


class ColdFile(TenantOwned):
    """A file that contains a cold conversation's messages. The row is created before the file and deleted after it.

    If `dropped_at` is set, the file is no longer needed and is removed after a grace period.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation_id = models.UUIDField()  # the conversation may be deleted before this row
    name = models.CharField(max_length=255)  # ends with the SHA-256 of the content
    bytes = models.PositiveBigIntegerField()  # size of the file
    memories = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField()  # size of the memories, as counted by quotas
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

    @staticmethod
    def needed(since: datetime) -> models.Q:
        """Return the condition for files that were in use, or restorable, at `since` or later."""
        return models.Q(dropped_at=None) | models.Q(dropped_at__gte=since)


class DeletedConversation(TenantOwned):
    """A soft-deleted conversation, with the data to purge or restore it.

    The row exists as long as the conversation's messages exist.
    """

    id = models.BigAutoField(primary_key=True)
    conversation_id = models.UUIDField()
    key = KeyField(max_length=coordinates.DIGITS_PER_NUMBER)
    deleted_at = models.DateTimeField(default=timezone.now, db_index=False)
    user_id = KeyField(max_length=MAX_ID_LENGTH, null=True)
    bytes = models.PositiveIntegerField(default=0, db_default=0)  # counts towards the quota: see `Conversation.size`
    # {"columns": the conversation's row, "chores": the progress of its chores}; None: deleted by an older release
    snapshot = JsonField(null=True)

    user_lookup = "user_id"

    class Meta(TenantOwned.Meta):
        db_table = "sfm_deleted_conversations"
        constraints = [models.UniqueConstraint(fields=["tenant", "conversation_id"], name="sfm_deleted_conversation")]
        indexes = [
            models.Index(fields=["deleted_at"], name="sfm_deleted_conversations_at"),
            models.Index(fields=["tenant", "deleted_at", "id"], name="sfm_deleted_conversations_of"),
        ]

    def __str__(self) -> str:
        return f"deleted conversation {self.conversation_id}"


class Upkeep(TenantOwned):
    """A tenant's lifecycle settings and the report on the last run."""

    class Pruning(models.TextChoices):
        OFF = "off"
        REPORT = "report"
        ARCHIVE = "archive"

    id = models.BigAutoField(primary_key=True)
    active_days = models.PositiveIntegerField(null=True)  # None: the installation's default; 0: never
    archived_days = models.PositiveIntegerField(null=True)
    pruning = models.CharField(max_length=16, choices=Pruning.choices, default=Pruning.OFF)
    pruning_days = models.FloatField(default=90.0)
    pruning_importance = models.FloatField(default=DEFAULT_IMPORTANCE)
    ran_at = models.DateTimeField(null=True)
    pruned_at = models.DateTimeField(null=True)
    positions = JsonField(default=dict)  # where the next run continues if the last one ran out of time
    report = JsonField(default=dict)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_upkeep"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="sfm_upkeep_tenant")]

    def __str__(self) -> str:
        return f"upkeep of {self.tenant_id}"


class LlmCall(TenantOwned):
    """A language model call and its cost. While the call is running, the row holds the maximum cost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    month = models.PositiveIntegerField()  # for example 202611
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

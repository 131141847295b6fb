"""Memories, embedding generations, jobs and the outbox. The vector index can be rebuilt from these tables."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any, TypedDict

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from memories import addresses, coordinates, payloads
from somamemory.db.leases import Leased
from tenants.models import MAX_ID_LENGTH
from tenants.scoping import TenantOwned

# After this many attempts, an outbox row counts as failed, but it is still retried.
FAILED_ATTEMPTS = 3
IDS = ("user_id", "agent_id", "session_id")


class Ids(TypedDict, total=False):
    """The user, agent and session to which a row belongs, by field."""

    user_id: str | None
    agent_id: str | None
    session_id: str | None


NO_IDS: Ids = {}


class KeyField(models.CharField):  # type: ignore[type-arg]
    """Text that both databases compare byte by byte, so that coordinate keys sort by their digits."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class JsonField(models.JSONField):
    """JSON whose numbers have the same float64 or int64 values when read as when stored.

    PostgreSQL's jsonb writes 1e300 as an integer of 301 digits. If that were read as a Python int, it could not be sent
    to a client.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "decoder": payloads.Decoder})

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["decoder"]
        return name, path, args, kwargs

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if isinstance(expression, KeyTransform) or not isinstance(value, str):
            return super().from_db_value(value, expression, connection)
        try:
            return payloads.decode(value)
        except json.JSONDecodeError:  # contains NaN or a lone surrogate, stored by a release that did not reject them
            return super().from_db_value(value, expression, connection)


def has_passed(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now


class UserOwned(TenantOwned):
    """A row that may belong to a user, an agent and a session of the tenant. An id of None means that there is none.

    A missing id is null instead of an empty string, so that indexes can leave out rows without an id, and both
    databases can tell from a condition such as `user_id = …` that such an index can be used.
    """

    user_id = KeyField(max_length=MAX_ID_LENGTH, null=True)
    agent_id = KeyField(max_length=MAX_ID_LENGTH, null=True)
    session_id = KeyField(max_length=MAX_ID_LENGTH, null=True)

    user_lookup = "user_id"

    class Meta(TenantOwned.Meta):
        abstract = True

    @property
    def ids(self) -> Ids:
        """Return the ids by field, for creating another row with the same ids."""
        return Ids(user_id=self.user_id, agent_id=self.agent_id, session_id=self.session_id)


class MemoryColumns(UserOwned):
    """The columns that a memory and its earlier versions share.

    A new column requires a migration that adds it to both tables and then runs `version_trigger.install`.
    """

    class Type(models.TextChoices):
        EPISODIC = "episodic"
        SEMANTIC = "semantic"

    namespace = KeyField(max_length=255)
    coordinate_key = KeyField(max_length=coordinates.MAX_DIMENSIONS * coordinates.DIGITS_PER_NUMBER)
    # A name chosen by the caller; see `addresses`. A missing key is null instead of an empty string, so that the index
    # contains only rows with a key.
    key = KeyField(max_length=addresses.MAX_KEY_LENGTH, null=True)
    payload = JsonField()
    metadata = JsonField(default=dict)
    memory_type = models.CharField(max_length=16, choices=Type.choices, default=Type.EPISODIC)
    importance = models.FloatField(default=0.0)
    context = models.TextField(blank=True)  # text that is indexed together with the memory's own text
    terms = models.TextField(blank=True)  # the terms in the full-text index; see search.analyzer
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(
        default=timezone.now
    )  # the start of this version, which is later than that of the previous one
    expires_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    # These columns are written by `read_counts`. They are not indexed; otherwise, each write-back would have to update
    # all other indexes as well.
    access_count = models.BigIntegerField(default=0, db_default=0)
    last_accessed_at = models.DateTimeField(null=True)
    size = models.PositiveIntegerField(default=0, db_default=0)  # in bytes, as computed by `storage_usage.size`
    # Set if the memory is archived (see `archiving`): it is not in the vector index, and searches include it only on
    # request.
    archived_at = models.DateTimeField(null=True)
    # The period in which the memory is valid: see `validity`. None means that it has no start, or no end.
    valid_from = models.DateTimeField(null=True)
    valid_to = models.DateTimeField(null=True)
    # The provenance, as stated by the writer: a string or an object, and how much to trust it, from 0 to 1.
    source = JsonField(null=True)
    trust = models.FloatField(null=True)
    written_by = models.CharField(max_length=64, null=True)  # noqa: DJ001 - the actor; None in rows written by older releases

    class Meta(UserOwned.Meta):
        abstract = True

    @property
    def is_live(self) -> bool:
        """Return whether the memory is neither deleted nor expired."""
        return self.deleted_at is None and not self.has_expired(timezone.now())

    def has_expired(self, now: datetime) -> bool:
        return has_passed(self.expires_at, now)

    @property
    def coordinate(self) -> coordinates.Coordinate:
        return coordinates.from_key(self.coordinate_key)


class Memory(MemoryColumns):
    """A memory at a coordinate."""

    # The primary key is an integer, not the UUID, because SQLite's full-text index needs a rowid that VACUUM keeps.
    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    # These two are not columns: the distance from the centre, in a list of the nearest memories, and whether the memory
    # was read by `point_in_time`.
    distance: float | None = None
    past: bool = False

    class Meta(MemoryColumns.Meta):
        db_table = "sfm_memories"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "namespace", "coordinate_key"], name="sfm_memories_address"),
            models.UniqueConstraint(
                fields=["tenant", "namespace", "key"],
                name="sfm_memories_key",
                condition=models.Q(key__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "namespace", "created_at"], name="sfm_memories_created"),
            models.Index(fields=["tenant", "namespace", "updated_at"], name="sfm_memories_updated"),
            # Because of the last two columns, counting reads only the index, which stores equal entries once.
            models.Index(
                fields=["tenant", "namespace", "memory_type", "deleted_at", "expires_at"], name="sfm_memories_type"
            ),
            # The following indexes leave out memories without a value: most memories have none, and no query looks for
            # them.
            models.Index(
                fields=["tenant", "namespace", "importance"],
                name="sfm_memories_importance",
                condition=models.Q(importance__gt=0),
            ),
            models.Index(
                fields=["expires_at"], name="sfm_memories_expiry", condition=models.Q(expires_at__isnull=False)
            ),
            models.Index(
                fields=["deleted_at"], name="sfm_memories_deleted", condition=models.Q(deleted_at__isnull=False)
            ),
            models.Index(
                fields=["tenant", "namespace", "archived_at"],
                name="sfm_memories_archived",
                condition=models.Q(archived_at__isnull=False),
            ),
            models.Index(
                fields=["tenant", "user_id", "namespace", "coordinate_key"],
                name="sfm_memories_user",
                condition=models.Q(user_id__isnull=False),
            ),
            models.Index(
                fields=["tenant", "agent_id", "namespace"],
                name="sfm_memories_agent",
                condition=models.Q(agent_id__isnull=False),
            ),
            models.Index(
                fields=["tenant", "session_id", "namespace"],
                name="sfm_memories_session",
                condition=models.Q(session_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}[{self.coordinate.text}]"

    @property
    def index_state(self) -> str:
        """Return pending, failed, ready, archived, empty (there is nothing to index), or past (read with `as_of`).

        The memory must have been read with `with_index_state`. A memory that has just been written is pending.
        """
        row = vars(self)
        if "indexed_version" not in row:
            return "past" if self.past else "pending"
        due_at, attempts = row["index_due_at"], row["index_attempts"] or 0
        if due_at is not None and attempts >= FAILED_ATTEMPTS:
            return "failed"
        if due_at is not None and (attempts or due_at <= timezone.now() or row["indexed_version"] != self.version):
            return "pending"
        if self.archived_at is not None:
            return "archived"
        return "empty" if row["indexed_version"] is None else "ready"


class MemoryVersion(MemoryColumns):
    """An earlier version of a memory, current from its `updated_at` to `until`. Written by `version_trigger`."""

    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(editable=False)  # the memory's id
    until = models.DateTimeField()

    class Meta(MemoryColumns.Meta):
        db_table = "sfm_memory_versions"
        constraints = [models.UniqueConstraint(fields=["tenant", "id", "version"], name="sfm_version_of_memory")]
        indexes = [
            models.Index(fields=["tenant", "namespace", "coordinate_key", "until"], name="sfm_versions_address"),
            models.Index(fields=["tenant", "until"], name="sfm_versions_age"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}[{self.coordinate.text}] version {self.version}"


class EmbeddingGeneration(models.Model):
    """An embedding model with its parameters, and the collection that contains its vectors."""

    class State(models.TextChoices):
        BUILDING = "building"
        ACTIVE = "active"
        RETIRED = "retired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=255)
    dimension = models.PositiveIntegerField()
    collection = models.CharField(max_length=255, unique=True)
    state = models.CharField(max_length=16, choices=State.choices)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "sfm_embedding_generations"
        constraints = [
            models.UniqueConstraint(
                fields=["state"], name="sfm_one_active_generation", condition=models.Q(state="active")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} ({self.dimension})"


class Job(Leased):
    """A long-running job for the whole installation. A worker leases it for one step at a time.

    `data` contains everything needed to resume after a crash. Every step can run twice.
    """

    class Kind(models.TextChoices):
        REBUILD = "rebuild_embeddings"
        RECONCILE = "reconcile"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The tenant of the caller that requested the job. A job contains no tenant data, so it is not TenantOwned.
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    kind = models.CharField(max_length=32, choices=Kind.choices)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    data = models.JSONField(default=dict)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True)  # None if the total is not known yet
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sfm_jobs"
        constraints = [
            models.UniqueConstraint(
                fields=["kind"], name="sfm_one_open_job", condition=models.Q(state__in=["queued", "running"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"

    # This must be longer than a step, or than the time between two renewals in a long step. If a worker is killed, its
    # job waits until the lease has expired.
    LEASE = timedelta(seconds=60)

    def renew(self) -> None:
        """Extend the lease during a long step, and save the progress."""
        self.lease_until = timezone.now() + self.LEASE
        Job.objects.filter(id=self.id, lease=self.lease).update(
            lease_until=self.lease_until, done=self.done, total=self.total
        )


class VectorEmbedding(Leased, TenantOwned):
    """A memory's vector and its outbox entry.

    The entry records only *that* the index is out of date, never *what* to write there. A row is processed when
    `due_at` has passed. After a purge, the row remains until the memory has also been removed from the index.
    """

    id = models.BigAutoField(primary_key=True)
    generation = models.ForeignKey(EmbeddingGeneration, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    memory = models.ForeignKey(
        Memory,
        to_field="id",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="embeddings",
    )
    wanted_version = models.PositiveIntegerField()
    indexed_version = models.PositiveIntegerField(null=True)  # None if the memory is not in the index
    vector = models.BinaryField(null=True)  # float32, little endian, `generation.dimension` numbers
    text_hash = models.BinaryField(null=True, max_length=32)  # SHA-256 of the text from which `vector` was computed
    own = models.BooleanField(default=False)  # whether the caller supplied `vector`; if so, there is no `text_hash`
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)

    user_lookup = "memory__user_id"

    class Meta(TenantOwned.Meta):
        db_table = "sfm_vector_embeddings"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "generation", "memory"], name="sfm_embedding_of_memory"),
        ]
        indexes = [
            # The index begins with the generation, so that finding one generation's due rows does not scan another's.
            models.Index(
                fields=["generation", "due_at"], name="sfm_embeddings_queue", condition=models.Q(due_at__isnull=False)
            ),
            models.Index(
                fields=["tenant", "generation", "due_at"],
                name="sfm_embeddings_waiting",
                condition=models.Q(due_at__isnull=False),
            ),
            models.Index(fields=["memory"], name="sfm_embeddings_memory"),
        ]

    def __str__(self) -> str:
        return f"{self.memory_id} {self.indexed_version} of {self.wanted_version}"

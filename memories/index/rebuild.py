"""Build a new embedding generation alongside the active one: the steps of the `rebuild_embeddings` job.

1. *check*: verify that the new embedder works, and create a generation. From then on, every write queues memories for
   both generations.
2. *rows*: create an outbox row in the new generation for every memory, while workers begin to process these rows.
   Repeat this until a pass that began after all caches had expired finds no missing or outdated row.
3. *embed*: wait until the workers have processed the rows.
4. *compare*: compare the results of both generations for the same questions, and store the comparison with the job.
5. *switch*: activate the new generation and retire the old one, in a single transaction.
6. *retire*: when no process can still search the old generation, remove its rows and its collection.

A step can be interrupted at any point and run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from memories import embeddings, index
from memories.embeddings.base import Embedder
from memories.index import comparison, generations, outbox
from memories.index.base import usable
from memories.models import FAILED_ATTEMPTS, EmbeddingGeneration, Job, Memory, VectorEmbedding
from somamemory import failpoints, times
from somamemory.errors import ConfigurationError, EmbedderUnavailable

CHECK, ROWS, EMBED, COMPARE, SWITCH, RETIRE, UNDO = (
    "check", "rows", "embed", "compare", "switch", "retire", "undo",
)  # fmt: skip
# The old generation is kept for this much longer than the cache lifetime, for searches that have begun with it and
# for writes that are being committed.
GRACE_S = 15
STEP_S = 0.5
# The maximum fraction of all memories that may be left out because they can no longer be embedded.
MAY_FAIL = 0.001
_DELETED_AT_ONCE = 500


def step(job: Job) -> bool:
    """Run one part of the job, and return whether the job has finished."""
    phases: dict[str, Callable[[Job], bool]] = {
        CHECK: _check, ROWS: _rows, EMBED: _embed, COMPARE: _compare, SWITCH: _switch, RETIRE: _retire, UNDO: _undo,
    }  # fmt: skip
    return phases[job.data.get("phase", CHECK)](job)


def can_be_cancelled(job: Job) -> bool:
    return job.data.get("phase", CHECK) in (CHECK, ROWS, EMBED, COMPARE)


def is_being_undone(job: Job) -> bool:
    return job.data.get("phase", CHECK) in (UNDO, RETIRE)


def _check(job: Job) -> bool:
    embedder = _embedder(job)
    try:
        if not usable(embedder.embed(["memory"])[0]):
            raise ConfigurationError(
                f"{embedder.provider}/{embedder.model} returned no usable vector; choose another model"
            )
    except EmbedderUnavailable as error:
        raise ConfigurationError(f"the new embedder failed: {error}") from error
    failpoints.reach("rebuild.checked")
    old = generations.active()
    building = EmbeddingGeneration.objects.filter(state=generations.State.BUILDING).first()
    if building is not None and not generations.alike(building, embedder):  # from an earlier job that failed
        generations.retire_unfinished()
        building = None
    new = building or generations.begin(embedder)
    failpoints.reach("rebuild.begun")
    job.data["memories"] = Memory.all_tenants.filter(deleted_at=None).count()
    job.data |= {"phase": ROWS, "old": str(old.id), "new": str(new.id), "began": _now(), "after": 0, "lacked": 0}
    return False


def _rows(job: Job) -> bool:
    if _seconds_since(job.data["began"]) < 0:  # wait until the next pass may begin
        return False
    old, new = _generation(job, "old"), _generation(job, "new")
    until = time.monotonic() + STEP_S
    while time.monotonic() < until:
        last, lacked = outbox.fill(new, job.data["after"], old, all_vectors=job.data.get("from_stored_vectors", False))
        job.data["lacked"] += lacked
        if last is None:
            return _pass_is_over(job, new)
        job.data["after"] = last
    _count(job, new)
    return False


def _pass_is_over(job: Job, new: EmbeddingGeneration) -> bool:
    remembered_until = new.created_at + timedelta(seconds=settings.GENERATION_CACHE_S + 1)
    began = times.parse(job.data["began"])
    failpoints.reach("rebuild.filled")
    if job.data["lacked"] == 0 and began > remembered_until:
        job.data["phase"] = EMBED
    else:
        job.data |= {"after": 0, "lacked": 0, "began": times.rfc3339(max(timezone.now(), remembered_until))}
    _count(job, new)
    return False


def _embed(job: Job) -> bool:
    new = _generation(job, "new")
    waiting = _count(job, new)
    failed = waiting.filter(attempts__gte=FAILED_ATTEMPTS).count()
    old_failed = VectorEmbedding.all_tenants.filter(
        generation_id=job.data["old"], due_at__isnull=False, attempts__gte=FAILED_ATTEMPTS
    ).count()
    # Do not wait for memories that were written after this phase began. They will soon be indexed in both generations,
    # and under load, there would always be more.
    then = job.data.setdefault("embedding_since", _now())
    open_rows = waiting.filter(Q(due_at__lte=then) | Q(attempts__gt=0)).count()
    if open_rows == failed and failed <= old_failed + MAY_FAIL * (job.total or 0):
        failpoints.reach("rebuild.embedded")
        job.data["phase"] = COMPARE
    elif failed:
        reason = waiting.filter(attempts__gt=0).values_list("error", flat=True).first()
        job.error = f"{failed} memories have not been embedded so far: {reason}"
    return False


def _compare(job: Job) -> bool:
    old, new = _generation(job, "old"), _generation(job, "new")
    job.data["comparison"] = comparison.of(old, new, job.renew)
    failpoints.reach("rebuild.compared")
    job.data["phase"] = SWITCH
    return False


def _switch(job: Job) -> bool:
    new = _generation(job, "new")
    generations.switch_to(new)
    failpoints.reach("rebuild.switched")
    index.of(new).publish(f"{settings.MILVUS_PREFIX}_active")
    failpoints.reach("rebuild.published")
    job.data |= {"phase": RETIRE, "at": _now(), "after": 0}
    return False


def _undo(job: Job) -> bool:
    """Retire the generation that is being built, if any. After the switch, only remove the old generation."""
    job.data["failed"] = job.data.get("failed", "cancelled")
    generations.retire_unfinished()
    if not _retired().exists():
        return True
    job.data |= {"phase": RETIRE, "at": _now()}
    return False


def _retire(job: Job) -> bool:
    if _seconds_since(job.data["at"]) < settings.GENERATION_CACHE_S + GRACE_S:
        return False
    if not job.data.get("failed") and not _swept(job):
        return False
    failpoints.reach("rebuild.swept")
    return all(_is_removed(old, job.data) for old in _retired())


def remove_leftovers() -> None:
    """Remove the generations that failed jobs could not remove."""
    leftovers = list(_retired())
    if Job.objects.filter(kind=Job.Kind.REBUILD, finished_at=None).exists():  # that job will remove them
        return
    for generation in leftovers:
        progress: dict[str, Any] = {}
        while not _is_removed(generation, progress):
            pass


def _retired() -> QuerySet[EmbeddingGeneration]:
    return EmbeddingGeneration.objects.filter(state=generations.State.RETIRED)


def _is_removed(old: EmbeddingGeneration, progress: dict[str, Any]) -> bool:
    """Continue removing a retired generation, and return whether it is gone."""
    if not _rows_are_gone(old, progress):
        return False
    failpoints.reach("rebuild.rows_deleted")
    index.drop(old)
    failpoints.reach("rebuild.dropped")
    old.delete()
    return True


def _rows_are_gone(old: EmbeddingGeneration, progress: dict[str, Any]) -> bool:
    """Delete some rows of the old generation, and return whether all of them are gone.

    The transactions are short, because on SQLite, every writer has to wait for them.
    """
    rows = VectorEmbedding.all_tenants.filter(generation=old)
    deleted = progress.setdefault("last_deleted", {})
    until = time.monotonic() + STEP_S
    while time.monotonic() < until:
        # Start after the last row that was deleted, so that the database does not read through deleted rows again.
        some = rows.filter(id__gt=deleted.get(str(old.id), 0)).order_by("id")
        batch = list(some.values_list("id", flat=True)[:_DELETED_AT_ONCE])
        if not batch:
            return True
        VectorEmbedding.all_tenants.filter(id__among=batch).delete()
        deleted[str(old.id)] = batch[-1]
    return False


def _swept(job: Job) -> bool:
    """Fill in missing rows of the new generation once more, and return whether this pass has finished.

    This finds memories whose writes took longer than the lifetime of any cache.
    """
    if not job.data.get("swept"):
        last, _ = outbox.fill(_generation(job, "new"), job.data["after"])
        job.data |= {"after": last, "swept": last is None}
    return bool(job.data["swept"])


def _embedder(job: Job) -> Embedder:
    if provider := job.data.get("provider"):
        return embeddings.made(provider, job.data["model"], job.data["dimension"])
    return embeddings.of(generations.active())


def _generation(job: Job, which: str) -> EmbeddingGeneration:
    return EmbeddingGeneration.objects.get(id=UUID(job.data[which]))


def _count(job: Job, new: EmbeddingGeneration) -> QuerySet[VectorEmbedding]:
    """Update the job's `done` and `total`, and return the rows that are still waiting."""
    rows = VectorEmbedding.all_tenants.filter(generation=new)
    # If an indexed memory has an expiry time, its row is not due until then, so it does not count as waiting.
    waiting = rows.filter(Q(due_at__lte=timezone.now()) | Q(due_at__isnull=False, attempts__gt=0))
    there = rows.count()
    job.total = max(there, job.data.get("memories", 0) if job.data["phase"] == ROWS else 0)
    # Each count reads only its own database index. A row that is committed between the two counts is included only in
    # the second.
    job.done = max(there - waiting.count(), 0)
    return waiting


def _now() -> str:
    return times.rfc3339(timezone.now())


def _seconds_since(moment: Any) -> float:
    return (timezone.now() - times.parse(moment)).total_seconds()

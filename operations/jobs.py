"""Jobs: long-running work for the whole installation, done one step at a time.

By default, a server thread runs the steps. With Celery, its workers run them. A command runs the steps if no
other process does. Progress is saved in the database after each step, so that another process can continue a job if the
process that runs it is killed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import Q
from django.utils import timezone

from memories import embeddings
from memories.index import generations, rebuild, reconcile
from memories.models import Job, Memory
from somamemory.db import leases, sqlstate
from somamemory.errors import ConfigurationError, Conflict, InvalidInput, NotFound, SomaError, Unavailable
from somamemory.scheduling import ShouldStop, periodic, prepares
from tenants import audit
from tenants.caller import Caller

log = logging.getLogger("soma.jobs")

BEAT_S = 1.0
STEP_PAUSE_S = 0.2
MAX_ATTEMPTS = 5  # maximum number of attempts at a step that fails with an unexpected error
MEMORIES_PER_S = 300  # assumed for estimates; WordLlama with Milvus on two cores is faster, and providers are slower

Kind, State = Job.Kind, Job.State
OPEN = Q(state__in=[State.QUEUED, State.RUNNING])
STEPS: dict[str, Callable[[Job], bool]] = {Kind.REBUILD: rebuild.step, Kind.RECONCILE: reconcile.step}


def start_rebuild(
    caller: Caller, provider: str = "", model: str = "", dimension: int = 0, *, from_stored_vectors: bool = False
) -> Job:
    """Start building a new generation of embeddings, using the active embedder unless a provider is given.

    Raises Forbidden unless the caller is an operator, InvalidInput if an argument is invalid, and Conflict if another
    generation is being built.
    """
    caller.require_operator()  # a generation affects all tenants, and its counts include all of them
    recipe: dict[str, Any] = {}
    if provider:
        try:
            embedder = embeddings.made(provider, model, dimension)
        except ConfigurationError as error:
            raise InvalidInput("provider", str(error)) from None
        if from_stored_vectors and not generations.alike(generations.active(), embedder):
            raise InvalidInput(
                "from_stored_vectors", "must be false, because the stored vectors were created with another model"
            )
        recipe = {"provider": embedder.provider, "model": embedder.model, "dimension": embedder.dimension}
    elif model or dimension:
        raise InvalidInput("provider", "is required when model or dimension is given")
    return _start(caller, Kind.REBUILD, {**recipe, "from_stored_vectors": from_stored_vectors})


def start_reconcile(caller: Caller, *, repair: bool = False, tenant: str = "") -> Job:
    """Start comparing the index with the database.

    Raises Forbidden unless the caller is an operator, and Conflict if another comparison is running.
    """
    caller.require_operator()
    return _start(caller, Kind.RECONCILE, {"repair": repair, "tenant": tenant})


def cancel_rebuild(caller: Caller) -> Job:
    """Stop building a generation. The job's next steps remove the unfinished generation.

    Raises NotFound if no generation is being built, or if it is too late to cancel.
    """
    caller.require_operator()
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(OPEN, kind=Kind.REBUILD).first()
        if job is None or not rebuild.can_be_cancelled(job):
            raise NotFound("no embedding generation is being built, or it is too late to cancel it")
        job.data = {**job.data, "phase": rebuild.UNDO}
        job.lease = job.lease_until = None  # a process in the middle of a step loses the job
        job.save(update_fields=["data", "lease", "lease_until"])
        audit.record(caller, "job.cancel", [str(job.id)])
    return job


def get(caller: Caller, id: uuid.UUID) -> Job:
    """Return a job. Raises NotFound if it does not exist."""
    caller.require_operator("read")
    job = Job.objects.filter(id=id).first()
    if job is None:
        raise NotFound("this job does not exist")
    return job


def latest(caller: Caller, kind: str) -> Job:
    """Return the latest job of this kind. Raises NotFound if there is none."""
    caller.require_operator("read")
    job = Job.objects.filter(kind=kind).order_by("-created_at").first()
    if job is None:
        raise NotFound("no job of this kind has been started")
    return job


def estimated_s() -> int:
    """Return an estimate of how long a rebuild takes."""
    waits_s = 2 * settings.GENERATION_CACHE_S + rebuild.GRACE_S
    return max(1, round(waits_s + Memory.all_tenants.count() / MEMORIES_PER_S))


def advance() -> bool:
    """Run one step of a job that no other process has leased. Return whether there was such a job.

    Unexpected exceptions are recorded and raised.
    """
    job = _take()
    if job is None:
        return False
    lease = job.lease  # a step may reload the row, which another process may have taken over
    job.error = ""
    try:
        finished = STEPS[job.kind](job)
    except Unavailable as error:
        if job.kind == Kind.RECONCILE:  # do not retry: a user is waiting, or the nightly job will run again
            _settle(job, lease, error=str(error), state=State.FAILED)
            return True
        _settle(job, lease, error=str(error), pause_s=2 * BEAT_S)
    except (SomaError, ConfigurationError) as error:
        _fail(job, lease, str(error))
    except Exception as error:  # a bug counts as a failed attempt; otherwise, the job would never end
        if not (isinstance(error, DatabaseError | InterfaceError) and sqlstate.is_busy(error)):
            _record_bug(job, lease, error)
        raise
    else:
        job.data.pop("attempts", None)
        state = (State.FAILED if job.data.get("failed") else State.DONE) if finished else State.RUNNING
        _settle(job, lease, error=job.data.get("failed") or job.error, state=state)
    return True


def _every_s() -> float:
    return BEAT_S if settings.INDEXER == "thread" else settings.DRAIN_INTERVAL_S


@periodic("memories.advance_jobs", every_s=_every_s, thread="jobs", first_s=lambda: 0.0)
def advance_all(should_stop: ShouldStop) -> None:
    """Run the steps of all jobs. A short pause after each step keeps requests from being delayed."""
    while advance() and not should_stop():
        time.sleep(STEP_PAUSE_S)


@prepares("jobs")
def _take_over() -> None:
    """Release the leases of all open jobs, because they belonged to a previous process."""
    Job.objects.filter(OPEN).update(**leases.RELEASED)


def _start(caller: Caller, kind: str, data: dict[str, Any]) -> Job:
    try:
        with transaction.atomic():
            job = Job.objects.create(tenant=caller.tenant, kind=kind, data=data)
            audit.record(caller, "job.start", [f"{kind} {job.id}"])
            transaction.on_commit(lambda: log.info("job queued", extra={"job": str(job.id), "kind": kind}))
    except IntegrityError:
        raise Conflict(f"a job of this kind ({kind}) is already running; wait until it has finished") from None
    return job


def _take() -> Job | None:
    for job in leases.take(Job.objects.filter(OPEN).order_by("created_at"), Job.LEASE):
        job.state, job.started_at = State.RUNNING, job.started_at or timezone.now()
        Job.objects.filter(id=job.id, lease=job.lease).update(state=job.state, started_at=job.started_at)
        return job
    return None


def _record_bug(job: Job, lease: uuid.UUID | None, error: Exception) -> None:
    """Retry the step after a pause. The last attempt ends the job."""
    reason = f"unexpected error: {type(error).__name__}; the log shows where it occurred"
    job.data["attempts"] = job.data.get("attempts", 0) + 1
    if job.data["attempts"] < MAX_ATTEMPTS:
        _settle(job, lease, error=reason, pause_s=Job.LEASE.total_seconds())
    else:
        _fail(job, lease, reason)


def _fail(job: Job, lease: uuid.UUID | None, reason: str) -> None:
    """End the job. A rebuild first removes the generation that is no longer needed."""
    if job.kind == Kind.REBUILD and not rebuild.is_being_undone(job):
        job.data |= {"phase": rebuild.UNDO, "failed": reason, "attempts": 0}
        _settle(job, lease, error=reason)
    else:
        _settle(job, lease, error=reason, state=State.FAILED)


def _settle(job: Job, lease: uuid.UUID | None, *, error: str, state: str = State.RUNNING, pause_s: float = 0) -> None:
    """Save the result of a step, unless another process has taken over or cancelled the job in the meantime."""
    now = timezone.now()
    over = state in (State.DONE, State.FAILED)
    written = Job.objects.filter(id=job.id, lease=lease).update(
        state=state,
        data=job.data,
        done=job.done,
        total=job.total,
        error=error[:500],
        finished_at=now if over else None,
        lease=None,
        lease_until=now + timedelta(seconds=pause_s) if pause_s else None,  # not before the pause has ended
    )
    if written and (over or error):
        how = "ended" if over else "will be retried"
        level = logging.WARNING if error else logging.INFO
        log.log(level, f"job {how}", extra={"job": str(job.id), "kind": job.kind, "state": state, "reason": error})

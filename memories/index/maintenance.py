"""Periodic work on the index: drain the outbox, and compare the index with the database."""

from __future__ import annotations

from django.conf import settings

from memories import index
from memories.index import drain, generations, notify, rebuild, reconcile
from somamemory.scheduling import ShouldStop, periodic, prepares

EMBEDDED_EVERY_S = 1.0  # the maximum delay if a notification is lost
DAY_S = 24 * 3600.0
MAINTAIN_EVERY_S = 600.0


def _drain_every_s() -> float:
    return EMBEDDED_EVERY_S if settings.INDEXER == "thread" else settings.DRAIN_INTERVAL_S


@prepares("index")
def prepare() -> None:
    """Release the previous process's leases, and restore any points that were lost when the machine crashed."""
    if settings.WORKERS == 1:  # otherwise, the leases may belong to other running processes
        drain.release_leases()
    reconcile.repair_all(only_lost=True)


@periodic(notify.DRAIN, every_s=_drain_every_s, thread="index", first_s=lambda: 0.0)
def drain_all(should_stop: ShouldStop) -> None:
    while drain.drain() and not should_stop():
        pass


@periodic("memories.reconcile", every_s=lambda: DAY_S, thread="reconcile")
def compare_nightly() -> None:
    reconcile.repair_all()


@periodic("memories.remove_generations", every_s=lambda: DAY_S, thread="reconcile")
def remove_generations_nightly() -> None:
    rebuild.remove_leftovers()


@periodic(
    "memories.maintain_index",
    every_s=lambda: MAINTAIN_EVERY_S if settings.VECTOR_INDEX == "pgvector" else 0,
    thread="vectors",
)
def maintain_index(should_stop: ShouldStop) -> None:
    """Create pgvector's approximate indexes for namespaces that have become large, and remove obsolete ones."""
    from memories.index.pgvector.index import PgvectorIndex

    for generation in generations.in_use():
        target = index.of(generation)
        if isinstance(target, PgvectorIndex):
            target.maintain(should_stop)

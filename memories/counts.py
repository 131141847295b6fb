"""Count memories, including those that await indexing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from memories.index import generations
from memories.models import FAILED_ATTEMPTS, Memory, VectorEmbedding
from somamemory.db.replicas import may_read_replica
from tenants.caller import Caller


@may_read_replica
def stats(caller: Caller) -> dict[str, Any]:
    """Return the counts for the caller's tenant, or for the namespaces to which the caller's API key is limited."""
    caller.require("read")
    memories = Memory.objects.for_tenant(caller.tenant)
    if caller.namespaces:
        memories = memories.filter(namespace__in=caller.namespaces)
    now = timezone.now()
    gone = Q(deleted_at__isnull=False) | Q(expires_at__lte=now)
    # An indexed column is counted, so that the database reads only the index.
    counts = {"all": Count("memory_type"), "gone": Count("memory_type", filter=gone)}
    rows = memories.values("namespace", "memory_type").annotate(**counts)
    namespaces: dict[str, int] = {}
    types = {"episodic": 0, "semantic": 0}
    deleted = 0
    for row in rows.order_by("namespace", "memory_type"):
        alive = row["all"] - row["gone"]
        namespaces[row["namespace"]] = namespaces.get(row["namespace"], 0) + alive
        types[row["memory_type"]] += alive
        deleted += row["gone"]
    return {
        "total_memories": sum(types.values()),
        **types,
        "deleted": deleted,
        "namespaces": {name: count for name, count in namespaces.items() if count},
        "index": _index_stats(caller, sum(types.values()), now),
    }


def _index_stats(caller: Caller, total: int, now: datetime) -> dict[str, Any]:
    generation = generations.active()
    due = VectorEmbedding.objects.for_tenant(caller.tenant).filter(generation=generation, due_at__isnull=False)
    if caller.namespaces:
        due = due.filter(memory__namespace__in=caller.namespaces)
    failed = Q(attempts__gte=FAILED_ATTEMPTS)
    counts = due.aggregate(
        failed=Count("id", filter=failed),
        pending=Count("id", filter=~failed & (Q(due_at__lte=now) | Q(attempts__gt=0))),
        oldest=Min("due_at", filter=Q(due_at__lte=now)),
    )
    oldest = counts.pop("oldest")
    return {
        **counts,
        "oldest_due_seconds": round((now - oldest).total_seconds()) if oldest else 0,
        "ready": max(0, total - counts["failed"] - counts["pending"]),
        "generation": str(generation.id),
        "model": f"{generation.provider}/{generation.model}",
        "dimension": generation.dimension,
    }


@dataclass(frozen=True)
class Waiting:
    """Statistics on a tenant's memories that await indexing in one generation."""

    tenant: str
    generation: str
    pending: int
    failed: int
    oldest_s: int
    reason: str  # the most frequent error message; empty if there were no errors


def index_queue(caller: Caller) -> list[Waiting]:
    """Return statistics on the index queue, per generation and tenant, longest wait first. For operators only."""
    caller.require_operator("read")
    now = timezone.now()
    failed = Q(attempts__gte=FAILED_ATTEMPTS)
    waiting = []
    for generation in generations.in_use():
        rows = VectorEmbedding.all_tenants.filter(generation=generation, due_at__isnull=False)
        rows = rows.filter(Q(due_at__lte=now) | Q(attempts__gt=0))
        counts = rows.values("tenant_id", "tenant__slug").annotate(
            failed=Count("id", filter=failed), pending=Count("id", filter=~failed), oldest=Min("due_at")
        )
        for row in counts.order_by("oldest"):
            reasons = rows.filter(tenant_id=row["tenant_id"]).exclude(error="").values_list("error")
            most_frequent = reasons.annotate(times=Count("id")).order_by("-times").first()
            age_s = max(0, round((now - row["oldest"]).total_seconds()))
            reason = most_frequent[0] if most_frequent else ""
            waiting.append(Waiting(row["tenant__slug"], str(generation), row["pending"], row["failed"], age_s, reason))
    return waiting

"""Metrics that are read from the database at each scrape. Imported when the app is ready."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from conversations.models import ColdFile, Conversation
from memories.models import FAILED_ATTEMPTS, Job, VectorEmbedding
from somamemory.telemetry import metrics
from somamemory.telemetry.metrics import Sample
from tenants.models import AuditEvent, AuditSealer, Tenant


@metrics.at_scrape("soma_index_rows_waiting", "Outbox rows that are due, pending or failed", ("state",))
def waiting() -> Iterable[Sample]:
    due = VectorEmbedding.all_tenants.filter(due_at__isnull=False)
    failed = Q(attempts__gte=FAILED_ATTEMPTS)
    counts = due.aggregate(
        failed=Count("id", filter=failed),
        pending=Count("id", filter=~failed & (Q(due_at__lte=timezone.now()) | Q(attempts__gt=0))),
    )
    return [((state,), counts[state]) for state in ("pending", "failed")]


@metrics.at_scrape("soma_index_oldest_waiting_seconds", "How long the oldest due row has been waiting")
def oldest() -> Iterable[Sample]:
    now = timezone.now()
    first = VectorEmbedding.all_tenants.filter(due_at__lte=now).aggregate(first=Min("due_at"))["first"]
    yield (), (now - first).total_seconds() if first else 0.0


@metrics.at_scrape("soma_audit_oldest_unsealed_seconds", "Age of the oldest audit log row that is not sealed")
def unsealed() -> Iterable[Sample]:
    sealed_to = AuditSealer.objects.values_list("sealed_to", flat=True).first() or 0
    first = AuditEvent.objects.filter(id__gt=sealed_to).order_by("id").values_list("at", flat=True).first()
    yield (), (timezone.now() - first).total_seconds() if first else 0.0


@metrics.at_scrape("soma_tenants", "Tenants", ("tier", "active"))
def tenants() -> Iterable[Sample]:
    for tier, active, count in Tenant.objects.order_by().values_list("tier", "active").annotate(Count("id")):
        yield (tier, str(active).lower()), count


@metrics.at_scrape("soma_jobs_open", "Jobs that are queued or running", ("kind",))
def jobs() -> Iterable[Sample]:
    open_jobs = Job.objects.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING])
    for kind, count in open_jobs.order_by().values_list("kind").annotate(Count("id")):
        yield (kind,), count


@metrics.at_scrape("soma_database_size_bytes", "Size of the database")
def size() -> Iterable[Sample]:
    question = "SELECT pg_database_size(current_database())"
    if connection.vendor == "sqlite":
        question = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    with connection.cursor() as cursor:
        cursor.execute(question)
        yield (), float(cursor.fetchone()[0])


@metrics.at_scrape("soma_conversations", "Conversations", ("status",))
def conversations() -> Iterable[Sample]:
    rows = Conversation.all_tenants.order_by().values_list("status").annotate(count=Count("status"))
    counts = dict.fromkeys(Conversation.Status.values, 0) | dict(rows)
    return [((status,), count) for status, count in counts.items()]


@metrics.at_scrape("soma_conversations_tier", "Conversations by storage tier", ("tier",))
def tiers() -> Iterable[Sample]:
    rows = Conversation.all_tenants.order_by().values_list("tier").annotate(count=Count("tier"))
    counts = dict.fromkeys(Conversation.Tier.values, 0) | dict(rows)
    return [((tier,), count) for tier, count in counts.items()]


@metrics.at_scrape("soma_cold_bytes", "Size of the files that contain cold conversations")
def cold() -> Iterable[Sample]:
    return [((), ColdFile.all_tenants.filter(dropped_at=None).aggregate(all=Sum("bytes"))["all"] or 0)]

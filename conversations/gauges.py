"""What Prometheus is told of conversations; imported when the app is ready."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Sum

from conversations.models import ColdFile, Conversation
from somamemory import metrics
from somamemory.metrics import Sample


@metrics.at_scrape("soma_conversations", "Conversations", ("status",))
def conversations() -> Iterable[Sample]:
    rows = Conversation.all_tenants.order_by().values_list("status").annotate(count=Count("status"))
    counts = dict.fromkeys(Conversation.Status.values, 0) | dict(rows)
    return [((status,), count) for status, count in counts.items()]


@metrics.at_scrape("soma_conversations_tier", "Conversations by where their messages are", ("tier",))
def tiers() -> Iterable[Sample]:
    rows = Conversation.all_tenants.order_by().values_list("tier").annotate(count=Count("tier"))
    counts = dict.fromkeys(Conversation.Tier.values, 0) | dict(rows)
    return [((tier,), count) for tier, count in counts.items()]


@metrics.at_scrape("soma_cold_bytes", "Bytes of the files of cold conversations")
def cold() -> Iterable[Sample]:
    return [((), ColdFile.all_tenants.filter(dropped_at=None).aggregate(all=Sum("bytes"))["all"] or 0)]

"""What Prometheus is told of conversations; imported when the app is ready."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count

from conversations.models import Conversation
from somamemory import metrics
from somamemory.metrics import Sample


@metrics.at_scrape("soma_conversations", "Conversations", ("status",))
def conversations() -> Iterable[Sample]:
    rows = Conversation.all_tenants.order_by().values_list("status").annotate(count=Count("status"))
    counts = dict.fromkeys(Conversation.Status.values, 0) | dict(rows)
    return [((status,), count) for status, count in counts.items()]

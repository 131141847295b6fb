from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import (
            entities,
            gauges,  # noqa: F401 - declares what Prometheus is told
        )
        from conversations.llm import ledger
        from memories import housekeeping
        from tenants import usage

        housekeeping.when_removed(entities.forget_with)
        usage.llm_told_by(ledger.used)

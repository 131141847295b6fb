from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import gauges  # noqa: F401 - declares what Prometheus is told
        from conversations.llm import ledger
        from tenants import usage

        usage.llm_told_by(ledger.used)

from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import (
            coldcopies,
            entities,
            gauges,  # noqa: F401 - declares what Prometheus is told
            recall,
            tiers,
        )
        from conversations.llm import ledger
        from memories import amounts, backup, housekeeping
        from tenants import erasure, export, keeper, usage

        housekeeping.when_removed(entities.forget_with)
        usage.llm_told_by(ledger.used)
        amounts.also_count(tiers.KEPT)
        backup.also(coldcopies.NAME, coldcopies)
        erasure.also("cold_files", tiers.forget_tenant)
        export.also(coldcopies.rows)
        keeper.also(recall.bring_back)

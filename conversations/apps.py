from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import (
            coldcopies,
            gauges,  # noqa: F401 - declares what Prometheus is told
            recall,
            tiers,
        )
        from memories import amounts, backup
        from tenants import erasure, export, keeper

        amounts.also_count(tiers.KEPT)
        backup.also(coldcopies.NAME, coldcopies)
        erasure.also("cold_files", tiers.forget_tenant)
        export.also(coldcopies.rows)
        keeper.also(recall.bring_back)

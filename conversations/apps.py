from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations.enrichment import entities, proposals
        from conversations.lifecycle import cold_backup, cold_storage, tiers
        from conversations.llm import ledger
        from conversations.models import DELETED_USAGE_SQL, IMPORTS_USAGE_SQL, PROPOSALS_USAGE_SQL, USAGE_SQL
        from memories import retention, storage_usage
        from tenants import erasure, export, usage

        retention.when_removed(entities.forget_with)
        retention.when_removed(proposals.forget)
        usage.read_llm_usage_with(ledger.used)
        for statement in (tiers.USAGE_SQL, USAGE_SQL, DELETED_USAGE_SQL, IMPORTS_USAGE_SQL, PROPOSALS_USAGE_SQL):
            storage_usage.also_count(statement)
        erasure.also("cold_files", lambda tenant: cold_storage.remove_all(tenant.id))
        export.also(cold_backup.rows)

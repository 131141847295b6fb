"""Register periodic work, metrics, and the cold storage files for backups."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate

# Importing these modules registers metrics and periodic work.
REGISTERING = (
    "conversations.enrichment.schedule",
    "conversations.enrichment.worker",
    "conversations.lifecycle.policy",
    "conversations.lifecycle.thaw_queue",
    "memories.index.maintenance",
    "memories.read_counts",
    "memories.retention",
    "operations.collectors",
    "operations.jobs",
    "operations.queue_history",
    "operations.statistics",
    "tenants.maintenance",
)


class OperationsConfig(AppConfig):
    name = "operations"

    def ready(self) -> None:
        # These imports need the models, which do not exist yet when this file is imported.
        from conversations.lifecycle import cold_backup
        from operations.backup import backups
        from tenants import row_level_security

        post_migrate.connect(
            row_level_security.after_migrate,
            sender=apps.get_app_config("tenants"),
            dispatch_uid="tenants.row_level_security",
        )
        backups.include(cold_backup.NAME, cold_backup)
        for module in REGISTERING:
            import_module(module)

"""Register the database functions and signal handlers of the memories app with Django."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class MemoriesConfig(AppConfig):
    name = "memories"

    def ready(self) -> None:
        # These imports need the models, which are not loaded yet when this file is imported.
        from memories import (
            embeddings,
            filters,
            full_text,  # noqa: F401 - registers its job
            history,
            planner_statistics,
            storage_usage,
        )
        from tenants import erasure, idempotency, usage

        erasure.also("vectors", storage_usage.forget_vectors)
        erasure.also("words", storage_usage.forget_words)
        usage.count_with(storage_usage.count)
        storage_usage.also_count(idempotency.USAGE_SQL)
        storage_usage.also_count(history.USAGE_SQL)

        register(embeddings.check_settings, "soma", deploy=True)
        connection_created.connect(filters.register_functions, dispatch_uid="memories.filters")
        post_migrate.connect(planner_statistics.fix_statistics, sender=self, dispatch_uid="memories.planner_statistics")

"""What the memories need from Django before the first query."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class MemoriesConfig(AppConfig):
    name = "memories"

    def ready(self) -> None:
        from memories import (  # need the models, which are not there when this file is imported
            amounts,
            embeddings,
            filters,
            gauges,  # noqa: F401 - declares what Prometheus is told
            planner,
        )
        from tenants import erasure, usage

        erasure.also("vectors", amounts.forget_vectors)
        erasure.also("words", amounts.forget_words)
        usage.count_with(amounts.count)

        register(embeddings.check_settings, "soma", deploy=True)
        connection_created.connect(filters.register_functions, dispatch_uid="memories.filters")
        post_migrate.connect(planner.fix_statistics, sender=self, dispatch_uid="memories.planner")

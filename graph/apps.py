"""Connect the graph to the memories app, which does not import it."""

from __future__ import annotations

from django.apps import AppConfig


class GraphConfig(AppConfig):
    name = "graph"

    def ready(self) -> None:
        from graph import retention as links  # needs the models, which do not exist yet when this file is imported
        from graph.models import USAGE_SQL
        from memories import retention, storage_usage

        retention.when_removed(links.forget)
        storage_usage.also_count(USAGE_SQL)

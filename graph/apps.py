"""Where the graph joins the memories, which know nothing of it."""

from __future__ import annotations

from django.apps import AppConfig


class GraphConfig(AppConfig):
    name = "graph"

    def ready(self) -> None:
        from graph import retention as links  # needs the models, which are not there when this file is imported
        from memories import retention

        retention.when_removed(links.forget)

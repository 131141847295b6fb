"""Connect the graph app to the memories app, which does not import the graph app."""

from __future__ import annotations

from django.apps import AppConfig


class GraphConfig(AppConfig):
    name = "graph"

    def ready(self) -> None:
        # These imports need the models, which are not loaded yet when this file is imported.
        from graph import retention as links
        from graph import supersession_links
        from graph.models import USAGE_SQL, VERSIONS_USAGE_SQL, LinkVersion
        from memories import history, retention, storage_usage, supersession

        retention.when_removed(links.forget)
        supersession.when_superseded(supersession_links.link)
        history.also_prune(LinkVersion, size="bytes")
        storage_usage.also_count(USAGE_SQL)
        storage_usage.also_count(VERSIONS_USAGE_SQL)

"""What the memories need from Django before the first query."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class MemoriesConfig(AppConfig):
    name = "memories"

    def ready(self) -> None:
        from memories import filters  # needs the models, which are not there when this file is imported

        connection_created.connect(filters.register_functions, dispatch_uid="memories.filters")

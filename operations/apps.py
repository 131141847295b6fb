"""Register what the operator's tools need from the rooms below."""

from __future__ import annotations

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "operations"

    def ready(self) -> None:
        # These need the models, which do not exist yet when this file is imported.
        from conversations.lifecycle import cold_backup
        from operations import (
            backup,
            collectors,  # noqa: F401 - registers the metrics
        )

        backup.also(cold_backup.NAME, cold_backup)

"""The admin console's Django app."""

from __future__ import annotations

from django.apps import AppConfig, apps


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = "Staff"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from console.oauth import maintenance  # noqa: F401 - registers it
        from somamemory.web import console_middleware

        apps.get_app_config("auth").verbose_name = "Staff"  # as in the sidebar
        user_logged_in.connect(console_middleware.begin_session)

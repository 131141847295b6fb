"""Run the service inside another program's process, without a port. The Python client uses this module."""

from __future__ import annotations

import atexit
import io
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 10.0
# A program needs no rate limits for its own calls, and does not expect a log line for each of them.
DEFAULTS = {"SOMA_KEY_RATE": "0", "SOMA_TENANT_RATE": "0", "SOMA_LOG_LEVEL": "WARNING"}
# Django refuses queries in a thread with a running event loop, such as that of a notebook, because coroutines could
# share a transaction. A call to the service never waits for a coroutine, so no coroutine can run in between.
ALLOW_EVENT_LOOP = "DJANGO_ALLOW_ASYNC_UNSAFE"
SETTINGS_MODULE = "somamemory.settings"

Application = Callable[..., Any]  # a WSGI application


@dataclass(frozen=True)
class Embedded:
    """A running service. `api_key` is an operator's key, or "" if the file with the first key no longer exists."""

    folder: Path
    application: Application
    api_key: str


_running: Embedded | None = None
_starting = threading.Lock()


def start(folder: Path) -> Embedded:
    """Prepare the database in a folder, start the background work, and return the service. Thread-safe.

    Raises ConfigurationError if the process already uses another folder, if the settings are invalid, or if the
    database cannot be opened or migrated.
    """
    global _running
    from somamemory.errors import ConfigurationError

    folder = folder.expanduser().resolve()
    with _starting:
        if _running is None:
            _running = _start(folder)
    if _running.folder != folder:
        raise ConfigurationError(
            f"this process is already using {_running.folder}, and a process can use only one folder; "
            f"open {folder} in another process"
        )
    return _running


def _start(folder: Path) -> Embedded:
    from somamemory import installation

    _refuse_other_settings(folder)
    installation.refuse_clashes()
    os.environ["SOMA_DATA_DIR"] = str(folder)
    for name, value in {**DEFAULTS, ALLOW_EVENT_LOOP: "true", "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE}.items():
        os.environ.setdefault(name, value)
    _set_up_django()
    _prepare()
    from somamemory.scheduling import scheduler
    from somamemory.wsgi import application
    from tenants import bootstrap

    scheduler.start()
    atexit.register(_stop)
    key = bootstrap.path()
    text = key.read_text(encoding="utf-8", errors="replace").strip() if key.is_file() else ""
    return Embedded(folder, application, text)


def _refuse_other_settings(folder: Path) -> None:
    """Raise ConfigurationError if the program uses Django itself. A process can have only one settings module."""
    from django.conf import settings

    from somamemory.errors import ConfigurationError

    module = os.environ.get("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    if settings.configured and Path(getattr(settings, "DATA_DIR", "")) != folder:
        problem = "this process is already using Django with different settings"
    elif not settings.configured and module != SETTINGS_MODULE:
        problem = f"DJANGO_SETTINGS_MODULE is set to the settings of another program, '{module}'"
    else:
        return
    raise ConfigurationError(
        f"{problem}; run SomaMemory in a separate process with 'somamemory serve', and connect with its URL"
    )


def _set_up_django() -> None:
    """Set up Django without changing the program's logging or time zone."""
    import django
    from django.apps import apps
    from django.conf import settings

    from somamemory.errors import ConfigurationError
    from somamemory.telemetry import logs

    if apps.loading and not apps.ready:  # Django cannot be set up again
        raise ConfigurationError("an earlier attempt to start the service was interrupted; restart the process")
    zone = os.environ.get("TZ")
    try:
        settings.LOGGING_CONFIG = None  # Django would close the program's log handlers
    finally:  # loading the settings has set the time zone to UTC
        _set_local_time(zone)
    logs.configure_embedded(settings.LOGGING)
    django.setup()


def _set_local_time(zone: str | None) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


def _prepare() -> None:
    """Prepare the service as a server does before its first request.

    Raises ConfigurationError if the settings are invalid, or if the database cannot be opened or migrated.
    """
    from django.core.management import call_command
    from django.db import DatabaseError, connection

    from memories import index
    from memories.index import generations
    from somamemory import checks
    from somamemory.db import migration_stages
    from somamemory.errors import ConfigurationError

    checks.refuse_impossible_settings()
    try:
        if connection.vendor == "sqlite":
            migration_stages.contract()
        call_command("bootstrap", stdout=io.StringIO())
    except DatabaseError as error:
        raise ConfigurationError(
            f"the database reports: {error}; check its files or its server, or restore a backup to another folder"
        ) from error
    generations.check_settings()
    index.try_out(generations.active())


def _stop() -> None:
    """Finish the current steps of the background work. Any remaining work is done after the next startup."""
    from memories import index
    from somamemory.scheduling import scheduler

    if scheduler.stop(STOP_TIMEOUT_S):
        index.close_all()

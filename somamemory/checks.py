"""Reject settings that cannot work together, with one line per problem, before anything is served.

`manage.py check --deploy` reports them. Every command, the server and the workers run these checks at startup.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register, run_checks
from django.db import DEFAULT_DB_ALIAS, connections

from somamemory import extras
from somamemory.errors import ConfigurationError
from somamemory.settings import known_variables, unknown_variables

OURS = "soma"


def refuse_impossible_settings() -> None:
    """Run the checks in processes that `manage.py` did not start.

    Raises ConfigurationError, with a line per failed check, if any check fails.
    """
    errors = [message for message in run_checks(tags=[OURS]) if message.is_serious()]
    if errors:
        raise ConfigurationError("\n".join(f"{error.id}: {error.msg}" for error in errors))


@register(OURS)
def check_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report misspelled settings, which would otherwise be ignored."""
    return [Error(_unknown(name), id="soma.E001") for name in unknown_variables()]


@register(OURS)
def check_mixes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return list(mixes(connections[DEFAULT_DB_ALIAS].vendor))


@register(OURS)
def check_audit_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Reject a key file that other users can read, because they could sign a forged audit log with the key."""
    file = settings.AUDIT_KEY_FILE
    if file is None or not file.stat().st_mode & 0o077:
        return []
    return [
        Error(
            f"other users can read {file}, the key that signs the audit log; run 'chmod 600 {file}', and replace the "
            "key if they may have read it",
            id="soma.E012",
        )
    ]


@register(OURS, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.DEBUG:
        return []
    return [
        Error(
            "SOMA_DEBUG must be off if other machines can reach the service, because it exposes code and settings",
            id="soma.E006",
        )
    ]


def mixes(vendor: str) -> Iterator[CheckMessage]:
    """Report combinations of settings that do not work with this kind of database."""
    on_sqlite = vendor == "sqlite"
    several = settings.WORKERS > 1
    yield from _index_mixes(on_sqlite)
    if settings.REPLICAS and on_sqlite:
        yield Error("SOMA_DATABASE_REPLICA_URLS requires PostgreSQL; set SOMA_DATABASE_URL", id="soma.E004")
    if settings.ROW_LEVEL_SECURITY and on_sqlite:
        yield Error("SOMA_ROW_LEVEL_SECURITY requires PostgreSQL; set SOMA_DATABASE_URL", id="soma.E010")
    if settings.ROW_LEVEL_SECURITY and not settings.PREPARE_STATEMENTS:
        yield Error(
            "SOMA_ROW_LEVEL_SECURITY requires a pooler in session mode, but SOMA_DATABASE_PREPARE=false is meant for "
            "poolers in other modes; set pool_mode to session, and remove SOMA_DATABASE_PREPARE",
            id="soma.E011",
        )
    if settings.SECRET_KEY_IS_MADE and not on_sqlite:
        yield Error(
            "SOMA_SECRET_KEY is required with PostgreSQL; set it to the same string of at least 50 random "
            "characters in all processes",
            id="soma.E005",
        )
    if settings.ARCHIVED_DAYS and not settings.COLD_STORAGE:
        yield Error(
            "SOMA_ARCHIVED_DAYS requires cold storage; set SOMA_COLD_STORAGE to a bucket, or to a permanent folder "
            "shared by all processes",
            id="soma.E009",
        )
    if settings.TRACING_ENDPOINT and not extras.is_installed("tracing"):
        yield Error(extras.missing("tracing", "SOMA_TRACING_ENDPOINT"), id="soma.E008")
    if several and settings.REPLICAS and not settings.REDIS_URL:
        yield Warning(
            "without SOMA_REDIS_URL, a process does not know of writes that a caller has just made through other "
            "processes, and may read from a replica that lags behind",
            id="soma.W001",
        )


def _index_mixes(on_sqlite: bool) -> Iterator[CheckMessage]:
    if settings.VECTOR_INDEX == "milvus" and not extras.is_installed("milvus"):
        yield Error(extras.missing("milvus", "SOMA_MILVUS_URI"), id="soma.E003")
    if settings.VECTOR_INDEX == "pgvector" and on_sqlite:
        yield Error("SOMA_VECTOR_INDEX=pgvector requires PostgreSQL; set SOMA_DATABASE_URL", id="soma.E013")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, known_variables(), n=1)
    return f"{name} is not a setting" + (
        f"; did you mean {near[0]}?" if near else ": see docs/reference/configuration.md"
    )

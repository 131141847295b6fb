"""Check the installation on this machine: settings, database, index, queue, broker, port, proxies."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from somamemory import __version__, server_address
from somamemory.cli.connection import Target
from somamemory.cli.doctor import machine
from somamemory.cli.doctor.finding import Finding, error, ok, warning
from somamemory.errors import ConfigurationError, SomaError

if TYPE_CHECKING:
    from redis import Redis

WAIT_S = 2.0
STALE_S = 600
EVERYWHERE = ("0.0.0.0/0", "::/0")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def findings(target: Target) -> Iterator[Finding]:
    try:
        folder = target.use_data_dir()
    except (ConfigurationError, OSError) as problem:
        yield error("settings", str(problem), "correct the setting; see docs/reference/configuration.md")
        return
    _set_up()
    from django.conf import settings

    yield from settings_findings()
    yield from machine.findings(folder, settings.DATABASES["default"]["ENGINE"] == "somamemory.db.sqlite")
    yield port(settings.HOST, settings.PORT, _answer(settings.HOST, settings.PORT))
    yield from proxies(settings.HOST, settings.ALLOWED_HOSTS, [str(network) for network in settings.TRUSTED_PROXIES])
    yield from redis_findings(settings.REDIS_URL, settings.BROKER_URL)
    yield from database_findings()


def _set_up() -> None:
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()


def settings_findings() -> Iterator[Finding]:
    """Return the results of the settings checks, including the deployment checks."""
    from django.conf import settings
    from django.core.checks import run_checks

    reachable = settings.HOST not in LOOPBACK
    messages = run_checks(tags=["soma"], include_deployment_checks=reachable)
    for message in messages:
        make = error if message.is_serious() else warning
        yield make("settings", f"{message.id}: {message.msg}", str(message.hint or "change the setting as described"))
    if not messages:
        yield ok("settings", "valid")


MISSING = "create it with 'somamemory init', or set SOMA_DATA_DIR"
DAMAGED = "start the database; if the file is damaged, restore a backup: somamemory restore FOLDER"


def database_findings() -> Iterator[Finding]:
    """Check the database and, if it is usable, its contents."""
    from django.db import DatabaseError

    from somamemory.management import existing_database

    try:
        existing_database.require(["doctor"])
        yield from schema()
        yield content_check()
        yield machine.clock(datetime.now(UTC), newest_key())
        yield keys()
        yield from index_findings()
        yield from queue()
    except ConfigurationError as problem:
        yield error("database", str(problem), DAMAGED if "could not be read" in str(problem) else MISSING)
    except DatabaseError as problem:
        yield error("database", str(problem).strip(), "start the database, or restore a backup: somamemory restore")


def schema() -> Iterator[Finding]:
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    from somamemory.db import migration_stages

    missing = migration_stages.missing()
    loader = MigrationLoader(connection)
    unknown = [f"{app}.{name}" for app, name in loader.applied_migrations if (app, name) not in loader.disk_migrations]
    if missing:
        yield error(
            "schema",
            f"the database lacks {len(missing)} migration{'s' if len(missing) > 1 else ''}",
            "run 'somamemory init', then start the server",
        )
    if unknown:
        yield error("schema", f"the database is newer than this program ({unknown[0]})", "install the newer version")
    if not missing and not unknown:
        yield ok("schema", "up to date")


def content_check() -> Finding:
    from django.db import connection

    if connection.vendor != "sqlite":
        return ok("database", connection.vendor)
    with connection.cursor() as cursor:
        result = str(cursor.execute("PRAGMA quick_check(1)").fetchone()[0])
    if result != "ok":
        return error("database", f"the file is damaged: {result}", "restore a backup: somamemory restore FOLDER")
    return ok("database", "the file is intact")


def newest_key() -> datetime | None:
    """Return the creation time of the newest API key, for comparison with the clock."""
    from django.db.models import Max

    from tenants.models import ApiKey

    newest: datetime | None = ApiKey.objects.aggregate(at=Max("created_at"))["at"]
    return newest


def keys() -> Finding:
    from tenants.models import ApiKey

    if not ApiKey.objects.filter(revoked_at=None).exists():
        return error("keys", "there is no valid API key", "run 'somamemory create_key --operator'")
    return ok("keys", "there are API keys")


def index_findings() -> Iterator[Finding]:
    from memories import index
    from memories.index import generations

    try:
        generations.check_settings()
        index.try_out(generations.active())
    except ConfigurationError as problem:
        yield error("index", str(problem), "change the setting, or embed all memories again: somamemory reembed")
    except SomaError as problem:
        yield error("index", problem.detail, "start the vector index; keyword search works without it")
    else:
        yield ok("index", "responds")


def queue() -> Iterator[Finding]:
    """Report memories that could not be indexed, or that have been waiting too long."""
    from memories import counts
    from tenants.management.command_line import operator

    rows = counts.index_queue(operator())
    failed, oldest_s = sum(row.failed for row in rows), max((row.oldest_s for row in rows), default=0)
    if failed:
        reason = next(row.reason for row in rows if row.failed)
        yield error("queue", f"{failed} memories could not be indexed: {reason}", "run 'somamemory retry_failed'")
    elif oldest_s > STALE_S:
        yield error(
            "queue",
            f"memories have been waiting for {oldest_s:,} s to be indexed",
            "start the server or, with Celery, the worker",
        )
    else:
        yield ok("queue", f"{sum(row.pending for row in rows)} memories await indexing")


def redis_findings(cache_url: str, broker_url: str, connect: Callable[[str], Redis] | None = None) -> Iterator[Finding]:
    if cache_url:
        yield _redis("cache", cache_url, connect or _connect, lambda redis: ok("cache", "responds"))
    if broker_url:
        yield _redis("broker", broker_url, connect or _connect, _broker)


def _connect(url: str) -> Redis:
    from redis import Redis

    return Redis.from_url(url, socket_connect_timeout=WAIT_S, socket_timeout=WAIT_S)


def _redis(name: str, url: str, connect: Callable[[str], Redis], look: Callable[[Redis], Finding]) -> Finding:
    from redis.exceptions import RedisError

    try:
        redis = connect(url)
        redis.ping()
        return look(redis)
    except (RedisError, OSError, ValueError) as problem:
        return error(name, f"Redis is not responding: {problem}", f"start it, or correct SOMA_{name_of(name)}_URL")


def name_of(name: str) -> str:
    return {"cache": "REDIS", "broker": "BROKER"}[name]


def _broker(redis: Any) -> Finding:
    """Check that Redis cannot evict the queue, and that a worker is listening."""
    policy = redis.config_get("maxmemory-policy").get("maxmemory-policy")
    if policy != "noeviction":
        return error(
            "broker",
            f"Redis may evict entries (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction in its redis.conf",
        )
    if not any(str(client.get("cmd", "")).startswith("brpop") for client in redis.client_list()):
        return warning("broker", "no worker is listening for jobs", "start one: python -m celery -A somamemory worker")
    return ok("broker", "is responding, and a worker is listening for jobs")


def port(host: str, number: int, answer: tuple[bool, str]) -> Finding:
    """Check which program uses the port.

    answer: whether a program is listening on the port, and the SomaMemory version that it reports, or "".
    """
    listens, served = answer
    where = server_address.authority(host, number)
    if not listens:
        return ok("server", f"nothing is listening on {where}; start it with 'somamemory serve'")
    if not served:
        return error("server", f"another program is using {where}", "stop it, or set SOMA_PORT to another port")
    if served != __version__:
        return warning("server", f"the running server is version {served}, not {__version__}", "restart the server")
    return ok("server", f"version {served} is running on {where}")


def _answer(host: str, number: int) -> tuple[bool, str]:
    try:
        socket.create_connection((server_address.reachable(host), number), WAIT_S).close()
    except OSError:
        return False, ""
    url = f"{server_address.local_url(host, number)}/api/v1/health"
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as response:  # noqa: S310 - http, from above
            return True, str(json.load(response).get("version", ""))
    except (OSError, ValueError, AttributeError):
        return True, ""


def proxies(host: str, allowed_hosts: list[str], trusted: list[str]) -> Iterator[Finding]:
    """Check which proxies are trusted by a server that other machines can reach."""
    if any(network in EVERYWHERE or ip_network(network).num_addresses > 1 << 24 for network in trusted):
        yield error(
            "proxies",
            f"SOMA_TRUSTED_PROXIES={','.join(trusted)} includes clients, which can then forge their addresses",
            "list only the addresses of the reverse proxies",
        )  # fmt: skip
    if "*" in allowed_hosts:
        yield warning("proxies", "any Host header is accepted", "list the public names in SOMA_ALLOWED_HOSTS")
    if host in LOOPBACK:
        yield ok("proxies", "only this machine can connect")
    elif not trusted:
        yield warning(
            "proxies",
            f"{host} can be reached without a reverse proxy, or SOMA_TRUSTED_PROXIES does not contain the proxy",
            "use a proxy with TLS (see deploy/), and set SOMA_TRUSTED_PROXIES to its address",
        )  # fmt: skip
    else:
        yield ok("proxies", f"X-Forwarded-For is trusted from {', '.join(trusted)}")

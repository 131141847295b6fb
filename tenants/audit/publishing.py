"""Publish the heads of the audit chains to a destination that the operator chooses, ideally on another machine.

Anyone who controls this machine also controls the key and can rewrite the log, but not the published heads. Each head
is sent after the commit, at least once, in block order. SOMA_AUDIT_HEADS is a file, `syslog://host:514`
(UDP), `syslog:///dev/log`, or a URL that accepts JSON lines by POST.
"""

from __future__ import annotations

import logging
import os
import time
from logging.handlers import SysLogHandler
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from django.conf import settings

from somamemory import files, http_client
from somamemory.errors import Unavailable
from tenants.audit import chain
from tenants.audit.chain import dump_heads
from tenants.models import AuditBlock, AuditSealer

BATCH = 500
TIMEOUT_S = 10.0
SYSLOG_PORT = 514


def publish() -> int:
    """Send the heads of all blocks that have not been sent yet. Return the number of heads sent.

    Raises Unavailable if the destination cannot be reached.
    """
    sent = 0
    while settings.AUDIT_HEADS and (blocks := _unpublished()):
        _send(settings.AUDIT_HEADS, dump_heads(map(chain.head, blocks)))
        AuditSealer.objects.update(published_to=blocks[-1].id)
        sent += len(blocks)
    return sent


def published_file() -> Path | None:
    """Return the file with the published heads, or None if they are not published to a file."""
    place = settings.AUDIT_HEADS
    return Path(place) if place and "://" not in place else None


def _unpublished() -> list[AuditBlock]:
    published_to = AuditSealer.objects.values_list("published_to", flat=True).first() or 0
    columns = ("id", "tenant_id", "number", "last_id", "hash", "signature")
    return list(AuditBlock.all_tenants.filter(id__gt=published_to).only(*columns).order_by("id")[:BATCH])


def _send(place: str, lines: str) -> None:
    try:
        if place.startswith("syslog:"):
            _send_to_syslog(place, lines)
        elif place.startswith(("http://", "https://")):
            _post(place, lines)
        else:
            _append(Path(place), lines)
    except (OSError, httpx2.HTTPError) as error:
        raise Unavailable(f"the audit chain heads could not be sent: {type(error).__name__}") from error


def _append(file: Path, lines: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a") as opened:
        opened.write(lines)
    files.sync(file)


def _post(url: str, lines: str) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    with (
        http_client.client(headers=headers, timeout=TIMEOUT_S) as client,
        http_client.deadline(time.monotonic() + TIMEOUT_S),
        client.stream("POST", url, content=lines) as response,
    ):
        response.raise_for_status()  # the body is not needed, and could be endless


class _Syslog(SysLogHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704 - called from an exception handler; the default prints the error and continues


def _send_to_syslog(place: str, lines: str) -> None:
    parts = urlsplit(place)
    address = (parts.hostname, parts.port or SYSLOG_PORT) if parts.hostname else parts.path
    handler = _Syslog(address, facility=SysLogHandler.LOG_AUTHPRIV)
    handler.ident = "somamemory-audit: "
    try:
        for line in lines.splitlines():
            handler.emit(logging.makeLogRecord({"msg": line, "levelno": logging.INFO, "levelname": "INFO"}))
    finally:
        handler.close()

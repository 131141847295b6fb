"""Report slow statements in the log and to Prometheus, without their parameters."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from somamemory.telemetry import metrics

log = logging.getLogger("soma.queries")

_LENGTH = 2_000
# Shorten the placeholders for many rows.
_VALUES = re.compile(r"%s(?:, %s)+")
_ROWS = re.compile(r"\(%s, …\)(?:, \(%s, …\))+")


def watch(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Time every statement of a new connection."""
    if _timed not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _timed)


def _timed(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        took_ms = (time.perf_counter() - started) * 1000
        if settings.SLOW_QUERY_MS and took_ms >= settings.SLOW_QUERY_MS:
            metrics.slow_statements.inc()
            log.warning("slow statement", extra={"statement": _shown(str(sql)), "duration_ms": round(took_ms, 1)})


def _shown(sql: str) -> str:
    in_one_line = " ".join(sql.split())
    return _ROWS.sub("(%s, …), …", _VALUES.sub("%s, …", in_one_line))[:_LENGTH]

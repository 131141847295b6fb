"""Structured logs: one JSON object per line, without secrets or payloads.

Exceptions are logged by type, code and location, without their messages, because database error messages contain the
data to be stored.
"""

from __future__ import annotations

import errno
import logging
import logging.config
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from somamemory.errors import ConfigurationError, SomaError

# The standard attributes of a LogRecord. All others were passed with `extra=` and belong in the log line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "request"}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _described(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def configure(config: dict[str, Any]) -> None:
    """Configure the logging of a process that runs only the service. `config` is the LOGGING setting."""
    # Log lines do not contain the source location, thread or process of a logging call. Finding them would take a third
    # of the call's time ("Optimization" in Python's logging how-to).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(config)


def configure_embedded(config: dict[str, Any]) -> None:
    """Configure only the service's own loggers. All other logging belongs to the program that embeds the service."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    ours = logging.getLogger("soma")
    ours.addHandler(handler)
    ours.propagate = False
    logging.config.dictConfig({"version": 1, "incremental": True, "loggers": config["loggers"]})


def reason(error: Exception) -> str:
    """Return the reason for a retry: the message of our own errors, but only the type and the code of other errors."""
    if isinstance(error, SomaError | ConfigurationError):
        return str(error)
    code = _code(error) or _code(error.__cause__)  # Django's database errors have no code, but their causes do
    return f"{type(error).__name__} {code}".rstrip()


def _code(error: BaseException | None) -> str:
    """Return the code of an error from SQLite (such as SQLITE_FULL), PostgreSQL (53100) or the system (ENOSPC)."""
    name = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return name or errno.errorcode.get(getattr(error, "errno", None) or 0, "")


def _described(error: BaseException) -> list[str]:
    """Return the types and codes of an exception and its causes, each with its stack locations, innermost last."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(f"{type(current).__module__}.{type(current).__qualname__} {_code(current)}".rstrip())
        lines += [
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or current.__context__
    return lines

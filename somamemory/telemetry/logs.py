"""Structured logs: one JSON object a line, never a secret and never a payload.

Of an exception the types and places are told, not the words: those of a database say what somebody wanted to store.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime

import orjson

from somamemory.errors import ConfigurationError, SomaError

# What every LogRecord carries anyway; anything else was passed with `extra=` and belongs into the line.
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


def reason(error: Exception) -> str:
    """Why something will be tried again: in our own words where it is our own error, else only its type."""
    return str(error) if isinstance(error, SomaError | ConfigurationError) else type(error).__name__


def _described(error: BaseException) -> list[str]:
    """The types of an exception and of what caused it, each with the places it came through, the innermost last."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        lines += [
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or current.__context__
    return lines

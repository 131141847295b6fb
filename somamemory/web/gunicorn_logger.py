"""Write gunicorn's own log lines like all others: one JSON object per line, without control characters.

gunicorn quotes requests that it cannot parse, so a client controls the content and length of these lines.
"""

from __future__ import annotations

import logging

from gunicorn.config import Config
from gunicorn.glogging import Logger

from somamemory.telemetry.logs import JsonFormatter

MAX_MESSAGE_LENGTH = 300  # characters


class ShortenedJsonFormatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if len(message) > MAX_MESSAGE_LENGTH:
            message = f"{message[:MAX_MESSAGE_LENGTH]}… ({len(message)} characters)"
        shortened = logging.makeLogRecord(
            {**vars(record), "msg": message.encode("utf-8", "replace").decode(), "args": ()}
        )
        return super().format(shortened)


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's `logger_class`."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(ShortenedJsonFormatter())

"""Hooks: objects whose methods are called before and after each request, for logs, metrics and traces.

client = Client(hooks=[LogHook(logging.getLogger("memory")), TraceHook(trace.get_tracer("memory"))])
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._messages import Request, Response
from .errors import ApiError, SomaError


@dataclass(slots=True)
class Call:
    """One API call, including all of its attempts.

    A hook may add headers to `request`, and store its own data in `data`.
    """

    request: Request
    began: float = field(default_factory=time.perf_counter)
    attempts: int = 0
    waited_s: float = 0.0  # between attempts
    data: dict[object, object] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.began


class Hook:
    """Base class for hooks.

    Override the methods that you need. They must not raise exceptions, because an exception would end the call.
    """

    def started(self, call: Call) -> None:
        """Called before the first attempt."""

    def retrying(self, call: Call, error: SomaError, pause_s: float) -> None:
        """Called before the delay that precedes another attempt."""

    def finished(self, call: Call, response: Response | None, error: BaseException | None) -> None:
        """Called after the last attempt, with its response or its error, which may be a cancellation."""


class LogHook(Hook):
    """Logs one line per call and one per retry. Never logs contents or keys."""

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.DEBUG) -> None:
        self.logger = logger or logging.getLogger("somamemory_client")
        self.level = level

    def retrying(self, call: Call, error: SomaError, pause_s: float) -> None:
        self.logger.warning("%s: %s; next attempt in %.1f s", call.request.operation, error, pause_s)

    def finished(self, call: Call, response: Response | None, error: BaseException | None) -> None:
        result = str(response.status) if response is not None else type(error).__name__
        request_id = response.request_id if response is not None else getattr(error, "request_id", "")
        ms = call.elapsed_s * 1000
        self.logger.log(self.level, "%s %s %.1f ms %s", call.request.operation, result, ms, request_id)


class Span(Protocol):
    """The part of an OpenTelemetry span that the hook uses."""

    def set_attribute(self, key: str, value: Any) -> None: ...

    def record_exception(self, exception: BaseException) -> None: ...


class Tracer(Protocol):
    """The part of an OpenTelemetry tracer that the hook uses."""

    def start_as_current_span(self, name: str) -> AbstractContextManager[Any]: ...


class TraceHook(Hook):
    """Creates an OpenTelemetry span for each call.

    With `inject` (from `opentelemetry.propagate`), the server's spans continue the trace.
    """

    def __init__(self, tracer: Tracer, inject: Callable[[dict[str, str]], object] | None = None) -> None:
        self.tracer = tracer
        self.inject = inject

    def started(self, call: Call) -> None:
        manager = self.tracer.start_as_current_span(f"somamemory {call.request.operation}")
        span: Span = manager.__enter__()
        span.set_attribute("http.request.method", call.request.method)
        span.set_attribute("url.path", call.request.target.partition("?")[0])
        call.data[self] = (manager, span)
        if self.inject is not None:
            self.inject(call.request.headers)

    def retrying(self, call: Call, error: SomaError, pause_s: float) -> None:
        self._span(call).record_exception(error)

    def finished(self, call: Call, response: Response | None, error: BaseException | None) -> None:
        manager, span = self._both(call)
        for name, value in _attributes(call, response, error).items():
            span.set_attribute(name, value)
        manager.__exit__(type(error) if error else None, error, None)

    def _span(self, call: Call) -> Span:
        return self._both(call)[1]

    def _both(self, call: Call) -> tuple[AbstractContextManager[Any], Span]:
        both: Any = call.data[self]
        return both[0], both[1]


def _attributes(call: Call, response: Response | None, error: BaseException | None) -> Mapping[str, object]:
    status = response.status if response is not None else error.status if isinstance(error, ApiError) else None
    found: dict[str, object] = {"http.request.resend_count": max(call.attempts - 1, 0)}
    if status is not None:
        found["http.response.status_code"] = status
    if error is not None:
        found["error.type"] = error.code if isinstance(error, ApiError) else type(error).__name__
    return found

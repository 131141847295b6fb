"""OpenTelemetry traces for requests and the jobs they start, with the duration of each part.

Tracing is off unless `SOMA_TRACING_ENDPOINT` is set. When it is off, OpenTelemetry is not even imported, and a span is
a single call that does nothing. This is the only file that imports the library.

A span records the operation but never its data. Its name and attributes come from the code: routes, verbs, provider
names, numbers. They contain no text, coordinate, query or key, and only the type of an error.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.conf import settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext, Tracer

P = ParamSpec("P")
T = TypeVar("T")
Attribute = str | int | float | bool

TRACEPARENT = "traceparent"  # W3C Trace Context; tracestate and baggage are ignored
_ASKERS = 32
_EXPORT_TIMEOUT_S = 2.0
_LAST_WORDS_S = 1.5  # how long a stopping server waits for its last spans to be sent

log = logging.getLogger("soma.tracing")
_off: AbstractContextManager[None] = nullcontext()
_tracer: Tracer | None = None
_provider: Any = None
# Requests that wait for the next run of a shared job.
_askers: deque[SpanContext] = deque(maxlen=_ASKERS)


def start(exporter: SpanExporter | None = None) -> None:
    """Start tracing in this process, after its fork, if a collector is configured.

    exporter: for tests; receives the spans, one at a time, instead of the collector.
    """
    global _provider, _tracer
    if not (exporter or settings.TRACING_ENDPOINT):
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    import somamemory

    # Sample by the trace id, even if the client says that its trace is sampled. This way, clients do not control the
    # volume, and all processes make the same decision.
    some = TraceIdRatioBased(settings.TRACING_SHARE)
    resource = Resource({"service.name": settings.TRACING_SERVICE, "service.version": somamemory.__version__})
    _provider = TracerProvider(
        sampler=ParentBased(root=some, remote_parent_sampled=some), resource=resource, shutdown_on_exit=False
    )
    _provider.add_span_processor(SimpleSpanProcessor(exporter) if exporter else _to_collector())
    _tracer = _provider.get_tracer("somamemory", somamemory.__version__)


def stop() -> None:
    """Stop tracing. Wait up to `_LAST_WORDS_S` seconds for the remaining spans to be sent."""
    global _provider, _tracer
    if _provider is not None:
        provider, _provider, _tracer = _provider, None, None
        _askers.clear()
        last = threading.Thread(target=provider.shutdown, name="soma-last-spans", daemon=True)
        last.start()
        last.join(_LAST_WORDS_S)


def is_on() -> bool:
    return _tracer is not None


def span(name: str, **attributes: Attribute) -> AbstractContextManager[Any]:
    """Open a span within the current span."""
    if _tracer is None:
        return _off
    return _span(name, attributes)


def served(traceparent: str) -> AbstractContextManager[Span]:
    """Open a span for an incoming request, which may continue the client's trace. Call it only while tracing is on."""
    from opentelemetry.trace import SpanKind

    return _span("request", {}, SpanKind.SERVER, _continued(traceparent))


def number(span: Span) -> str:
    """Return the id of the current trace in hexadecimal, as collectors display it."""
    return format(span.get_span_context().trace_id, "032x")


def failed(span: Span) -> None:
    """Mark a span as failed. Needed only for failures without an exception, because `_span` marks all others."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def job(name: str, traceparent: str | None) -> AbstractContextManager[Any]:
    """Open a span for a job within the sender's trace. A scheduled job begins its own trace."""
    if _tracer is None:
        return _off
    from opentelemetry.trace import SpanKind

    return _span(name, {}, SpanKind.CONSUMER, _continued(traceparent or ""))


def ask() -> None:
    """Record that the current span has requested a job that others may have requested as well: see `asked`."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if context.trace_flags.sampled:
        _askers.append(context)


def asked(name: str) -> AbstractContextManager[Any]:
    """Open a span for a shared job. It belongs to the first requester's trace and links to the other requesters."""
    if _tracer is None or not _askers:
        return _off
    from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

    asking = [_askers.popleft() for _ in range(len(_askers))]
    links = [Link(context) for context in asking[1:]]
    return _span(name, {}, SpanKind.PRODUCER, set_span_in_context(NonRecordingSpan(asking[0])), links)


def headers() -> dict[str, str]:
    """Return the message headers that make a job part of the current trace."""
    carried: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carried)
    return {name: value for name, value in carried.items() if name == TRACEPARENT}


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function that another thread will call, so that its spans are children of this thread's current span."""
    if _tracer is None:
        return work
    context = contextvars.copy_context()

    def there(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(work, *args, **kwargs)

    return there


@contextmanager
def _span(
    name: str, attributes: dict[str, Attribute], kind: Any = None, parent: Any = None, links: Sequence[Any] = ()
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    assert _tracer is not None  # noqa: S101 - the callers check this
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind or SpanKind.INTERNAL,
        attributes=attributes,
        links=links,
        record_exception=False,  # the exception message may contain stored data
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:  # recorded, not handled: it is raised again
            made.set_attribute("error.type", type(error).__qualname__)
            failed(made)
            raise


def _continued(traceparent: str) -> Any:
    """Return the context of a trace that began elsewhere. An invalid `traceparent` begins a new trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}, Context())


def _to_collector() -> SpanProcessor:
    """Return a processor that sends batches of spans on its own thread.

    If its queue is full, the processor drops spans, so that no request waits.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

    class Exporter(OTLPSpanExporter):
        """Logs once that the collector is unavailable.

        The library itself logs a message per attempt, and the messages contain the collector's address.
        """

        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.failing:
                log.warning("the trace collector is unavailable; spans are lost until it is available again")
            self.failing = failed
            return result

    return BatchSpanProcessor(
        Exporter(endpoint=settings.TRACING_ENDPOINT, headers=settings.TRACING_HEADERS, timeout=_EXPORT_TIMEOUT_S)
    )

"""Traces for OpenTelemetry: what a request did, and the jobs that it set off, and how long each part took.

Off unless `SOMA_TRACING_ENDPOINT` names a collector: then OpenTelemetry is not even imported, and a span is one call
that does nothing. This is the only file that knows the library.

A span says what was done and never with what. Its name and attributes are words of this code: routes, verbs, names of
providers, numbers. No text, coordinate, query or key is among them, and of an error only the type.
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

TRACEPARENT = "traceparent"  # W3C Trace Context; what else a caller may send along (tracestate, baggage) is not taken
_ASKERS = 32
_EXPORT_TIMEOUT_S = 2.0
_LAST_WORDS_S = 1.5  # a server that ends waits so long for its last spans to be taken

log = logging.getLogger("soma.tracing")
_off: AbstractContextManager[None] = nullcontext()
_tracer: Tracer | None = None
_provider: Any = None
# Requests that have asked for the next run of a job that they share.
_askers: deque[SpanContext] = deque(maxlen=_ASKERS)


def start(exporter: SpanExporter | None = None) -> None:
    """Trace from now on in this process, after its fork: to the collector of the settings, if they name one.

    exporter: where spans go instead, one by one, as tests want it.
    """
    global _provider, _tracer
    if not (exporter or settings.TRACING_ENDPOINT):
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    import somamemory

    # The share is taken by the number of the trace, also where a caller says that theirs is sampled: nobody outside
    # decides how much is sent, and all processes decide alike.
    some = TraceIdRatioBased(settings.TRACING_SHARE)
    resource = Resource({"service.name": settings.TRACING_SERVICE, "service.version": somamemory.__version__})
    _provider = TracerProvider(
        sampler=ParentBased(root=some, remote_parent_sampled=some), resource=resource, shutdown_on_exit=False
    )
    _provider.add_span_processor(SimpleSpanProcessor(exporter) if exporter else _to_collector())
    _tracer = _provider.get_tracer("somamemory", somamemory.__version__)


def stop() -> None:
    """Trace no more; what is left is sent, if that can be done within seconds."""
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
    """A part of what is going on."""
    if _tracer is None:
        return _off
    return _span(name, attributes)


def served(traceparent: str) -> AbstractContextManager[Span]:
    """A request from outside, perhaps a part of a trace that began there. Only while tracing is on."""
    from opentelemetry.trace import SpanKind

    return _span("request", {}, SpanKind.SERVER, _continued(traceparent))


def number(span: Span) -> str:
    """Of its trace, in the hexadecimal digits that collectors show."""
    return format(span.get_span_context().trace_id, "032x")


def failed(span: Span) -> None:
    """Mark what went wrong without an exception."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def job(name: str, traceparent: str | None) -> AbstractContextManager[Any]:
    """A job, as a part of what has sent it; of nothing, when the clock did."""
    if _tracer is None:
        return _off
    from opentelemetry.trace import SpanKind

    return _span(name, {}, SpanKind.CONSUMER, _continued(traceparent or ""))


def ask() -> None:
    """What goes on here has asked for a job that others may be waiting for as well: see `asked`."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if context.trace_flags.sampled:
        _askers.append(context)


def asked(name: str) -> AbstractContextManager[Any]:
    """What is now done once for all that have asked: a part of the first one's trace, and linked to the others'."""
    if _tracer is None or not _askers:
        return _off
    from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

    asking = [_askers.popleft() for _ in range(len(_askers))]
    links = [Link(context) for context in asking[1:]]
    return _span(name, {}, SpanKind.PRODUCER, set_span_in_context(NonRecordingSpan(asking[0])), links)


def headers() -> dict[str, str]:
    """What a message takes along, so that its job belongs to this trace."""
    carried: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carried)
    return {name: value for name, value in carried.items() if name == TRACEPARENT}


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """The same work for another thread, as a part of what goes on in this one."""
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

    assert _tracer is not None  # noqa: S101 - asked by whoever calls
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind or SpanKind.INTERNAL,
        attributes=attributes,
        links=links,
        record_exception=False,  # the words of an exception may be what somebody stored
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:  # told, not handled: it goes on
            made.set_attribute("error.type", type(error).__qualname__)
            failed(made)
            raise


def _continued(traceparent: str) -> Any:
    """Where a trace goes on that began elsewhere; a new one, for what is no `traceparent`."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}, Context())


def _to_collector() -> SpanProcessor:
    """Batches, sent by a thread of their own; a queue that is full loses spans and delays nobody."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

    class Exporter(OTLPSpanExporter):
        """Says once, in our own words, that nobody takes the spans: the library's name the address, at each try."""

        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.failing:
                log.warning("the collector does not take our spans; they are lost until it does")
            self.failing = failed
            return result

    return BatchSpanProcessor(
        Exporter(endpoint=settings.TRACING_ENDPOINT, headers=settings.TRACING_HEADERS, timeout=_EXPORT_TIMEOUT_S)
    )

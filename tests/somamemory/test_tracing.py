"""Traces: one per request, including the jobs that it triggers, without any stored data or queries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from memories import services
from memories.index import drain, notify
from somamemory import celery, checks, extras
from somamemory.celery import TracedTask
from somamemory.telemetry import tracing
from somamemory.web import middleware
from testing.otlp_collector import Collector
from tests.conftest import Api
from tests.somamemory.test_logs import PLANTED, everything_goes_wrong

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def place_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


class Traces:
    """The spans sent to the collector."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def below(self, span: ReadableSpan) -> list[str]:
        """Return the names of all descendants of a span."""
        parts = [part for part in self.spans if part.parent and part.parent.span_id == place_of(span).span_id]
        return [name for part in parts for name in [part.name, *self.below(part)]]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    made = Traces()
    # Like settings.py if an endpoint is set.
    monkeypatch.setattr(settings, "MIDDLEWARE", ["somamemory.web.middleware.Tracing", *settings.MIDDLEWARE])
    tracing.start(made.exporter)
    yield made
    tracing.stop()


def test_a_request_is_a_span_that_is_named_by_its_route(api: Api, traces: Traces) -> None:
    api.get("/memories/1,2")

    (span,) = traces.spans
    assert span.name == "GET api/v1/memories/<coord>"
    assert span.kind == SpanKind.SERVER
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "api/v1/memories/<coord>",
        "http.response.status_code": 404,
        "soma.tenant": "acme",
    }


def test_a_search_shows_its_legs_also_the_one_on_another_thread(api: Api, traces: Traces) -> None:
    api.store("1", "a night train to Vienna")
    drain.drain()
    traces.exporter.clear()

    api.search("train")

    below = traces.below(traces.named("POST api/v1/memories/search"))
    assert sorted(below) == ["embed", "index: search", "search: meaning", "search: words"]


def test_an_incoming_trace_is_continued_and_nothing_else_is_used(api: Api, traces: Traces) -> None:
    api.get("/ping", traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=secret", baggage="user=secret")

    (span,) = traces.spans
    assert format(place_of(span).trace_id, "032x") == TRACE
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == PARENT
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("header", ["", "00", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01-" + "x" * 5000])
def test_an_invalid_traceparent_begins_a_new_trace(api: Api, traces: Traces, header: str) -> None:
    assert api.get("/ping", traceparent=header).status_code == 200

    (span,) = traces.spans
    assert format(place_of(span).trace_id, "032x") != TRACE


def test_the_line_of_a_request_names_its_trace(api: Api, traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "soma.requests")

    api.get("/ping", traceparent=f"00-{TRACE}-{PARENT}-01")

    (line,) = [record for record in caplog.records if record.name == "soma.requests"]
    assert vars(line)["trace_id"] == TRACE


def test_nothing_that_was_sent_is_in_a_trace(
    api: Api, operator: Api, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_goes_wrong(api, operator, monkeypatch)
    drain.drain()
    api.search(PLANTED, consistency="strong")

    spans = "".join(span.to_json() for span in traces.spans)
    assert "index: store vectors" in spans
    assert '"http.response.status_code": 500' in spans
    assert PLANTED not in spans
    assert api.key not in spans


def test_a_request_that_met_a_bug_is_marked(api: Api, traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(services, "store", broken)

    api.post("/memories", {"coord": "1", "payload": {}})

    assert traces.named("POST api/v1/memories").status.status_code == StatusCode.ERROR


def test_a_failed_span_contains_the_type_of_the_error_but_not_its_message(traces: Traces) -> None:
    with pytest.raises(KeyError), tracing.span("part"):
        raise KeyError(PLANTED)

    (span,) = traces.spans
    assert span.attributes == {"error.type": "KeyError"}
    assert PLANTED not in span.to_json()


# --- From a request to its job -----------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Record the headers of messages to the broker."""
    headers: list[dict[str, str]] = []
    monkeypatch.setattr(celery.app, "send_task", lambda task, **options: headers.append(options["headers"]))
    return headers


def run_with(headers: dict[str, str], work: Callable[[], object]) -> None:
    """Run a task like a worker that has received a message with these headers."""

    def once() -> None:
        work()

    task: Any = celery.app.task(name="tests.work")(once)
    assert isinstance(task, TracedTask)
    task.push_request(**headers)
    try:
        task()
    finally:
        task.pop_request()
        celery.app.tasks.unregister(task.name)


@pytest.mark.django_db(transaction=True)
def test_the_work_of_a_worker_is_part_of_the_requests_trace(
    api: Api, traces: Traces, sent: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify.Publisher, "ask", lambda self: tracing.ask())  # the thread would publish at any time
    monkeypatch.setattr(settings, "INDEXER", "celery")

    api.store("1", "to be indexed")
    notify.publish()
    run_with(sent[0], drain.drain)

    request = traces.named("POST api/v1/memories")
    below = traces.below(request)
    assert below[:2] == ["send memories.drain", "tests.work"]
    assert {"embed", "index: store vectors"} <= set(below)


def test_a_shared_job_belongs_to_the_first_request_and_links_to_the_others(
    traces: Traces, sent: list[dict[str, str]]
) -> None:
    for number in range(3):
        with tracing.span(f"request {number}"):
            tracing.ask()

    notify.publish()

    job = traces.named("send memories.drain")
    assert job.parent is not None
    assert job.parent.span_id == place_of(traces.named("request 0")).span_id
    assert [link.context.span_id for link in job.links] == [
        place_of(traces.named(f"request {number}")).span_id for number in (1, 2)
    ]


def test_a_scheduled_job_has_its_own_trace(traces: Traces) -> None:
    run_with({}, lambda: None)

    assert traces.named("tests.work").parent is None


def test_the_thread_of_an_embedded_server_continues_the_trace(traces: Traces) -> None:
    with tracing.span("request"):
        notify._wake()
    with tracing.asked(notify.DRAIN):
        pass
    with tracing.asked(notify.DRAIN):  # without a request
        pass

    assert traces.below(traces.named("request")) == [notify.DRAIN]


# --- Sampling, and tracing turned off ----------------------------------------------------------------------------


def test_callers_cannot_change_the_share_of_traces(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRACING_SHARE", 0.0)
    exporter = InMemorySpanExporter()
    tracing.start(exporter)
    try:
        with tracing.served(f"00-{TRACE}-{PARENT}-01"), tracing.span("part"):
            tracing.ask()
        nothing_asked = tracing.asked("job")
    finally:
        tracing.stop()

    assert exporter.get_finished_spans() == ()
    assert nothing_asked is tracing.span("off")


def test_off_a_span_is_one_object_and_a_job_carries_nothing(db: None) -> None:
    def work() -> None: ...

    assert not tracing.is_on()
    tracing.ask()
    assert tracing.span("a", texts=1) is tracing.span("b") is tracing.job("c", TRACE) is tracing.asked("d")
    assert tracing.headers() == {}
    assert tracing.carried(work) is work
    assert "somamemory.web.middleware.Tracing" not in settings.MIDDLEWARE
    assert Client().get("/ping").status_code == 200


def test_off_the_library_is_not_even_imported() -> None:
    script = "import sys, django; django.setup(); import somamemory.wsgi, operations.tasks; " \
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"  # fmt: skip

    assert subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, timeout=180).returncode == 0


def test_without_tracing_a_request_creates_no_span(db: None) -> None:
    answer = HttpResponse()

    assert middleware.Tracing(lambda request: answer)(HttpRequest()) is answer


def test_without_the_extra_an_endpoint_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRACING_ENDPOINT", "http://127.0.0.1:4318/v1/traces")
    assert [message.id for message in checks.mixes("sqlite")] == []
    monkeypatch.setattr(extras, "is_installed", lambda extra: False)

    (message,) = checks.mixes("sqlite")

    assert (message.id, "requirements/tracing.txt" in message.msg) == ("soma.E008", True)


# --- The collector -----------------------------------------------------------------------------------------------


def one_span_to(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRACING_ENDPOINT", collector.url)
    monkeypatch.setattr(settings, "TRACING_HEADERS", {"authorization": "Bearer of-the-collector"})
    tracing.start()
    with tracing.span("a part of the work"):
        pass
    tracing.stop()
    collector.close()


def test_remaining_spans_are_sent_before_a_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()

    one_span_to(collector, monkeypatch)

    assert collector.authorized == ["Bearer of-the-collector"]
    assert [span.name for span in collector.spans] == ["a part of the work"]


def test_a_collector_that_refuses_is_named_by_no_address_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(400)

    one_span_to(collector, monkeypatch)

    (line,) = [record for record in caplog.records if record.name == "soma.tracing"]
    assert "the trace collector is unavailable" in line.getMessage()
    assert "of-the-collector" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOMA_TRACING_ENDPOINT", "collector:4318"),
        ("SOMA_TRACING_HEADERS", "no-equals-sign"),
        ("SOMA_TRACING_SHARE", "1.5"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_without_its_secret(name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import somamemory.settings"],
        env={"PATH": "/usr/bin", name: value},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 1
    assert f"{name} must" in done.stderr.splitlines()[-1]
    assert "no-equals-sign" not in done.stderr

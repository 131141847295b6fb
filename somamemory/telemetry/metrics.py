"""All metrics, each declared once. `exposition` returns them for Prometheus.

Label values come from the code (routes, methods, kinds and tiers) and never contain a tenant, a key or a path. With
several processes, each keeps its numbers in a file in a shared folder (created by `deploy/gunicorn.conf.py`), where
they survive the process. The process that is scraped adds them up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cachetools import TTLCache, cached
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

log = logging.getLogger("soma.metrics")

# The creation times would double the output, and nothing reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

requests = Counter("soma_http_requests", "Requests served", ["route", "method", "status", "tier"])
request_seconds = Histogram(
    "soma_http_request_duration_seconds", "Request duration", ["route", "method"], buckets=_SECONDS
)
in_flight = Gauge("soma_http_requests_in_flight", "Requests in progress", multiprocess_mode="livesum")
clients_cut_off = Counter(
    "soma_clients_cut_off", "Connections closed before a request or response was complete", ["reason"]
)  # timeout, connections or bytes
rate_limited = Counter(
    "soma_rate_limited", "Requests rejected, by limit: key, tenant, address, concurrency or quota", ["limit"]
)
slow_statements = Counter("soma_database_slow_statements", "Statements slower than SOMA_SLOW_QUERY_MS")

searches = Counter("soma_searches", "Searches", ["mode"])
leg_seconds = Histogram("soma_search_leg_seconds", "Duration of a search leg", ["leg"], buckets=_SECONDS)
candidates = Histogram(
    "soma_search_candidates",
    "Candidates returned by a search leg",
    ["leg"],
    buckets=(0, 1, 10, 50, 100, 400, 2_000, 20_000),
)
refills = Counter("soma_search_refills", "Index queries repeated because filters had removed candidates")
degraded = Counter("soma_search_degraded", "Searches that completed without one of their legs", ["leg"])

indexed = Counter("soma_index_rows", "Outbox rows processed by the drain", ["outcome"])  # settled or failed
breaker_open = Gauge(
    "soma_index_breaker_open", "1 if the vector index is known to be down", multiprocess_mode="livemax"
)

background_failures = Counter(
    "soma_background_failures", "Failed attempts by background threads", ["thread", "outcome"]
)  # retryable or bug

embedding_calls = Counter("soma_embedding_calls", "Calls to an embedder", ["provider", "outcome"])  # ok or failed
embedded_texts = Counter("soma_embedding_texts", "Embedded texts", ["provider"])
embedding_tokens = Counter("soma_embedding_tokens", "Tokens billed by a provider", ["provider"])
embedding_cache = Counter("soma_embedding_cache", "Vector cache lookups", ["result"])  # hit or miss

tier_moves = Counter("soma_tier_moves", "Conversations moved between tiers", ["to"])  # active, archived or cold

Sample = tuple[Sequence[str], float]


@dataclass(frozen=True)
class _Looked:
    name: str
    help: str
    labels: tuple[str, ...]
    look: Callable[[], Iterable[Sample]]


_scraped: dict[str, _Looked] = {}


def at_scrape(name: str, help: str, labels: tuple[str, ...] = ()) -> Callable[..., Callable[[], Iterable[Sample]]]:
    """Register a metric that is read from the database during a scrape, but at most once every ten seconds.

    The decorated function returns pairs of (label values, number). Its module must be imported by an app's `ready`.
    """

    def declared(look: Callable[[], Iterable[Sample]]) -> Callable[[], Iterable[Sample]]:
        _scraped[name] = _Looked(name, help, labels, look)
        return look

    return declared


@lru_cache(4096)
def _requests_with(route: str, method: str, status: int, tier: str) -> Counter:
    return requests.labels(route, method, status, tier)


@lru_cache(1024)
def _seconds_of(route: str, method: str) -> Histogram:
    return request_seconds.labels(route, method)


def request_served(route: str, method: str, status: int, tier: str, duration_s: float) -> None:
    """Count a request. Looking up a metric by its labels takes longer than counting, so the metrics are cached."""
    _requests_with(route, method, status, tier).inc()
    _seconds_of(route, method).observe(duration_s)


def exposition() -> bytes:
    """Return all metrics from this server's processes, in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Aliased(_processes()))
    registry.register(_Aliased(_FromDatabase()))
    return generate_latest(registry)


def serve(host: str, port: int) -> None:
    """Serve the metrics of this process and its children over HTTP, for processes without a web server."""
    registry = CollectorRegistry()
    registry.register(_Aliased(_processes()))
    start_http_server(port, host, registry)


def process_ended(pid: int) -> None:
    """Keep the counters of a process that has ended, but drop its gauges."""
    if settings.METRICS_ARE_SHARED:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def method_label(method: str | None) -> str:
    return method if method in METHODS else "other"


def forget_cached() -> None:
    _remembered.clear()


def _processes() -> Collector:
    if settings.METRICS_ARE_SHARED:
        return MultiProcessCollector(None)  # type: ignore[no-untyped-call]
    return REGISTRY


class _Aliased(Collector):
    """Collects every metric under its own name and, if configured, also under an alias: `sekha_…` for `soma_…`."""

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def collect(self) -> Iterator[Metric]:
        prefix = settings.METRICS_ALIAS
        for metric in self._inner.collect():
            yield metric
            if prefix and metric.name.startswith("soma_"):
                alias = Metric(_renamed(metric.name, prefix), metric.documentation, metric.type)
                for sample in metric.samples:
                    alias.samples.append(sample._replace(name=_renamed(sample.name, prefix)))
                yield alias


# Sekha uses this gauge's name for a counter.
_ALIASES = {"soma_conversations": "_conversations_total"}


def _renamed(name: str, prefix: str) -> str:
    return prefix + _ALIASES.get(name, name.removeprefix("soma"))


class _FromDatabase(Collector):
    def collect(self) -> Iterator[Metric]:
        samples, failed = _look()
        for look in _scraped.values():
            family = GaugeMetricFamily(look.name, look.help, labels=look.labels)
            for labels, value in samples.get(look.name, ()):
                family.add_metric(labels, value)
            yield family
        yield GaugeMetricFamily("soma_scrape_failed", "1 if the database could not be queried", value=float(failed))


_remembered: TTLCache[object, tuple[dict[str, list[Sample]], bool]] = TTLCache(maxsize=1, ttl=10)


@cached(_remembered, lock=threading.Lock())
def _look() -> tuple[dict[str, list[Sample]], bool]:
    samples: dict[str, list[Sample]] = {}
    try:
        for look in _scraped.values():
            samples[look.name] = list(look.look())
    except (DatabaseError, InterfaceError) as error:
        log.warning("some metrics are missing", extra={"reason": type(error).__name__})
        return samples, True
    return samples, False

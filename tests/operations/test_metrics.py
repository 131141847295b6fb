"""Metrics: correct, bounded, and the same from every process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from somamemory.telemetry import metrics
from tests.conftest import Api, drain, problem_of

LABELS = {
    "route", "method", "status", "tier", "limit", "mode", "leg", "outcome", "provider", "result",
    "state", "kind", "active", "thread", "to", "le",
}  # fmt: skip


def samples(path: str = "/metrics", name: str = "") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of one metric only, because the complete output can be large after other tests."""
    response = Client().get(path)
    assert response.status_code == 200
    lines = [line for line in response.content.decode().splitlines(keepends=True) if line.startswith(name)]
    families = text_string_to_metric_families("".join(lines))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if family.name.startswith(("soma", "sekha"))
    }


def value(name: str, **labels: str) -> float:
    """Return the sum of all samples with these labels."""
    found = samples(name=name).items()
    return sum(number for (series, has), number in found if series == name and labels.items() <= dict(has).items())


def test_requests_are_counted_by_route_method_status_and_tier(api: Api) -> None:
    labels = {"route": "api/v1/memories/<coord>", "method": "GET", "tier": "standard"}
    before = value("soma_http_requests_total", status="404", **labels)
    seconds = value("soma_http_request_duration_seconds_count", route=labels["route"], method="GET")

    for _ in range(3):
        api.get("/memories/1,2")

    assert value("soma_http_requests_total", status="404", **labels) == before + 3
    assert value("soma_http_request_duration_seconds_count", route=labels["route"], method="GET") == seconds + 3


def test_a_request_is_in_flight_while_it_is_answered(db: None) -> None:
    assert value("soma_http_requests_in_flight") == 1  # the current connection
    assert value("soma_http_requests_in_flight") == 1


def test_no_label_grows_with_what_is_stored_or_asked(api: Api, operator: Api) -> None:
    def labels() -> set[Any]:
        return {labels for _, labels in samples()}

    api.store("1", "warm", namespace="n")
    api.request("BREW", "/memories")
    api.search("warm")
    api.get("/nowhere")
    labels()  # this request is counted as well
    before = labels()
    for n in range(5):
        api.store(f"{n},7", f"word{n}", namespace=f"n{n}")
        api.search(f"word{n}", namespace=f"n{n}")
        api.request(f"BREW{n}", "/memories")
        api.get(f"/nowhere/{n}")

    assert labels() == before
    assert {name for labels in before for name, _ in labels} <= LABELS


def test_searches_and_their_legs_are_counted(api: Api) -> None:
    api.store("1", "aardvark")
    drain()
    names = ["soma_searches_total", "soma_search_leg_seconds_count", "soma_search_candidates_sum"]
    before = [value(name) for name in names]

    api.search("aardvark")

    assert [value(name) for name in names] == [before[0] + 1, before[1] + 2, before[2] + 2]


def test_pending_and_completed_index_work_is_reported(api: Api) -> None:
    settled = value("soma_index_rows_total", outcome="settled")
    texts = value("soma_embedding_texts_total")
    api.store("1", "aardvark")
    metrics.forget_cached()
    assert value("soma_index_rows_waiting", state="pending") == 1

    drain()

    metrics.forget_cached()
    assert value("soma_index_rows_waiting", state="pending") == 0
    assert value("soma_index_rows_total", outcome="settled") == settled + 1
    assert value("soma_embedding_texts_total") == texts + 1


def test_refused_requests_are_counted_by_what_refused_them(api: Api, operator: Api) -> None:
    before = value("soma_rate_limited_total", limit="quota")
    operator.patch("/api/v1/tenants/acme", {"quotas": {"requests_per_day": 0}})

    assert api.get("/memories").status_code == 429

    assert value("soma_rate_limited_total", limit="quota") == before + 1


def test_the_database_has_metrics(api: Api) -> None:
    assert value("soma_database_size_bytes") > 10_000
    assert value("soma_tenants", tier="standard", active="true") == 2
    assert value("soma_scrape_failed") == 0


def test_without_the_database_the_other_metrics_are_exported(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> Any:
        raise DatabaseError

    broken = metrics._Looked("soma_database_size_bytes", "", (), down)
    monkeypatch.setitem(metrics._scraped, "soma_database_size_bytes", broken)

    assert value("soma_scrape_failed") == 1
    assert value("soma_http_requests_in_flight") == 1


def test_only_those_who_may_read_them(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere: Any = Client(REMOTE_ADDR="192.0.2.1")
    problem_of(elsewhere.get("/metrics"), 403, "forbidden")
    monkeypatch.setattr(settings, "TRUSTED_PROXIES", settings.METRICS_ALLOW)
    proxied: Any = Client()
    problem_of(proxied.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}), 403, "forbidden")
    assert proxied.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 200
    assert Client(REMOTE_ADDR="::1").get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="::ffff:127.0.0.1").get("/metrics").status_code == 200


def test_an_untrusted_proxy_does_not_open_the_metrics_to_its_clients(db: None) -> None:
    """With a local proxy and without SOMA_TRUSTED_PROXIES, all clients would appear to come from 127.0.0.1."""
    proxied: Any = Client()

    problem_of(proxied.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}), 403, "forbidden")


def test_metrics_are_also_exported_under_other_names(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.get("/memories")
    monkeypatch.setattr(settings, "METRICS_ALIAS", "sekha")

    found = samples()

    aliased = {name for name, _ in found if name.startswith("sekha_")}
    assert len(aliased) == len({name for name, _ in found if name.startswith("soma_")})
    # The metrics in Sekha's documentation, with the labels in its queries.
    assert value("sekha_http_requests_total", status="200") > 0
    assert value("sekha_http_request_duration_seconds_bucket", le="+Inf") > 0
    assert value("sekha_database_size_bytes") > 10_000
    assert ("sekha_conversations_total", frozenset({("status", "active")})) in found


def test_every_metric_is_described_in_the_docs(db: None) -> None:
    text = (Path(settings.BASE_DIR) / "docs" / "reference" / "metrics.md").read_text()
    names = {
        re.sub("_total$", "", family.name) for family in text_string_to_metric_families(metrics.exposition().decode())
    }

    assert {name for name in names if name.startswith("soma") and name not in text} == set()

"""The dashboard and the explorer: figures, access and drawing."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from console import charts
from memories.models import VectorEmbedding
from operations import health, statistics
from somamemory.web import request_stats
from somamemory.web.request_stats import BOUNDS_MS, Minute, RequestStats, percentile
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, drain, page, page_content, problem_of
from tests.support.staff import sign_in_staff


@pytest.fixture(autouse=True)
def _no_traffic() -> None:
    request_stats.stats.clear()


def answer(client: Client, name: str, **query: str) -> Any:
    response = client.get(page(name, **query))
    assert response.status_code == 200, response.content
    return json.loads(response.content)


def refused(client: Client, path: str, status: int, code: str | None = None, field: str | None = None) -> None:
    response: Any = client.get(path)
    problem_of(response, status, code, field)


# --- Dashboard ---------------------------------------------------------------------------------------------------


def test_the_dashboard_shows_how_requests_end(superuser: Client, api: Api) -> None:
    for _ in range(3):
        api.get("/stats")
    api.get("/memories/404")
    api.get("/memories/x")

    minutes = request_stats.stats.recent()
    assert (sum(minute.ok for minute in minutes), sum(minute.client_errors for minute in minutes)) == (3, 2)
    assert re.search(r"\d\d:\d\d UTC: 3 succeeded, 2 rejected, 0 failed", page_content(superuser, page("index")))


def test_pages_and_files_do_not_count_as_api_requests(superuser: Client) -> None:
    page_content(superuser, page("index"))
    superuser.get("/static/console/console.css").close()
    superuser.get("/nowhere")

    assert sum(minute.total for minute in request_stats.stats.recent()) == 0


def test_the_dashboard_shows_pending_and_failed_rows(superuser: Client, api: Api, caller: Caller) -> None:
    api.store("1")
    api.store("2")
    VectorEmbedding.objects.for_tenant(api.tenant).filter(memory_id=api.store("3")["id"]).update(
        attempts=9, due_at=timezone.now() - timedelta(hours=2)
    )

    queue = statistics.queue(Caller.command(api.tenant))

    assert (queue.pending, queue.failed) == (3, 1)
    assert 7195 < queue.oldest_s < 7300
    assert "oldest: 2.0 h" in page_content(superuser, page("index"))


def test_memories_are_counted_by_tenant(superuser: Client, api: Api, stranger: Api) -> None:
    for number in range(3):
        api.store(str(number))
    stranger.store("1")

    known, counted = statistics.of_tenants(Caller.command(api.tenant))

    assert (known[api.tenant.id], known[stranger.tenant.id], counted) == (3, 1, True)
    assert "stranger" in page_content(superuser, page("index"))


def test_the_estimate_of_a_large_installation_names_its_tenants(
    api: Api, stranger: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        monkeypatch.setattr(
            statistics, "_estimated", statistics._counted
        )  # SQLite has no statistics, so rows are counted
    for number in range(30):
        api.store(str(number))
    stranger.store("1")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sfm_memories")
    monkeypatch.setattr(statistics, "COUNTED", -1)

    known, _ = statistics.of_tenants(Caller.command(api.tenant))

    assert 25 <= known[api.tenant.id] <= 35


def test_a_member_of_staff_sees_nothing_of_others_on_the_dashboard(
    staff: Client,
    api: Api,
    stranger: Api,
) -> None:
    api.store("1")
    stranger.store("1")

    text = page_content(staff, page("index"))

    assert "acme" in text
    assert "stranger" not in text
    assert "Requests" not in text


def test_the_dashboard_takes_a_constant_number_of_statements(
    superuser: Client,
    api: Api,
    generation: Any,
) -> None:
    def count() -> int:
        """Count in a process without cached values."""
        cache.clear()
        health.forget_cached()
        with CaptureQueriesContext(connection) as captured:
            page_content(superuser, page("index"))
        return len(captured)

    api.store("1")
    few = count()
    for number in range(20):
        Tenant.objects.create(slug=f"tenant-{number}")

    assert count() == few <= 16


def test_the_rows_of_a_minute_that_is_over_an_hour_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, now = RequestStats(), time.time()
    seen.record(200, 1)
    monkeypatch.setattr(time, "time", lambda: now + 61 * 60)
    seen.record(500, 1)

    minutes = seen.recent()

    assert len(minutes) == request_stats.MINUTES
    assert [(minute.ok, minute.server_errors) for minute in minutes if minute.total] == [(0, 1)]
    assert len(seen._minutes) == 1


@given(st.lists(st.floats(0.01, 20_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_within_the_bounds_of_the_exact_one(durations: list[float], share: float) -> None:
    minute = Minute(0)
    for duration in durations:
        minute.histogram[sum(duration > bound for bound in BOUNDS_MS)] += 1

    found = percentile(minute.histogram, share)

    true = sorted(durations)[max(0, -(-int(len(durations) * share * 1000) // 1000) - 1)]
    above = min((bound for bound in BOUNDS_MS if bound >= true), default=BOUNDS_MS[-1])
    below = max((bound for bound in BOUNDS_MS if bound < min(true, BOUNDS_MS[-1])), default=0)
    assert found is not None
    nearby = sorted({0, below, above, *BOUNDS_MS})
    assert nearby[max(0, nearby.index(below) - 1)] <= found <= nearby[min(len(nearby) - 1, nearby.index(above) + 1)]


def test_nothing_has_no_percentile() -> None:
    assert percentile(Minute(0).histogram, 0.95) is None


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=60))
def test_columns_stay_within_the_chart_and_start_at_its_bottom(stacks: list[tuple[int, int]]) -> None:
    chart = charts.columns([("", {"good": one, "broken": two}) for one, two in stacks])

    for bar, (one, two) in zip(chart.bars, stacks, strict=True):
        assert all(y >= -0.01 and y + height <= 100.02 for _, y, height in bar.parts)
        assert len(bar.parts) == (one > 0) + (two > 0)
        if bar.parts:
            assert bar.parts[0][1] + bar.parts[0][2] == pytest.approx(100, abs=0.02)
    assert chart.most >= max((one + two for one, two in stacks), default=0)


def test_a_line_is_broken_where_there_is_nothing() -> None:
    found, most = charts.lines([10, 20, None, 5, None])

    assert most == 20
    assert [len(points.split()) for points in found] == [2, 2]
    assert charts.lines([None, None]) == ([], 1)


# --- Example data ------------------------------------------------------------------------------------------------


def test_example_data_is_offered_loaded_tried_and_removed(superuser: Client, staff: Client, api: Api) -> None:
    assert "Load the example data" in page_content(staff, page("index"))
    for _ in range(2):
        staff.post(page("example"), {"tenant": "acme", "do": "load"})
    drain()

    text = page_content(staff, page("index"))
    things = [match.replace("&amp;", "&") for match in re.findall(r'<li><a href="([^"]+)">(?:Ask|Read|Explore)', text)]
    assert len(things) == 3
    assert "is allergic to shellfish" in page_content(staff, things[0])
    assert "caldo verde" in page_content(staff, things[1])
    page_content(staff, things[2])
    staff.post(page("example"), {"tenant": "acme", "do": "remove"})

    assert api.get("/stats").json()["total_memories"] == 0
    assert api.get("/api/v1/conversations").json()["total"] == 0
    assert "Load the example data" in page_content(staff, page("index"))


def test_example_data_needs_permissions_a_post_and_the_own_tenant(staff: Client, api: Api, stranger: Api) -> None:
    assert staff.get(page("example")).status_code == 405
    assert staff.post(page("example"), {"tenant": "stranger", "do": "load"}).status_code == 404
    User.objects.get(username="acme-staff").user_permissions.set(Permission.objects.filter(codename="view_memory"))
    staff.post(page("example"), {"tenant": "acme", "do": "load"})

    assert stranger.get("/memories?namespace=somamemory-example").json()["items"] == []
    assert api.get("/memories?namespace=somamemory-example").json()["items"] == []
    assert "Load the example data" not in page_content(staff, page("index"))
    api.store("1")
    assert "Welcome" not in page_content(staff, page("index"))


# --- Explorer ----------------------------------------------------------------------------------------------------


def test_the_explorer_responds_like_the_route_of_the_api(superuser: Client, api: Api) -> None:
    for number in range(5):
        api.store(f"{number},1")
    drain()

    assert answer(superuser, "explorer_map", tenant="acme", axes="0,1") == api.get("/memories/map?axes=0,1").json()
    assert answer(superuser, "explorer_map", tenant="acme", depth="1") == api.get("/memories/map?depth=1").json()
    found = answer(superuser, "explorer_search", tenant="acme", q="memory", namespace="default")
    assert {hit["coord"] for hit in found["memories"]} == {hit["coord"] for hit in api.search("memory")}
    assert all(hit["scores"] for hit in found["memories"])


def test_the_explorer_reports_invalid_requests(superuser: Client, api: Api) -> None:
    refused(superuser, page("explorer_map", tenant="acme", axes="x"), 422, field="axes")
    refused(superuser, page("explorer_map", tenant="acme", prefix="x"), 400, "invalid_coordinate")
    refused(superuser, page("explorer_map", tenant="acme", colour="red"), 422, field="colour")
    refused(superuser, page("explorer_map", tenant="nobody"), 404)
    refused(superuser, page("explorer_search", tenant="acme", q=""), 422, field="q")
    refused(superuser, page("explorer_memory", tenant="acme", id="x"), 422, field="id")


def test_a_member_of_staff_explores_no_other_tenant(staff: Client, api: Api, stranger: Api) -> None:
    theirs = stranger.store("1")

    for name, query in {"map": {}, "search": {"q": "memory"}, "memory": {"id": theirs["id"]}}.items():
        refused(staff, page(f"explorer_{name}", tenant="stranger", **query), 404)
    refused(staff, page("explorer_memory", tenant="acme", id=theirs["id"]), 404)
    assert "stranger" not in page_content(staff, page("explorer", tenant="stranger"))


def test_without_the_permission_to_see_memories_nothing_is_explored(superuser: Client, api: Api) -> None:
    client = sign_in_staff(api.tenant, all_but="view_memory")

    for name in ("", "_map", "_search", "_memory"):
        assert client.get(page(f"explorer{name}", tenant="acme")).status_code == 403


def test_the_network_around_a_memory_holds_its_links_both_ways(superuser: Client, api: Api) -> None:
    middle = api.store("1", "the middle")
    api.store("2", "before")
    for start, end in (("2", "1"), ("1", "3"), ("3", "4"), ("4", "5")):
        assert api.post("/graph/link", {"from_coord": start, "to_coord": end}).status_code < 300

    found = answer(superuser, "explorer_memory", tenant="acme", id=middle["id"])["network"]

    assert {node["coord"]: (node["hops"], node["text"]) for node in found["nodes"]} == {
        "1.0": (0, "the middle"), "2.0": (1, "before"), "3.0": (1, ""), "4.0": (2, ""),
    }  # fmt: skip
    assert {(link["from"], link["to"]) for link in found["links"]} == {("2.0", "1.0"), ("1.0", "3.0"), ("3.0", "4.0")}
    assert not found["truncated"]


def test_exploring_counts_as_no_read_and_writes_nothing(superuser: Client, api: Api) -> None:
    id = api.store("1")["id"]
    api.post("/graph/link", {"from_coord": "1", "to_coord": "1,1"})
    answer(superuser, "explorer_memory", tenant="acme", id=id)

    with CaptureQueriesContext(connection) as captured:
        answer(superuser, "explorer_map", tenant="acme", axes="0")
        answer(superuser, "explorer_memory", tenant="acme", id=id)

    assert not [query["sql"] for query in captured if re.match(r"\s*(INSERT|UPDATE|DELETE)", query["sql"])]
    assert api.get("/memories/1").json()["memory"]["access_count"] == 0

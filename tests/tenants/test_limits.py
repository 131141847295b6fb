"""Limits for a caller: the arithmetic of the buckets, and the headers and rejections over HTTP."""

from __future__ import annotations

import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import throttle
from api.request import Admission, Policy
from memories import counts
from somamemory.db import sqlstate
from tenants.limits import gcra, policy
from tenants.limits.buckets import LocalBuckets
from tenants.limits.gcra import Limit
from tests.conftest import Api, issue_key, problem_of
from tests.operations.test_database_trouble import fail_first, failing_with

KEY, TENANT = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def settings(settings: Any) -> Any:
    """Disable both limits; each test sets the ones it needs."""
    settings.KEY_RATE, settings.KEY_BURST = 0, 200
    settings.TENANT_RATE, settings.TENANT_BURST = 0, 800
    settings.REDIS_URL = ""
    return settings


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(policy, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# --- The rule ----------------------------------------------------------------------------------------------------

rules = st.builds(Limit, st.just("key"), st.floats(0.01, 10_000), st.integers(1, 10_000))
steps = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 300)), max_size=60)


@given(rules, steps)
def test_no_stretch_of_time_passes_more_than_the_burst_and_the_rate(limit: Limit, steps: Any) -> None:
    buckets, now, passed = LocalBuckets(), 0.0, []
    for pause_s, cost in steps:
        now += pause_s
        passed.append((now, buckets.take(["a"], [limit], cost, cost, now).tokens))

    for first, last in itertools.combinations_with_replacement(range(len(passed)), 2):
        spent = sum(tokens for _, tokens in passed[first : last + 1])
        time_s = passed[last][0] - passed[first][0]
        assert spent <= (limit.burst + limit.rate * time_s) * (1 + 1e-9) + 1e-3


@given(rules, steps, st.integers(1, 300))
def test_a_request_passes_after_its_wait_and_not_much_earlier(limit: Limit, steps: Any, cost: int) -> None:
    cost = min(cost, limit.burst)
    buckets, now = LocalBuckets(), 0.0
    for pause_s, others in steps:
        now += pause_s
        buckets.take(["a"], [limit], others, others, now)
    taken = buckets.take(["a"], [limit], cost, cost, now)

    if not taken.tokens:
        wait_s = gcra.wait_for(cost, taken.debts[0], limit)
        too_early = now + wait_s - 0.1 / limit.rate
        assert buckets.take(["a"], [limit], cost, cost, too_early).tokens == 0
        assert buckets.take(["a"], [limit], cost, cost, now + wait_s).tokens == cost


@given(rules, steps)
def test_a_bucket_left_alone_is_full_when_it_said(limit: Limit, steps: Any) -> None:
    buckets, now, owed = LocalBuckets(), 0.0, 0.0
    for pause_s, cost in steps:
        now += pause_s
        owed = buckets.take(["a"], [limit], cost, cost, now).debts[0]

    assert buckets.take(["a"], [limit], limit.burst, limit.burst, now + owed).tokens == limit.burst


@given(rules, rules, steps)
def test_two_buckets_give_the_same_or_nothing(one: Limit, other: Limit, steps: Any) -> None:
    both, alone, now = LocalBuckets(), LocalBuckets(), 0.0
    for pause_s, cost in steps:
        now += pause_s
        before = both.take(["one", "other"], [one, other], 20_000, 20_000, now)
        taken = both.take(["one", "other"], [one, other], cost, cost, now)
        enough = all(
            gcra.tokens_in(owed, limit) >= cost for owed, limit in zip(before.debts, (one, other), strict=True)
        )
        assert bool(taken.tokens) == enough
        if not enough:
            assert taken.debts == before.debts
        alone.take(["x"], [one], cost, cost, now)


def test_a_clock_set_back_locks_no_caller_out() -> None:
    limit = Limit("key", 10, 10)

    assert gcra.debt(full_at=1_000_000, now=0, limit=limit) == 1


def test_a_request_that_costs_more_than_a_bucket_holds_takes_a_full_one(settings: Any, clock: Clock) -> None:
    settings.KEY_RATE, settings.KEY_BURST = 10, 20

    assert policy.take(TENANT, KEY, 50).allowed
    assert policy.take(TENANT, KEY, 50).retry_after_s == pytest.approx(2)
    clock.now += 2.001
    assert policy.take(TENANT, KEY, 50).allowed


def test_a_refused_request_costs_neither_bucket_anything(settings: Any, clock: Clock) -> None:
    settings.KEY_RATE, settings.KEY_BURST, settings.TENANT_RATE, settings.TENANT_BURST = 10, 10, 10, 100

    assert policy.take(TENANT, KEY, 8).allowed
    refused = policy.take(TENANT, KEY, 8)

    assert not refused.allowed
    assert [quota.remaining for quota in refused.quotas] == [2, 92]


def test_the_keys_of_a_tenant_share_its_bucket(settings: Any, clock: Clock) -> None:
    settings.TENANT_RATE, settings.TENANT_BURST = 1, 3

    allowed = [policy.take(TENANT, uuid.uuid4(), 1).allowed for _ in range(4)]

    assert allowed == [True, True, True, False]
    assert policy.take(uuid.uuid4(), uuid.uuid4(), 1).allowed


def test_without_redis_each_process_gives_its_part(settings: Any, clock: Clock) -> None:
    settings.KEY_RATE, settings.KEY_BURST, settings.WORKERS = 100, 200, 4

    allowed = sum(policy.take(TENANT, KEY, 1).allowed for _ in range(200))
    assert allowed == 50
    clock.now += 1
    assert sum(policy.take(TENANT, KEY, 1).allowed for _ in range(200)) == 25


def test_threads_never_take_more_than_there_is(settings: Any, clock: Clock) -> None:
    settings.KEY_RATE, settings.KEY_BURST = 10, 500

    with ThreadPoolExecutor(8) as threads:
        allowed = list(threads.map(lambda _: policy.take(TENANT, KEY, 1).allowed, range(2000)))

    assert sum(allowed) == 500


# --- Over HTTP ---------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(api: Api, settings: Any, clock: Clock) -> Api:
    """A key with 20 tokens that gains one per second. Its tenant has twice as many."""
    settings.KEY_RATE, settings.KEY_BURST, settings.TENANT_RATE, settings.TENANT_BURST = 1, 20, 2, 40
    return api


def test_every_answer_says_how_much_is_left(limited: Api) -> None:
    response = limited.get("/stats")

    assert response["RateLimit-Policy"] == '"key";q=20;w=20, "tenant";q=40;w=20'
    assert response["RateLimit"] == '"key";r=19;t=1, "tenant";r=39;t=1'
    assert response["X-RateLimit-Limit"] == "20"
    assert response["X-RateLimit-Remaining"] == "19"
    assert response["X-RateLimit-Reset"].isdigit()


def test_errors_say_it_too(limited: Api) -> None:
    assert limited.get("/memories/1")["X-RateLimit-Remaining"] == "19"
    assert limited.get("/memories/x")["X-RateLimit-Remaining"] == "18"
    assert limited.get("/memories?bogus=1")["X-RateLimit-Remaining"] == "17"


def test_reads_writes_and_searches_have_their_own_price(limited: Api) -> None:
    def left(response: Any) -> int:
        return int(response["X-RateLimit-Remaining"])

    assert left(limited.get("/stats")) == 19
    assert left(limited.post("/memories/bulk/get", {"coords": ["1"]})) == 18
    assert left(limited.post("/memories", {"coord": "1", "payload": {}})) == 13
    assert left(limited.get("/memories/search?query=x")) == 8
    assert left(limited.delete("/memories/1")) == 3


def test_prices_can_be_set(limited: Api, settings: Any) -> None:
    settings.COSTS = {**settings.COSTS, "read": 7}

    assert limited.get("/stats")["X-RateLimit-Remaining"] == "13"


def test_a_limited_caller_gets_the_time_to_retry(limited: Api, clock: Clock) -> None:
    for _ in range(4):
        limited.store("1")

    refused = limited.post("/memories", {"coord": "2", "payload": {}})

    problem = problem_of(refused, 429, "rate_limited")
    assert "the key has 0" in problem["detail"]
    assert refused["Retry-After"] == "5"
    assert refused["X-RateLimit-Remaining"] == "0"
    clock.now += 5
    assert limited.post("/memories", {"coord": "2", "payload": {}}).status_code == 201


def test_one_tenants_limit_is_not_anothers(limited: Api, stranger: Api) -> None:
    while limited.get("/stats").status_code == 200:
        pass

    assert stranger.get("/stats").status_code == 200


def test_health_is_never_limited_and_says_nothing_of_limits(limited: Api) -> None:
    while limited.get("/stats").status_code == 200:
        pass

    response = limited.get("/ping")

    assert response.status_code == 200
    assert "RateLimit" not in response


def test_a_rate_of_0_means_no_limit(api: Api, settings: Any) -> None:
    response = api.get("/stats")

    assert response.status_code == 200
    assert "RateLimit" not in response


def test_refused_keys_are_limited_per_address_and_a_good_key_is_not(api: Api, settings: Any) -> None:
    settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST = 1, 3
    wrong = Api("x" * 40, api.tenant)

    answers = [wrong.get("/stats") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    problem_of(answers[-1], 429, "rate_limited")
    assert answers[-1]["Retry-After"] == "1"
    assert api.get("/stats").status_code == 200


def test_a_good_key_with_anothers_header_counts_as_refused(api: Api, stranger: Api, settings: Any) -> None:
    settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST = 1, 2

    answers = [api.get("/stats", x_tenant="stranger").status_code for _ in range(3)]

    assert answers == [403, 403, 429]


def test_addresses_are_counted_apart_and_a_network_of_ipv6_as_one(settings: Any) -> None:
    settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST = 1, 1

    assert policy.refuse("192.0.2.1").allowed
    assert policy.refuse("192.0.2.2").allowed
    assert not policy.refuse("192.0.2.1").allowed
    assert policy.refuse("2001:db8::1").allowed
    assert not policy.refuse("2001:db8::2").allowed
    assert policy.refuse("2001:db8:0:1::1").allowed
    assert policy.refuse("not an address").allowed


def test_addresses_take_bounded_memory(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AUTH_FAILURE_RATE = 1
    monkeypatch.setattr("tenants.limits.buckets.MAX_BUCKETS", 10)
    policy.forget()

    for number in range(100):
        policy.refuse(f"192.0.2.{number}")

    assert len(policy._refused._full_at) == 10


# --- Concurrent requests -----------------------------------------------------------------------------------------


def test_a_tenant_runs_only_so_many_requests_at_once(
    api: Api, stranger: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TENANT_CONCURRENCY = 1
    inside: list[Any] = []

    def stats(caller: Any) -> dict[str, Any]:
        if not inside:
            inside.append(None)
            inside.append(api.get("/stats"))
            inside.append(stranger.get("/stats"))
        return {}

    monkeypatch.setattr(counts, "stats", stats)

    assert api.get("/stats").status_code == 200
    problem_of(inside[1], 429, "rate_limited")
    assert inside[1]["Retry-After"] == "1"
    assert inside[2].status_code == 200


def test_a_concurrency_slot_is_always_released(api: Api, settings: Any) -> None:
    settings.TENANT_CONCURRENCY = 1

    for path in ("/stats", "/memories/x", "/memories/7", "/stats?bogus=1", "/stats"):
        assert api.get(path).status_code != 429

    assert not policy.running._count


def test_a_concurrency_slot_is_released_if_the_response_fails() -> None:
    admission = Admission(Policy("read", False, False, False), takes_body=True, running_tenant=TENANT)
    policy.running.enter(TENANT, 1)

    with pytest.raises(ZeroDivisionError):
        throttle.released(admission, lambda: 1 / 0)  # type: ignore[arg-type,return-value]

    assert policy.running.enter(TENANT, 1)
    policy.running.leave(TENANT)


def test_many_threads_leave_nothing_behind() -> None:
    running, most = policy.Running(), threading.Semaphore(3)

    def once(_: int) -> bool:
        if not running.enter(TENANT, 3):
            return False
        assert most.acquire(blocking=False)
        most.release()
        running.leave(TENANT)
        return True

    with ThreadPoolExecutor(8) as threads:
        assert any(threads.map(once, range(2000)))
    assert not running._count


def test_each_key_of_a_tenant_has_its_own_bucket(limited: Api) -> None:
    while limited.get("/stats").status_code == 200:
        pass

    assert Api(issue_key(limited.tenant), limited.tenant).get("/stats").status_code == 200


# --- The cost follows the size of the work ------------------------------------------------------------------------


def spent(api: Api, send: Any) -> int:
    """Return the cost of a request in tokens, according to the headers of its response."""
    policy.forget()
    response = send()
    assert response.status_code < 300, response.content
    return 10_000 - int(response["X-RateLimit-Remaining"])


FILTERS = {"OR": [{"x": {"icontains": str(number)}} for number in range(35)]}


@pytest.mark.parametrize(
    ("method", "path", "body", "tokens"),
    [
        ("GET", "/memories?limit=50", None, 1),
        ("GET", "/memories?limit=1000", None, 11),
        ("POST", "/memories/bulk/get", {"coords": [[1, number] for number in range(250)]}, 3),
        ("POST", "/memories/bulk", {"items": [{"coord": [number], "payload": {}} for number in range(101)]}, 7),
        ("POST", "/memories/bulk/delete", {"coords": [[number] for number in range(50)]}, 6),
        ("POST", "/memories/search", {"query": "a", "mode": "keyword"}, 5),
        ("POST", "/memories/search", {"query": "a", "mode": "keyword", "filters": FILTERS}, 8),
        ("POST", "/memories/search", {"query": "a", "mode": "keyword", "offset": 1_900, "top_k": 100}, 25),
        ("POST", "/memories", {"coord": "1", "payload": {"x": "a" * 70_000}}, 6),
        ("POST", "/api/v1/context/assemble", {"query": "a", "context_budget": 1_000_000}, 105),
    ],
)
def test_a_request_costs_tokens_by_the_size_of_its_work(
    api: Api, settings: Any, clock: Clock, method: str, path: str, body: Any, tokens: int
) -> None:
    settings.KEY_RATE, settings.KEY_BURST = 0.001, 10_000

    assert spent(api, lambda: api.request(method, path, body)) == tokens


@pytest.mark.django_db(transaction=True)
def test_a_request_that_runs_again_after_a_deadlock_is_charged_once(
    api: Api, settings: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEY_RATE, settings.KEY_BURST = 0.001, 10_000
    tries = fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))
    body = {"items": [{"coord": [number], "payload": {}} for number in range(101)]}

    assert spent(api, lambda: api.post("/memories/bulk", body, idempotency_key="one")) == 7
    assert tries == [3]


def test_a_large_request_is_rejected_when_the_bucket_does_not_hold_its_tokens(api: Api, settings: Any) -> None:
    settings.KEY_RATE, settings.KEY_BURST = 0.001, 10

    response = api.post("/memories/bulk", {"items": [{"coord": [number], "payload": {}} for number in range(500)]})

    problem_of(response, 429, "rate_limited")

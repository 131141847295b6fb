"""Authentication and authorization: keys, scopes, namespaces and tenants."""

from __future__ import annotations

import re
import string
from datetime import timedelta
from typing import Any

import pytest
from cachetools import TTLCache
from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from somamemory.errors import Conflict, InvalidInput
from tenants import key_form, keys
from tenants.caller import SCOPES, Caller
from tenants.models import ApiKey, Tenant
from tests.conftest import Api, issue_key, problem_of
from tests.support.every_route import CASES, NAMES, NEEDS, Route

ROUTES = sorted(route for route, needs in NEEDS.items() if needs != "nothing")


def call(key: str, route: Route, **headers: str) -> Any:
    case = CASES[route][0].filled(NAMES)
    return Api(key, Tenant()).request(route[0], case.url, case.body, None, **headers)


def bare(**headers: str) -> Any:
    return Client().get("/stats", headers={name.replace("_", "-"): value for name, value in headers.items()})


def unauthenticated(response: HttpResponse) -> None:
    problem_of(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


# --- The key -----------------------------------------------------------------------------------------------------


def test_a_key_may_come_in_either_header(api: Api) -> None:
    for header in (
        {"Authorization": f"Bearer {api.key}"},
        {"Authorization": f"bearer  {api.key} "},
        {"X-API-Key": api.key},
    ):
        assert bare(**header).status_code == 200


def test_the_bearer_token_wins_if_both_headers_are_sent(api: Api, stranger: Api) -> None:
    api.store("1")

    answer = Client().get("/stats", headers={"Authorization": f"Bearer {api.key}", "X-API-Key": stranger.key})

    assert answer.json()["total_memories"] == 1
    unauthenticated(bare(Authorization="Bearer wrong", X_API_Key=api.key))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer " + "x" * 32},
        {"Authorization": "Bearer " + "x" * 100_000},
        {"Authorization": "Bearer \u00e9" + "x" * 40},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-API-Key": ""},
        {"X-API-Key": "x" * 40},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_no_key_or_a_wrong_one_is_401(api: Api, headers: dict[str, str]) -> None:
    unauthenticated(bare(**headers))


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_route_wants_a_key(db: None, route: Route) -> None:
    unauthenticated(call("soma_" + "x" * 50, route))


def test_a_key_has_a_prefix_256_bits_and_a_checksum(api: Api) -> None:
    soma, prefix, rest = api.key.split("_")

    assert (soma, len(prefix), len(rest)) == ("soma", 8, 49)
    assert set(rest) <= set(string.ascii_letters + string.digits)
    assert 62 ** (len(rest) - 6) > 2**256


def test_a_key_for_clients_of_sekha_works_like_any_other(api: Api) -> None:
    key = issue_key(api.tenant, style="sekha")

    assert re.fullmatch(r"sk-sekha-[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", key)
    assert key[9:17] == ApiKey.objects.latest("created_at").prefix
    assert call(key, ("GET", "/stats")).status_code == 200
    unauthenticated(call(key.replace("sk-sekha-", "soma_"), ("GET", "/stats")))


def test_a_mistyped_key_is_refused_without_a_query(api: Api) -> None:
    letter = "a" if api.key[20] != "a" else "b"

    with CaptureQueriesContext(connection) as captured:
        unauthenticated(bare(Authorization=f"Bearer {api.key[:20]}{letter}{api.key[21:]}"))

    assert len(captured) == 0


def test_a_guess_with_a_right_checksum_is_refused(api: Api) -> None:
    body = api.key[:-7] + ("a" if api.key[-7] != "a" else "b")

    unauthenticated(bare(Authorization="Bearer " + body + key_form.checksum(body)))


def test_the_secret_is_nowhere_in_the_database(api: Api) -> None:
    row = ApiKey.objects.get(tenant=api.tenant)

    assert api.key not in str(vars(row))
    assert len(bytes(row.digest)) == 32


def test_a_key_is_looked_up_once(api: Api) -> None:
    api.get("/memories/1")

    with CaptureQueriesContext(connection) as captured:
        api.get("/memories/1")

    assert not [query for query in captured if "sfm_api_keys" in query["sql"] or "sfm_tenants" in query["sql"]]


# --- The end of a key --------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Control the time of the key cache."""
    clock = Clock()
    monkeypatch.setattr(keys, "_keys", TTLCache(maxsize=10, ttl=settings.KEY_CACHE_S, timer=clock))
    monkeypatch.setattr(keys, "_tenants", TTLCache(maxsize=10, ttl=settings.KEY_CACHE_S, timer=clock))
    return clock


def test_a_key_revoked_elsewhere_stops_within_the_cache_time(api: Api, clock: Clock) -> None:
    assert api.get("/stats").status_code == 200
    ApiKey.objects.filter(tenant=api.tenant).update(revoked_at=timezone.now())  # by another process
    clock.now = settings.KEY_CACHE_S + 0.001

    unauthenticated(api.get("/stats"))
    assert settings.KEY_CACHE_S <= 5


def test_a_key_in_use_does_not_keep_itself_in_the_cache(api: Api, clock: Clock) -> None:
    api.get("/stats")
    ApiKey.objects.filter(tenant=api.tenant).update(revoked_at=timezone.now())
    for _ in range(3):
        clock.now += settings.KEY_CACHE_S / 2.5
        last = api.get("/stats")

    unauthenticated(last)


def test_a_key_revoked_here_stops_working_immediately(api: Api) -> None:
    assert api.get("/stats").status_code == 200

    keys.revoke(Caller.command(api.tenant), ApiKey.objects.get(tenant=api.tenant).prefix, api.tenant)

    unauthenticated(api.get("/stats"))


def test_an_expired_key_is_refused_even_from_the_cache(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    key = issue_key(api.tenant, expires_at=timezone.now() + timedelta(hours=1))
    assert call(key, ("GET", "/stats")).status_code == 200
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)

    unauthenticated(call(key, ("GET", "/stats")))


def test_the_keys_of_a_tenant_that_is_switched_off_stop(api: Api, operator: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(active=False)

    unauthenticated(api.get("/stats"))
    problem_of(operator.get("/stats", x_tenant="acme"), 404)


# --- Scopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_route_refuses_a_key_that_lacks_its_scope(api: Api, route: Route) -> None:
    needs = NEEDS[route]
    others = tuple(scope for scope in SCOPES if scope != needs)
    key = issue_key(api.tenant, scopes=others)

    problem = problem_of(call(key, route), 403, "forbidden")

    assert needs in problem["detail"]


SHOW_WHAT_THEY_CHANGE = {
    ("PATCH", "/memories/{coord}"),
    ("POST", "/memories/{coord}/restore"),
    *((method, path) for method, path in NEEDS if "/by-" in path and (method == "PATCH" or path.endswith("restore"))),
    ("POST", "/memories/restore"),
    ("POST", "/conversations/{id}/messages"),
    ("POST", "/conversations/by-external-id/{external_id}/messages"),
    *(("POST", path) for path in ("/memories/delete", "/namespaces/delete", "/namespaces/rename")),
    *((method, path) for method, path in NEEDS if path.startswith("/conversations/") and method in ("PUT", "PATCH")),
    *(("POST", path) for path in ("/summarize", "/conversations/{id}/summary", "/messages/{id}/importance")),
    ("POST", "/conversations/{id}/facts"),
    ("POST", "/conversations/{id}/restore"),
    *(("POST", path) for path in ("/prune/execute", "/prune/undo", "/import")),
    *(("POST", f"/proposals/{{id}}/{verb}") for verb in ("accept", "reject", "undo")),
}


@pytest.mark.parametrize("route", sorted(SHOW_WHAT_THEY_CHANGE), ids=str)
def test_a_write_that_shows_what_was_there_needs_to_read_too(api: Api, route: Route) -> None:
    problem_of(call(issue_key(api.tenant, scopes=("write",)), route), 403)


@pytest.mark.parametrize("route", [route for route in ROUTES if NEEDS[route] != "operator"], ids=str)
def test_every_route_takes_a_key_with_its_one_scope(api: Api, route: Route) -> None:
    key = issue_key(api.tenant, scopes=(NEEDS[route], "read") if route in SHOW_WHAT_THEY_CHANGE else (NEEDS[route],))

    assert call(key, route).status_code in (200, 201, 207, 404)


def test_a_refused_write_writes_nothing(api: Api) -> None:
    api.store("1,2,3")
    before = api.get("/memories?include_deleted=true").json()
    key = issue_key(api.tenant, scopes=("read",))

    for route, needs in NEEDS.items():
        if needs in ("write", "delete"):
            problem_of(call(key, route), 403)

    assert api.get("/memories?include_deleted=true").json() == before


@pytest.mark.parametrize("route", [route for route in ROUTES if NEEDS[route] == "operator"], ids=str)
def test_an_operator_route_takes_an_operators_key(api: Api, operator: Api, route: Route) -> None:
    assert call(operator.key, route).status_code in (200, 201, 202, 404, 409)


# --- Namespaces of a key -----------------------------------------------------------------------------------------


@pytest.fixture
def narrow(api: Api) -> Api:
    """An acme key restricted to the namespace "mine"."""
    return Api(issue_key(api.tenant, namespaces=["mine"]), api.tenant)


def test_a_key_may_use_its_own_namespace(narrow: Api) -> None:
    narrow.store("1", "words", namespace="mine")

    assert narrow.get("/memories/1?namespace=mine").status_code == 200
    assert narrow.get("/memories?namespace=mine").status_code == 200
    assert [hit["coord"] for hit in narrow.search("words", namespace="mine")] == ["1.0"]
    assert narrow.patch("/memories/1?namespace=mine", {"importance": 1}).status_code == 200
    assert narrow.delete("/memories/1?namespace=mine").json()["deleted"] is True


# Statistics and the list of namespaces cover only the key's namespaces. An id in another namespace is not found.
WITHOUT_A_NAMESPACE = [route for route in ROUTES if route[1] in ("/stats", "/namespaces") or "/by-id/" in route[1]]


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if NEEDS[route] != "operator" and route not in WITHOUT_A_NAMESPACE], ids=str
)
def test_a_key_may_not_use_another_namespace(api: Api, narrow: Api, route: Route) -> None:
    api.store("1,2,3")

    problem = problem_of(call(narrow.key, route), 403, "forbidden")

    assert "mine" in problem["detail"]


@pytest.mark.parametrize("namespaces", [["mine", "default"], ["default"], "default"])
def test_a_search_over_one_foreign_namespace_is_refused_whole(narrow: Api, namespaces: Any) -> None:
    problem_of(narrow.post("/memories/search", {"query": "x", "namespace": namespaces}), 403)


def test_a_batch_with_one_foreign_namespace_is_refused_whole(api: Api, narrow: Api) -> None:
    items: list[Any] = [{"coord": "1", "payload": {}, "namespace": name} for name in ("mine", "default")]

    problem_of(narrow.post("/memories/bulk", {"items": items}), 403)

    assert api.get("/memories?namespace=mine").json()["items"] == []


def test_stats_count_only_what_a_key_may_use(api: Api, narrow: Api) -> None:
    api.store("1")
    api.store("2", namespace="mine")

    assert narrow.get("/stats").json()["namespaces"] == {"mine": 1}
    assert narrow.get("/stats").json()["total_memories"] == 1
    assert narrow.get("/stats").json()["index"]["pending"] == 1


# --- Tenants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x_tenant", "x_soma_tenant"])
def test_a_tenants_key_may_name_its_own_tenant(api: Api, header: str) -> None:
    assert api.get("/stats", **{header: "acme"}).status_code == 200


@pytest.mark.parametrize("header", ["x_tenant", "x_soma_tenant"])
@pytest.mark.parametrize("slug", ["stranger", "default", "nobody", "ACME", "\u00e9", "x" * 5000])
def test_a_tenants_key_may_not_name_another_tenant(api: Api, stranger: Api, header: str, slug: str) -> None:
    problem_of(api.get("/stats", **{header: slug}), 403, "forbidden")


def test_two_headers_must_name_one_tenant(api: Api, stranger: Api) -> None:
    assert api.get("/stats", x_tenant="acme", x_soma_tenant="acme").status_code == 200
    problem_of(api.get("/stats", x_tenant="acme", x_soma_tenant="stranger"), 400, "malformed_request")


def test_an_operator_acts_for_the_tenant_that_the_header_names(api: Api, operator: Api) -> None:
    for header in ("x_tenant", "x_soma_tenant"):
        operator.post("/memories", {"coord": "1", "payload": {"by": header}}, **{header: "acme"})
        assert api.get("/memories/1").json()["memory"]["payload"] == {"by": header}
    problem_of(operator.get("/memories/1"), 404)


def test_an_operator_without_a_header_acts_for_the_default_tenant(operator: Api) -> None:
    operator.store("1")

    assert operator.get("/memories/1", x_tenant="default").status_code == 200


@pytest.mark.parametrize("slug", ["nobody", "ACME", "a b", "\u00e9", "%00", "x" * 5000, "'; --"])
def test_an_unknown_tenant_is_404(operator: Api, slug: str) -> None:
    problem_of(operator.get("/stats", x_tenant=slug), 404, "not_found")


# --- Imported secrets --------------------------------------------------------------------------------------------


def test_a_secret_of_another_installation_works(api: Api) -> None:
    secret = "sekha-" + "0123456789abcdef" * 2

    key = issue_key(api.tenant, secret=secret)

    assert key == secret
    assert call(secret, ("GET", "/stats")).status_code == 200
    unauthenticated(call(secret[:-1] + "0", ("GET", "/stats")))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x" * 31,
        "x" * 513,
        "x" * 20 + " " + "x" * 20,
        "x" * 40 + "\n",
        "\u00e9" * 40,
        "soma_" + "x" * 8 + "_" + "y" * 49,
    ],
)
def test_a_secret_that_could_not_work_is_refused(tenant: Tenant, secret: str) -> None:
    with pytest.raises(InvalidInput, match="secret"):
        issue_key(tenant, secret=secret)


def test_one_secret_is_one_key(tenant: Tenant) -> None:
    issue_key(tenant, secret="x" * 40)

    with pytest.raises(Conflict):
        issue_key(None, secret="x" * 40)


def test_a_key_of_our_own_may_be_imported_again_elsewhere(api: Api) -> None:
    ApiKey.objects.all().delete()
    keys.forget_cached()

    issue_key(api.tenant, secret=api.key)

    assert api.get("/stats").status_code == 200

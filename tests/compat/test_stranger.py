"""Keys for other tenants, for other users and with fewer scopes, against every route of the compatibility layers."""

from __future__ import annotations

from typing import Any

import pytest

from api.compat import layer
from api.compat.mem0.unsupported import UNSUPPORTED
from operations.isolation.compat_cases import CASES, NEEDS
from operations.isolation.needs import Route
from tenants.caller import SCOPES
from tests.compat import somafractalmemory_urls
from tests.conftest import Api, drain, issue_key
from tests.contract.test_stranger import TEXT, answer, erase, neighbour, state, store_data

WITH_KEY = sorted(route for route, needs in NEEDS.items() if needs != "nothing")
REFUSED = {(method, "/mem0" + path) for method, path in UNSUPPORTED} | {
    (method, "/mem0/{a}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
}
SAYING = {"messages": TEXT, "user_id": "vault", "infer": False, "app_id": "shop", "run_id": "r", "agent_id": "x"}
Answer = tuple[int, dict[str, str], str]


@pytest.fixture
def all_layers(settings: Any) -> None:
    settings.ROOT_URLCONF = somafractalmemory_urls.__name__
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("RootAliases")]
    settings.COMPAT_SOMAFRACTALMEMORY = True


@pytest.fixture
def names(api: Api, request: pytest.FixtureRequest) -> dict[str, str]:
    """Store acme's data, and return the names that requests can use. Then serve all layers."""
    ours = store_data(api)
    request.getfixturevalue("all_layers")
    added = api.post("/mem0/v3/memories/add/", SAYING).json()
    drain()
    return {**ours, "text": "aardvark vault", "mem0": added["results"][0]["id"], "mem0_event": added["event_id"]}


def answers_to(api: Api, route: Route, names: dict[str, str], **headers: str) -> list[Answer]:
    return [answer(api, route[0], case.filled(names), **headers) for case in CASES[route]]


def answers_to_all(api: Api, names: dict[str, str]) -> list[tuple[Route, list[Answer]]]:
    return [(route, answers_to(api, route, names)) for route in CASES]


def test_every_route_of_every_layer_has_a_case() -> None:
    assert somafractalmemory_urls.urlpatterns  # its routes are declared

    assert CASES.keys() | REFUSED == layer.policies.keys()
    assert NEEDS.keys() == CASES.keys()


def test_a_strangers_answers_do_not_depend_on_acme(api: Api, names: dict[str, str]) -> None:
    with_acme = str(answers_to_all(neighbour("stranger"), names))
    erase(api)

    assert with_acme == str(answers_to_all(neighbour("another"), names)).replace('"another"', '"stranger"')


def test_a_stranger_changes_nothing_and_sees_nothing(api: Api, names: dict[str, str]) -> None:
    stranger, before = neighbour("stranger"), state(api)

    for route, answers in answers_to_all(stranger, names):
        for status, _, body in answers:
            assert status in (200, 201, 302, 403, 404), (route, status, body)
            assert "secret" not in body, (route, body)

    assert state(api) == before


@pytest.mark.parametrize("header", ["x_tenant", "x_soma_tenant"])
def test_the_header_of_another_tenant_does_not_reveal_whether_it_exists(
    api: Api, names: dict[str, str], stranger: Api, header: str
) -> None:
    for route in WITH_KEY:
        acme, missing = (answers_to(stranger, route, names, **{header: slug}) for slug in ("acme", "missing"))
        assert acme == missing, route
        assert {status for status, _, _ in acme} == {403}, route


def test_an_unknown_key_gets_no_information(names: dict[str, str], api: Api) -> None:
    unknown = Api("soma_" + "x" * 60, api.tenant)

    for route in WITH_KEY:
        for status, _, body in answers_to(unknown, route, names):
            assert (status, "acme" in body) == (401, False), route


def test_a_key_limited_to_a_user_neither_sees_nor_changes_data_of_others(api: Api, names: dict[str, str]) -> None:
    bob, before = Api(issue_key(api.tenant, ("read", "write", "delete"), user_id="bob"), api.tenant), state(api)

    for route, answers in answers_to_all(bob, names):
        for status, _, body in answers:
            assert status in (200, 201, 302, 403, 404, 409), (route, status, body)
            assert "secret" not in body, (route, body)

    assert all(row in rows_after for rows, rows_after in zip(before, state(api), strict=True) for row in rows)


def test_every_route_needs_its_scope(api: Api, names: dict[str, str]) -> None:
    before = state(api)

    for route in WITH_KEY:
        if NEEDS[route] != "key":
            without = Api(issue_key(api.tenant, tuple(set(SCOPES) - {NEEDS[route]})), api.tenant)
            assert {status for status, _, _ in answers_to(without, route, names)} == {403}, route

    assert state(api) == before

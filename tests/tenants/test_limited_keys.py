"""A key that is limited to a user can read and change only that user's data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.routing import policies
from conversations.models import Conversation
from graph.models import Link
from memories import restoring, selectors, services
from memories.coordinates import of
from memories.models import Memory, MemoryVersion, VectorEmbedding
from memories.new_memory import NewMemory
from memories.selectors import Narrowing
from somamemory.errors import Conflict, Forbidden, NotFound
from tenants.caller import SCOPES, Caller
from tenants.models import AuditEvent
from tenants.registry import tenant_models
from tenants.scoping import TenantOwned
from tests.conftest import Api, drain, issue_key, problem_of
from tests.contract.test_stranger import answer, store_data
from tests.support.every_route import CASES

LIMITED_SCOPES = ("read", "write", "delete")
# Tables without a user, with the reason why a limited key cannot access other users' data through them.
OF_NO_USER = {
    "AuditBlock": "written by the sealer, read by operators",
    "AuditCheckpoint": "written by the sealer, read by operators",
    "Chore": "looked up by the id of a conversation that was found before",
    "ColdFile": "looked up by the id of a conversation that was found before",
    "DailyUsage": "counts requests of the whole tenant, read by operators",
    "IdempotencyKey": "belongs to one API key",
    "ImportedConversation": "the import route rejects limited keys",
    "LlmCall": "budgets of the whole tenant, whose sums a limited key cannot read",
    "NumberStripe": "counters of conversation numbers",
    "Upkeep": "the lifecycle routes reject limited keys",
    "UsageStripe": "counters of the whole tenant, read by operators",
}


@pytest.fixture
def bob(api: Api) -> Api:
    return limited(api, "bob")


def limited(api: Api, user_id: str) -> Api:
    return Api(issue_key(api.tenant, LIMITED_SCOPES, user_id=user_id), api.tenant)


def as_user(caller: Caller, user_id: str) -> Caller:
    return Caller(caller.tenant.narrowed_to(user_id), "key:limited", frozenset(SCOPES))


def rows(api: Api) -> list[Any]:
    """Return every row of the tenant that a request could change, apart from bob's."""
    memories = Memory.objects.for_tenant(api.tenant).exclude(user_id="bob")
    others = (
        Link.objects.for_tenant(api.tenant).exclude(user_id="bob"),
        Conversation.objects.for_tenant(api.tenant).exclude(user_id="bob"),
        VectorEmbedding.objects.for_tenant(api.tenant).filter(memory_id__in=memories.values("id")),
    )
    return [list(query.order_by("pk").values()) for query in (memories, *others)]


def test_every_table_declares_the_user_of_its_rows_or_why_there_is_none() -> None:
    owned = {model.__name__ for model in tenant_models() if issubclass(model, TenantOwned) and not model.user_lookup}

    assert owned == set(OF_NO_USER)


def test_no_route_shows_or_changes_the_data_of_another_user_of_the_tenant(api: Api) -> None:
    names, bob = store_data(api), limited(api, "bob")
    before = rows(api)

    for (method, _), cases in CASES.items():
        for case in cases:
            status, _, body = answer(bob, method, case.filled(names))
            in_use = status == 422 and "already in use" in body  # in an atomic batch
            assert in_use or status in (200, 201, 207, 403, 404, 409), (method, case.path, status, body)
            if method == "GET" or "search" in case.path or "query" in case.path or "context" in case.path:
                assert "secret" not in body, (method, case.path, body)

    assert rows(api) == before


def test_a_route_is_closed_to_limited_keys_unless_it_says_otherwise(api: Api) -> None:
    names, bob = store_data(api), limited(api, "bob")

    for route, cases in CASES.items():
        policy = policies[route[0], route[1]]
        status, _, body = answer(bob, route[0], cases[0].filled(names))
        if not policy.limited and route[1] not in ("/ping", "/healthz", "/readyz", "/health", "/metrics"):
            assert status == 403, (route, body)


def test_a_store_with_a_limited_key_gets_its_user(api: Api, bob: Api) -> None:
    bob.store("1,2", "a seat at the window")

    assert api.get("/memories/1,2").json()["memory"]["user_id"] == "bob"


@pytest.mark.parametrize("path", ["/memories", "/memories/bulk"])
def test_a_store_for_another_user_is_refused(api: Api, bob: Api, path: str) -> None:
    item = {"coord": "1,2", "payload": {"text": "hers"}, "user_id": "ada"}
    response = bob.post(path, item if path == "/memories" else {"items": [item], "atomic": False})

    if path == "/memories":
        assert "limited to user 'bob'" in problem_of(response, 403)["detail"]
    else:
        assert response.json()["results"][0]["status"] == 403
    problem_of(api.get("/memories/1,2"), 404)


def test_a_memory_cannot_be_given_to_another_user(api: Api, bob: Api) -> None:
    bob.store("1,2", "mine")

    problem_of(bob.patch("/memories/1,2", {"user_id": "ada"}), 403)
    problem_of(bob.patch("/memories/1,2", {"user_id": None}), 403)
    assert bob.patch("/memories/1,2", {"user_id": "bob", "agent_id": "planner"}).json()["memory"]["version"] == 2


def test_a_purge_removes_the_versions_that_belonged_to_another_user(api: Api, bob: Api) -> None:
    api.store("1,2", "a seat at the window", user_id="ada")
    api.patch("/memories/1,2", {"user_id": "bob"})

    assert bob.delete("/memories/1,2?purge=true").json()["deleted"] is True

    assert not MemoryVersion.objects.for_tenant(api.tenant).exists()


@pytest.mark.parametrize("owner", ["ada", None])
def test_the_memory_of_another_user_does_not_exist(api: Api, bob: Api, owner: str | None) -> None:
    api.store("1,2", "hers", user_id=owner)

    problem_of(bob.get("/memories/1,2"), 404)
    problem_of(bob.patch("/memories/1,2", {"importance": 1}), 404)
    assert bob.delete("/memories/1,2").json()["deleted"] is False
    assert bob.get("/memories").json()["items"] == []


def test_an_address_that_another_user_has_taken_cannot_be_stored_at(api: Api, bob: Api) -> None:
    api.store("1,2", "hers", user_id="ada")

    assert "already in use" in problem_of(bob.post("/memories", {"coord": "1,2", "payload": {}}), 409)["detail"]
    assert api.get("/memories/1,2").json()["memory"]["version"] == 1


def test_an_address_of_another_user_fails_only_its_own_item_of_a_bulk(api: Api, bob: Api) -> None:
    api.store("1,2", "hers", user_id="ada")
    bob.store("1,3", "mine")
    items = [{"coord": coord, "payload": {"text": "his"}} for coord in ("1,2", "1,3", "1,4")]

    response = bob.post("/memories/bulk", {"items": [{**items[0], "key": "seat"}, *items]})

    assert (response.status_code, response.json()["failed"]) == (207, 2)
    assert [result["status"] for result in response.json()["results"]] == [409, 409, 200, 201]
    assert "already in use" in response.json()["results"][1]["error"]["detail"]
    assert [memory["coord"] for memory in bob.get("/memories").json()["items"]] == ["1.0,3.0", "1.0,4.0"]


def test_an_address_of_another_user_fails_an_atomic_bulk(api: Api, bob: Api) -> None:
    api.store("1,2", "hers", user_id="ada")
    items = [{"coord": coord, "payload": {"text": "his"}} for coord in ("1,1", "1,2")]

    problem_of(bob.post("/memories/bulk", {"items": items, "atomic": True}), 422, field="items.1.coord")

    assert bob.get("/memories").json()["items"] == []


def test_a_search_returns_the_own_memories_only_and_reveals_no_words_of_others(api: Api, bob: Api) -> None:
    bob.store("1,1", "bread and butter")
    drain()
    before = bob.search("butter bread", explain=True)
    for number in range(20):
        api.store(f"2,{number}", "butter", user_id="ada")
    drain()

    [alone], [after] = before, bob.search("butter bread", explain=True)
    assert (alone["id"], alone["scores"]["keyword"]) == (after["id"], after["scores"]["keyword"])


def test_the_statistics_count_the_own_data_only(api: Api) -> None:
    store_data(api)
    bob = limited(api, "bob")
    bob.store("100,1", "mine")

    stats = bob.get("/stats").json()
    assert (stats["total_memories"], stats["links"], stats["conversations"]) == (1, 0, 0)
    assert stats["language_model"] is None
    assert stats["index"]["pending"] == 1


def test_a_conversation_of_a_limited_key_belongs_to_its_user_with_all_messages(api: Api, bob: Api) -> None:
    made = bob.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "Bread?"}]}).json()
    bob.post(f"/api/v1/conversations/{made['id']}/messages", {"messages": [{"role": "user", "content": "Rolls?"}]})

    assert made["user_id"] == "bob"
    assert {row.user_id for row in Memory.objects.for_tenant(api.tenant)} == {"bob"}
    problem_of(limited(api, "ada").get(f"/api/v1/conversations/{made['id']}"), 404)
    problem_of(limited(api, "ada").get(f"/api/v1/conversations/{made['id']}/messages"), 404)


def test_cached_conversations_are_not_shared_between_users(api: Api, bob: Api) -> None:
    api.post("/api/v1/conversations", {"label": "hers", "user_id": "ada"})

    assert api.get("/api/v1/conversations").json()["total"] == 1
    assert bob.get("/api/v1/conversations").json()["total"] == 0
    assert limited(api, "ada").get("/api/v1/conversations").json()["total"] == 1


def test_a_deleted_conversation_of_another_user_cannot_be_purged(api: Api, bob: Api) -> None:
    made = api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "x"}], "user_id": "ada"}).json()
    api.delete(f"/api/v1/conversations/{made['id']}")

    problem_of(bob.delete(f"/api/v1/conversations/{made['id']}?purge=true"), 404)
    assert limited(api, "ada").delete(f"/api/v1/conversations/{made['id']}?purge=true").status_code == 200
    assert not Memory.objects.for_tenant(api.tenant).exists()


def test_links_of_a_limited_key_are_seen_by_its_user_only(api: Api, bob: Api) -> None:
    bob.post("/api/v1/graph/link", {"from_coord": "1", "to_coord": "2"})
    api.post("/api/v1/graph/link", {"from_coord": "1", "to_coord": "3"})

    [mine] = bob.get("/api/v1/graph/neighbors?coord=1").json()["neighbors"]
    assert mine["coord"] == "2.0"
    assert limited(api, "ada").get("/api/v1/graph/neighbors?coord=1").json()["neighbors"] == []


@pytest.mark.parametrize("owner", ["ada", None])
def test_the_link_of_another_user_cannot_be_replaced(api: Api, bob: Api, owner: str | None) -> None:
    ends = {"from_coord": "1", "to_coord": "2"}
    (api if owner is None else limited(api, owner)).post("/api/v1/graph/link", {**ends, "strength": 0.5})

    detail = problem_of(bob.post("/api/v1/graph/link", ends), 409)["detail"]

    assert detail == "link 1.0 -related-> 2.0 already exists in this namespace; use another link_type"
    [link] = Link.objects.for_tenant(api.tenant)
    assert (link.user_id, link.strength) == (owner, 0.5)


def test_the_audit_log_distinguishes_a_limited_key_from_others(api: Api) -> None:
    key = issue_key(api.tenant, LIMITED_SCOPES, user_id="bob")
    plain = issue_key(api.tenant, LIMITED_SCOPES)

    assert key != plain
    hashes = AuditEvent.objects.filter(action="key.issue").values_list("after_hash", flat=True)
    assert len(set(map(bytes, filter(None, hashes)))) == len(hashes)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\u0000b"}, "user_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": "bob", "scopes": ["read", "admin"]}, "scopes"),
    ],
)
def test_an_unusable_limit_is_refused(operator: Api, api: Api, body: dict[str, Any], field: str) -> None:
    problem = problem_of(operator.post("/api/v1/tenants/acme/keys", body), 422)

    assert problem["errors"][0]["field"] == field


def test_an_operator_key_cannot_be_limited(operator: Api) -> None:
    with pytest.raises(Exception, match="operator key"):
        issue_key(None, ("read",), user_id="bob")


def test_a_rotated_key_keeps_its_limit(operator: Api, api: Api) -> None:
    made = operator.post("/api/v1/tenants/acme/keys", {"user_id": "bob"}).json()
    rotated = operator.post(f"/api/v1/tenants/acme/keys/{made['prefix']}/rotate", {}).json()

    assert (made["user_id"], rotated["user_id"]) == ("bob", "bob")


USERS = st.sampled_from(["ada", "bob", None])
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["store", "patch", "delete", "restore"]), USERS, st.integers(0, 2)), max_size=12
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_in_every_sequence_a_user_reaches_exactly_its_own_memories(caller: Caller, operations: list[Any]) -> None:
    Memory.objects.for_tenant(caller.tenant).delete()
    owner: dict[int, str | None] = {}
    for name, user, place in operations:
        actor = caller if user is None else as_user(caller, user)
        reachable = place in owner and user in (None, owner[place])
        try:
            if name == "store":
                services.store(actor, NewMemory(of([place]), {"text": "x"}))
                assert place not in owner or reachable
                owner[place] = user
            elif name == "patch":
                services.patch(actor, "default", of([place]), {"importance": 1.0})
                assert reachable
            elif name == "restore":
                restoring.restore(actor, "default", of([place]))
                assert reachable
            else:
                deleted = services.delete(actor, "default", of([place]))
                assert reachable or not deleted
        except (NotFound, Conflict, Forbidden):
            assert name != "store" or not reachable
    for user in ("ada", "bob"):
        page = selectors.list_memories(as_user(caller, user), "default", Narrowing(), include_deleted=True)
        assert {int(row.coordinate.numbers[0]) for row in page.items} == {
            at for at, who in owner.items() if who == user
        }

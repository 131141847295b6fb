"""The MCP endpoint: callers, limits and messages. A tool can do what its route can do, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.throttle import BODY_BYTES_PER_TOKEN
from memories.models import Memory
from tenants import usage
from tenants.models import AuditEvent
from tests.conftest import Api, drain, issue_key, problem_of
from tests.support.mcp import call, error_of, send, send_stateless, tools

LIMITED = ("read", "write", "delete")


def stored(api: Api) -> int:
    return Memory.objects.for_tenant(api.tenant).count()


def entities(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "entityType": "person", "observations": []} for name in names]


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call", "ping"])
def test_every_message_needs_a_key(api: Api, method: str) -> None:
    response = send(Api("none", api.tenant), method, {"name": "memory_stats"})

    problem_of(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_stranger_cannot_find_read_or_change_anything(api: Api, stranger: Api) -> None:
    id = call(api, "memory_store", content="The aardvark sleeps in the vault", key="vault")["id"]
    drain()

    assert call(stranger, "memory_search", query="aardvark vault") == {"memories": []}
    assert call(stranger, "memory_stats")["total_memories"] == 0
    for name in ({"id": id}, {"key": "vault"}):
        assert "there is no memory" in error_of(stranger, "memory_get", **name)
        assert "there is no memory" in error_of(stranger, "memory_update", content="mine", **name)
        assert call(stranger, "memory_delete", **name) == {"deleted": False}
    assert "there is no memory" in error_of(stranger, "memory_link", from_id=id, to_id=id)
    assert call(api, "memory_get", id=id)["content"] == "The aardvark sleeps in the vault"


def test_a_key_limited_to_a_user_sees_and_stores_the_memories_of_this_user_only(api: Api) -> None:
    hers = call(api, "memory_store", content="Ada likes butter")["id"]
    Memory.objects.for_tenant(api.tenant).update(user_id="ada")
    bob = Api(issue_key(api.tenant, LIMITED, user_id="bob"), api.tenant)
    his = call(bob, "memory_store", content="Bob likes butter")["id"]
    drain()

    assert [memory["id"] for memory in call(bob, "memory_search", query="butter")["memories"]] == [his]
    assert call(bob, "memory_get", id=his)["user_id"] == "bob"
    assert "there is no memory" in error_of(bob, "memory_get", id=hers)
    assert call(bob, "memory_stats")["total_memories"] == 1


def test_a_tool_needs_the_scope_of_its_route(api: Api) -> None:
    reader = Api(issue_key(api.tenant, ("read",)), api.tenant)

    assert "lacks the 'write' scope" in error_of(reader, "memory_store", content="x")
    assert stored(api) == 0


def test_the_url_selects_the_namespace_of_every_tool(api: Api) -> None:
    call(api, "memory_store", "/mcp/projects/apollo", content="The launch is in May")
    drain()

    found = call(api, "memory_search", "/mcp/projects/apollo", query="launch")["memories"]
    assert [memory["content"] for memory in found] == ["The launch is in May"]
    assert call(api, "memory_search", query="launch") == {"memories": []}


def test_a_key_restricted_to_a_namespace_cannot_use_the_url_of_another(api: Api) -> None:
    restricted = Api(issue_key(api.tenant, namespaces=["apollo"]), api.tenant)

    assert "restricted to the namespaces apollo" in error_of(restricted, "memory_store", content="x")
    assert call(restricted, "memory_store", "/mcp/apollo", content="x")["created"]


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("/mcp?profile=none", "profile"),
        ("/mcp?profile=sekha&profile=chatgpt", "profile"),
        ("/mcp?tenant=x", "tenant"),
        ("/mcp/a%20b", "namespace"),
    ],
)
def test_an_invalid_url_is_refused(api: Api, url: str, field: str) -> None:
    problem_of(send(api, "tools/list", url=url), 422, "invalid_input", field)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\u0000"}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    ],
)
def test_a_malformed_message_is_refused(api: Api, raw: bytes, code: int) -> None:
    response = api.request("POST", "/mcp", None, raw)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    problem_of(api.request("POST", "/mcp", None, b"a=1", content_type="text/plain"), 415)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_no_stream_and_no_session(api: Api, method: str) -> None:
    response = api.request(method, "/mcp")

    problem_of(response, 405)
    assert response["Allow"] == "POST"


def test_a_page_of_another_site_is_refused(api: Api) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    response = api.post("/mcp", body, origin="https://evil.example.com")

    assert response.status_code == 403
    assert response.json()["error"]["message"] == "Invalid Origin header"


def test_both_versions_of_the_protocol_list_the_same_tools(api: Api) -> None:
    response = send_stateless(api, "tools/list")

    assert response.status_code == 200
    assert response.json()["result"]["tools"] == tools(api)


def test_both_versions_of_the_protocol_call_the_same_tool(api: Api) -> None:
    call(api, "memory_store", content="x")

    response = send_stateless(api, "tools/call", {"name": "memory_stats", "arguments": {}})

    assert response.json()["result"]["structuredContent"] == call(api, "memory_stats")


def test_a_repeated_call_with_an_idempotency_key_stores_once(api: Api) -> None:
    params = {"name": "memory_store", "arguments": {"content": "x"}}

    first, again = (send(api, "tools/call", params, idempotency_key="a").json()["result"] for _ in range(2))

    assert first["structuredContent"] == again["structuredContent"]
    assert stored(api) == 1


def test_an_idempotency_key_of_another_call_is_refused(api: Api) -> None:
    send(api, "tools/call", {"name": "memory_store", "arguments": {"content": "x"}}, idempotency_key="a")

    response = send(api, "tools/call", {"name": "memory_store", "arguments": {"content": "y"}}, idempotency_key="a")

    assert "use a new key" in response.json()["result"]["content"][0]["text"]
    assert stored(api) == 1


def test_a_call_with_several_requests_takes_an_idempotency_key_of_any_length(api: Api) -> None:
    params = {"name": "create_entities", "arguments": {"entities": entities("Ada", "Grace")}}

    for _ in range(2):
        response = send(api, "tools/call", params, "/mcp?profile=knowledge-graph", idempotency_key="k" * 255)

        assert len(response.json()["result"]["structuredContent"]["entities"]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_call_that_failed_halfway_can_be_repeated_with_its_idempotency_key(api: Api) -> None:
    url = "/mcp?profile=knowledge-graph"
    call(api, "create_entities", url, entities=entities("Ada", "Grace"))
    additions = [{"entityName": name, "contents": ["programs"]} for name in ("Ada", "Grace", "Alan")]
    params = {"name": "add_observations", "arguments": {"observations": additions}}
    assert send(api, "tools/call", params, url, idempotency_key="a").json()["result"]["isError"]
    call(api, "create_entities", url, entities=entities("Alan"))

    assert not send(api, "tools/call", params, url, idempotency_key="a").json()["result"]["isError"]

    graph = call(api, "read_graph", url)
    assert [entity["observations"] for entity in graph["entities"]] == [["programs"]] * 3


def test_a_repeated_call_with_two_equal_requests_returns_the_same_result(api: Api) -> None:
    url = "/mcp?profile=knowledge-graph"
    call(api, "create_entities", url, entities=entities("Ada", "Grace"))
    relations = [{"from": "Ada", "to": "Grace", "relationType": "knows"}] * 2
    params = {"name": "create_relations", "arguments": {"relations": relations}}

    results = [send(api, "tools/call", params, url, idempotency_key="a").json()["result"] for _ in range(2)]

    assert [len(result["structuredContent"]["relations"]) for result in results] == [1, 1]


def test_a_call_is_audited_like_its_route(api: Api) -> None:
    response = send(api, "tools/call", {"name": "memory_store", "arguments": {"content": "x"}}, x_request_id="call-1")

    event = AuditEvent.objects.get(tenant=api.tenant, request_id="call-1")
    assert response["X-Request-ID"] == "call-1"
    assert event.actor.startswith("key:")


@pytest.fixture
def limits(settings: Any) -> Any:
    settings.KEY_RATE, settings.KEY_BURST = 0.001, 11
    settings.REDIS_URL = ""
    return settings


def test_a_call_costs_as_much_as_its_route_and_a_list_as_much_as_a_read(api: Api, limits: Any) -> None:
    call_response = send(api, "tools/call", {"name": "memory_search", "arguments": {"query": "x"}})
    list_response = send(api, "tools/list")

    assert call_response["X-RateLimit-Remaining"] == "6"
    assert list_response["X-RateLimit-Remaining"] == "5"


def test_a_call_over_the_limit_reports_when_to_retry(api: Api, limits: Any) -> None:
    for _ in range(2):
        call(api, "memory_search", query="x")

    assert "Retry after" in error_of(api, "memory_search", query="x")


def test_a_list_over_the_limit_is_refused(api: Api, limits: Any) -> None:
    for _ in range(11):
        assert send(api, "ping").status_code == 200

    problem_of(send(api, "tools/list"), 429, "rate_limited")


@pytest.mark.parametrize("url", ["/mcp", "/mcp?profile=unknown", "/mcp/%20"])
def test_a_rejected_message_counts_towards_the_limits(api: Api, limits: Any, url: str) -> None:
    before = usage.requests_today(api.tenant)
    statuses = [api.request("POST", url, raw=b'{"id": 1, "id": 1}').status_code for _ in range(12)]

    assert statuses == [statuses[0]] * 11 + [429]
    assert 400 <= statuses[0] < 429
    assert usage.requests_today(api.tenant) - before == 11


def test_a_message_with_a_large_body_costs_more(api: Api, limits: Any) -> None:
    response = send(api, "tools/list", {"unused": "x" * 4 * BODY_BYTES_PER_TOKEN})

    assert response["X-RateLimit-Remaining"] == "6"


def test_a_message_that_is_too_large_for_the_limit_is_not_parsed(api: Api, limits: Any) -> None:
    assert send(api, "tools/call", {"name": "memory_search", "arguments": {"query": "x"}}).status_code == 200

    response = api.request("POST", "/mcp", raw=b"[" * 8 * BODY_BYTES_PER_TOKEN)

    problem_of(response, 429, "rate_limited")


def test_a_call_with_a_large_body_reports_the_tokens_that_remain_after_its_route(api: Api, limits: Any) -> None:
    content = "x" * 2 * BODY_BYTES_PER_TOKEN
    response = send(api, "tools/call", {"name": "memory_store", "arguments": {"content": content}})

    assert not response.json()["result"]["isError"]
    assert response["X-RateLimit-Remaining"] == "2"  # 11, less 2 for the message and 5 + 2 for the route


def test_a_call_counts_as_one_concurrent_request_of_its_tenant(api: Api, settings: Any) -> None:
    settings.TENANT_CONCURRENCY = 1

    assert call(api, "memory_store", content="x")["created"]


def test_a_call_counts_as_one_of_the_days_requests(api: Api, operator: Api) -> None:
    assert operator.patch("/api/v1/tenants/acme", {"quotas": {"requests_per_day": 2}}).status_code == 200

    for _ in range(2):
        assert call(api, "memory_store", content="x")["created"]
    assert "quota" in error_of(api, "memory_store", content="x")


def test_tools_ignore_conditional_headers_of_the_message(api: Api) -> None:
    response = send(api, "tools/call", {"name": "memory_store", "arguments": {"content": "x"}}, if_match='"7"')

    assert json.loads(response.content)["result"]["structuredContent"]["created"]

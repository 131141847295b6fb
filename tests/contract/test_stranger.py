"""Another tenant's key against every route: 404 or an empty result, and no observable difference."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from conversations.models import (
    Chore,
    Conversation,
    DeletedConversation,
    ImportedConversation,
    LlmCall,
    NumberStripe,
    Proposal,
)
from graph.models import Link
from memories.models import Memory, VectorEmbedding
from tenants import keys
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api, drain, issue_key, problem_of
from tests.support.every_route import CASES, NEEDS, Case, published
from tests.support.unguarded import unguarded

TEXT = "The secret aardvark of acme sleeps in the vault"
NAMES = {"coord": "1.0,2.0,3.0", "deleted": "4.0,5.0,6.0", "expired": "7.0,8.0,9.0", "text": TEXT, "slug": "acme"}
NAMES["key"] = "vault/aardvark"


def store_data(api: Api) -> dict[str, str]:
    """Store data of every kind for acme. Returns the names that a request can use."""
    tags = {"metadata": {"tenant": "acme"}, "importance": 9}
    stored = api.store(NAMES["coord"], TEXT, key=NAMES["key"], **tags)
    api.store(NAMES["coord"], TEXT, namespace="n", **tags)
    deleted = api.store(NAMES["deleted"], TEXT, **tags)
    api.store(NAMES["expired"], TEXT, ttl_seconds=60, **tags)
    for number in range(30):
        api.store(f"1,2,{number}", f"{TEXT} {number}", **tags)
    ends = [NAMES["coord"], NAMES["deleted"], NAMES["expired"], "1,2,0", "100,1"]
    links = [
        {"from_coord": start, "to_coord": end, "link_type": kind, "namespace": namespace, "metadata": {"text": TEXT}}
        for start, end in pairwise(ends)
        for kind in ("related", "follows")
        for namespace in ("default", "n")
    ]
    assert api.post("/graph/links/bulk", {"links": links}).json()["failed"] == 0
    talk = {
        "label": "Vault",
        "folder": "/vault",
        "messages": [{"role": "user", "content": TEXT, "metadata": tags["metadata"]}],
    }
    paths = ("/api/v1/conversations/by-external-id/vault", "/api/v1/conversations/by-external-id/other")
    conversations = [api.put(path, talk).json()["id"] for path in paths]
    api.request("PUT", f"/api/v1/conversations/{conversations[0]}/pin")
    deleted_talk = api.post("/api/v1/conversations", talk).json()["id"]
    drain()
    api.delete(f"/memories/{NAMES['deleted']}")
    api.delete(f"/api/v1/conversations/{deleted_talk}")
    at_expired = Memory.objects.for_tenant(api.tenant).filter(expires_at__isnull=False)
    at_expired.update(expires_at=timezone.now() - timedelta(seconds=1))

    return {
        **NAMES,
        "id": stored["id"],
        "deleted_id": deleted["id"],
        "prefix": ApiKey.objects.get(tenant=api.tenant).prefix,
        "cursor": cursor_of(api, ""),
        "time_cursor": cursor_of(api, "order=created_at"),
        "near_cursor": cursor_of(api, "near=1,2,3&radius=10"),
        "conversation": conversations[0],
        "deleted_conversation": deleted_talk,
        "proposal": proposed(api, Proposal.State.OPEN),
        "accepted": proposed(api, Proposal.State.ACCEPTED),
        "message": api.get(f"/api/v1/conversations/{conversations[0]}/messages").json()["items"][0]["id"],
        "conversations_cursor": api.get("/api/v1/conversations?limit=1").json()["next_cursor"],
    }


def cursor_of(api: Api, query: str) -> str:
    """Return the cursor of a list's second page."""
    next_cursor: str = api.get(f"/memories?limit=1&{query}").json()["next_cursor"]
    return next_cursor


def proposed(api: Api, state: str) -> str:
    facts = {"newer_id": uuid.uuid4(), "older_id": uuid.uuid4()}
    rows = Proposal.objects.for_tenant(api.tenant)
    return str(rows.create(tenant=api.tenant, state=state, reason=TEXT, confidence=1, **facts).id)


def erase(api: Api) -> None:
    """Delete acme from the database only, so that the index contains what a crash could leave behind."""
    everything = (
        Memory,
        VectorEmbedding,
        Link,
        Conversation,
        DeletedConversation,
        NumberStripe,
        ImportedConversation,
        LlmCall,
        Chore,
        Proposal,
    )
    for rows in (model.objects for model in everything):
        rows.for_tenant(api.tenant).delete()
    with unguarded():
        AuditEvent.objects.filter(tenant=api.tenant).delete()
    ApiKey.objects.filter(tenant=api.tenant).delete()
    Tenant.objects.filter(id=api.tenant.id).delete()
    keys.forget_cached()


def neighbour(slug: str) -> Api:
    """Create a tenant whose memory shares words with acme's, so that a rank could reveal acme's."""
    tenant = Tenant.objects.create(slug=slug)
    client = Api(issue_key(tenant), tenant)
    client.store("100,1", "My own aardvark sleeps too")
    client.store("100,2", "Bread is baked in an oven")
    drain()
    return client


def answer(api: Api, method: str, case: Case, **headers: str) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body, without anything that always differs between requests."""
    response = api.request(method, case.url, case.body, None, **headers)
    seen = {name: value for name, value in response.headers.items() if name not in ("X-Request-ID", "Content-Length")}
    return response.status_code, seen, scrubbed(response.getvalue())


def scrubbed(content: bytes) -> str:
    text = content.decode()
    if text.startswith("# HELP"):  # numbers for the whole server; tests/operations/test_metrics.py checks their labels
        return "METRICS"
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r'"\d{4}-\d\d-\d\dT[^"]*Z"', '"TIME"', text)
    return re.sub(r'"(took_ms|latency_ms|uptime_seconds|recency|oldest_due_seconds)":[0-9.e-]+', r'"\1":0', text)


def everything(api: Api, names: dict[str, str]) -> list[tuple[str, str, tuple[int, dict[str, str], str]]]:
    """Return every route's response to this key."""
    return [
        (method, case.path, answer(api, method, case.filled(names)))
        for (method, _), cases in CASES.items()
        for case in cases
    ]


def state(api: Api) -> list[Any]:
    return [
        list(rows.for_tenant(api.tenant).order_by("pk").values())
        for rows in (Memory.objects, VectorEmbedding.objects, Link.objects, Conversation.objects)
    ]


def test_every_published_route_has_a_case() -> None:
    assert set(CASES) == published()
    assert set(NEEDS) == published()


def test_a_strangers_answers_do_not_depend_on_acme(api: Api) -> None:
    names = store_data(api)
    with_acme = everything(neighbour("stranger"), names)
    erase(api)

    assert with_acme == everything(neighbour("another"), names)


def test_a_stranger_changes_nothing_and_sees_nothing(api: Api) -> None:
    names = store_data(api)
    stranger = neighbour("stranger")
    before = state(api)

    for method, path, (status, _, body) in everything(stranger, names):
        assert status in (200, 201, 207, 403, 404), (method, path, status, body)
        assert "secret" not in body, (method, path, body)  # reads come first, then the stranger stores it as well

    assert state(api) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST"])
def test_no_method_reveals_whether_a_memory_exists(api: Api, stranger: Api, method: str) -> None:
    names = store_data(api)
    body = {"importance": 1} if method == "PATCH" else None

    here = answer(stranger, method, Case("/memories/{coord}", body).filled(names))
    nowhere = answer(stranger, method, Case("/memories/{coord}", body).filled({"coord": "9.0,9.0,9.0"}))

    assert json.dumps(here).replace("1.0,2.0,3.0", "9.0,9.0,9.0") == json.dumps(nowhere)


@pytest.mark.parametrize("condition", [{"if_match": '"1"'}, {"if_match": "*"}, {"if_none_match": "*"}])
def test_no_condition_reveals_whether_a_memory_exists(api: Api, stranger: Api, condition: dict[str, str]) -> None:
    names = store_data(api)

    for method, path, body in (
        ("GET", "/memories/{coord}", None),
        ("PATCH", "/memories/{coord}", {"importance": 1}),
        ("DELETE", "/memories/{coord}", None),
        ("POST", "/memories", {"coord": "{coord}", "payload": {}}),
    ):
        here = answer(stranger, method, Case(path, body).filled(names), **condition)
        nowhere = answer(stranger, method, Case(path, body).filled({"coord": "9.0,9.0,9.0"}), **condition)
        content = json.dumps(here).replace("1.0,2.0,3.0", "9.0,9.0,9.0").replace("[1.0, 2.0, 3.0]", "[9.0, 9.0, 9.0]")
        assert content.replace("[1.0,2.0,3.0]", "[9.0,9.0,9.0]") == json.dumps(nowhere)


@pytest.mark.parametrize("header", ["x_tenant", "x_soma_tenant"])
def test_the_header_of_another_tenant_does_not_reveal_whether_it_exists(api: Api, stranger: Api, header: str) -> None:
    names = store_data(api)

    for (method, route), cases in CASES.items():
        if NEEDS[method, route] == "nothing":
            continue
        case = cases[0].filled(names)
        acme, nobody = (answer(stranger, method, case, **{header: slug}) for slug in ("acme", "nobody"))
        assert acme == nobody
        assert acme[0] == 403


def test_an_unknown_key_gets_no_information(api: Api) -> None:
    names = store_data(api)
    nobody = Api("soma_" + "x" * 60, api.tenant)

    for (method, route), cases in CASES.items():
        if NEEDS[method, route] != "nothing":
            status, _, body = answer(nobody, method, cases[0].filled(names))
            assert status == 401
            assert "acme" not in body


def test_two_tenants_store_different_memories_at_the_same_address(api: Api, stranger: Api) -> None:
    mine = api.store("1,2,3", "mine")
    yours = stranger.store("1,2,3", "yours")

    assert mine["id"] != yours["id"]
    assert (yours["created"], yours["version"]) == (True, 1)
    assert api.get("/memories/1,2,3").json()["memory"]["payload"] == {"text": "mine"}
    stranger.delete("/memories/1,2,3?purge=true")
    assert api.get("/memories/1,2,3").status_code == 200
    problem_of(stranger.get("/memories/1,2,3"), 404)

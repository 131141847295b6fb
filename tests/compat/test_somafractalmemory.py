"""SomaFractalMemory's clients work at the root, if the setting is enabled."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.models import AuditEvent, Tenant
from tests.compat import somafractalmemory_urls
from tests.conftest import Api, drain, issue_key

NOBODY = Api("", Tenant())


@pytest.fixture(autouse=True)
def setting(settings: Any) -> None:
    settings.ROOT_URLCONF = somafractalmemory_urls.__name__
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("RootAliases")]


def store(api: Api, coord: str, text: str = "The aardvark sleeps", **more: Any) -> Any:
    response = api.post("/memories", {"coord": coord, "payload": {"text": text}, **more})
    drain()
    return response


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health/basic"])
def test_health_is_about_the_three_stores(api: Api, path: str) -> None:
    assert NOBODY.get(path).json() == {"kv_store": True, "vector_store": True, "graph_store": True}


def test_services_have_its_names(api: Api) -> None:
    health = NOBODY.get("/health").json()

    assert {service["name"] for service in health["services"]} == {"postgresql", "redis", "milvus"}
    assert (health["tenants"], health["database"]) == ([], {})


def test_the_pages_at_the_root(api: Api) -> None:
    assert NOBODY.get("/").json()["status"] == "online"
    assert NOBODY.get("/ping").json() == {"ping": "pong"}
    assert NOBODY.get("/openapi.json")["Location"] == "/api/v1/openapi.json"
    assert NOBODY.get("/docs")["Location"] == "/api/v1/docs"
    assert NOBODY.get("/metrics").status_code == 200


def test_our_own_contract_stays_below_its_prefix(api: Api) -> None:
    assert NOBODY.get("/api/v1/readyz").json() == {"ready": True}
    assert api.post("/api/v1/memories", {"coord": "1,2", "payload": {}, "universe": "x"}).status_code == 422


def test_a_new_memory_is_200_and_unknown_fields_are_named(api: Api) -> None:
    response = store(api, "1,2", memory_type=None, universe="real")

    assert response.status_code == 200
    assert (response.json()["memory_type"], response["X-Compat-Changes"]) == ("episodic", "universe: unknown, dropped")


def test_invalid_input_is_400(api: Api) -> None:
    response = api.post("/memories", {"coord": "target-3c6c5e16", "payload": {}})

    assert (response.status_code, response.json()["status"]) == (400, 400)
    assert "coord" in response.json()["detail"]


def test_deleting_what_does_not_exist_is_200(api: Api) -> None:
    assert api.delete("/memories/7,7").json()["deleted"] is False


def test_search_and_graph(api: Api) -> None:
    store(api, "1,2")
    store(api, "1,3", memory_type="semantic")
    api.post("/graph/link", {"from_coord": "1,2", "to_coord": "1,3", "link_type": None, "metadata": {"a": 1}})

    assert len(api.get("/memories/search?query=aardvark&top_k=500&x=1").json()["memories"]) == 2
    body = {"query": "aardvark", "filters": {"memory_type": "semantic"}, "memory_type": None}
    found = api.post("/memories/search", body).json()["memories"]
    assert [memory["coordinate"] for memory in found] == [[1.0, 3.0]]
    assert api.get("/graph/neighbors?coord=1,2").json()["neighbors"][0]["coordinate"] == [1.0, 3.0]
    assert api.get("/graph/path?from_coord=1,2&to_coord=1,3").json()["found"] is True


def test_statistics_without_a_key_are_those_of_the_default_tenant_only(api: Api) -> None:
    store(api, "1,2")
    store(api, "1,2", namespace="test_ns")

    assert api.get("/stats").json() == {"total_memories": 2, "episodic": 2, "semantic": 0, "namespace": "default"}
    assert api.get("/test-stats").json()["total_memories"] == 1
    assert NOBODY.get("/stats").json()["total_memories"] == 0
    assert Api("soma_" + "x" * 60, api.tenant).get("/stats").status_code == 401


def test_an_unknown_tenant_is_created_only_by_an_operator_and_only_by_the_setting(api: Api, settings: Any) -> None:
    operator = Api(issue_key(None), api.tenant)
    assert operator.get("/stats", x_soma_tenant="new").status_code == 404

    settings.CREATE_TENANTS = True

    assert api.get("/stats", x_soma_tenant="new").status_code == 403
    assert Api(issue_key(None, ("read",)), api.tenant).get("/stats", x_soma_tenant="new").status_code == 403
    assert operator.get("/stats", x_soma_tenant="No Slug").status_code == 400
    assert not Tenant.objects.filter(slug="new").exists()
    assert operator.get("/stats", x_soma_tenant="new").json()["total_memories"] == 0
    assert AuditEvent.objects.get(tenant__slug="new").action == "tenant.create"


def test_a_suspended_tenant_is_not_created_again(api: Api, settings: Any) -> None:
    settings.CREATE_TENANTS = True
    Tenant.objects.create(slug="asleep", active=False)

    assert Api(issue_key(None), api.tenant).get("/stats", x_soma_tenant="asleep").status_code == 404

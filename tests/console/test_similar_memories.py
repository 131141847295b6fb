"""A memory's page lists the nearest memories by meaning, within its tenant and namespace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from memories import index
from somamemory.errors import IndexUnavailable
from tests.conftest import DIMENSION, Api, drain, page, page_content, problem_of
from tests.support.staff import sign_in_staff


def near(client: Client, id: str, tenant: str = "acme") -> list[dict[str, Any]] | None:
    response = client.get(page("similar_memories", tenant=tenant, id=id))
    assert response.status_code == 200, response.content
    neighbours: list[dict[str, Any]] | None = json.loads(response.content)["neighbours"]
    return neighbours


@pytest.fixture
def invoice(api: Api) -> str:
    """A memory with three others in its namespace, one of which contains the same words."""
    id = str(api.store("1", "The invoice for October was paid")["id"])
    api.store("2", "The invoice for November was not paid")
    api.store("3", "Grilled sardines near the castle")
    api.store("4", "The invoice for October was paid", namespace="elsewhere")
    drain()
    return id


def test_neighbours_are_sorted_by_similarity_without_the_memory_itself(superuser: Client, invoice: str) -> None:
    found = near(superuser, invoice) or []

    assert found[0]["coord"] == "2.0"
    assert "1.0" not in {row["coord"] for row in found}
    similarities = [row["similarity"] for row in found]
    assert similarities == sorted(similarities, reverse=True)
    assert 0 < similarities[-1] <= similarities[0] <= 1


def test_neighbours_link_to_their_pages(superuser: Client, invoice: str) -> None:
    found = near(superuser, invoice) or []

    assert "The invoice for November was not paid" in page_content(superuser, found[0]["link"])


def test_the_similarity_is_the_cosine_of_the_vectors(superuser: Client, api: Api) -> None:
    vectors = {"1": [1.0, 0.0], "2": [3.0, 4.0], "3": [0.0, -1.0]}
    rest = [0.0] * (DIMENSION - 2)
    ids = {coord: api.store(coord, embedding=[*start, *rest])["id"] for coord, start in vectors.items()}
    drain()

    assert [(row["coord"], row["similarity"]) for row in near(superuser, ids["1"]) or []] == [("2.0", 0.6)]


def test_deleted_memories_are_not_neighbours(superuser: Client, api: Api, invoice: str) -> None:
    api.delete("/memories/2")

    assert "2.0" not in {row["coord"] for row in near(superuser, invoice) or []}


def test_a_memory_that_is_not_indexed_yet_has_no_neighbours(superuser: Client, api: Api) -> None:
    id = api.store("1", "The invoice")["id"]

    assert near(superuser, id) is None


def test_neighbours_of_the_same_words_in_other_namespaces_and_tenants_are_not_listed(
    superuser: Client, api: Api, stranger: Api, invoice: str
) -> None:
    stranger.store("7", "The invoice for October was paid")
    drain()

    assert {row["coord"] for row in near(superuser, invoice) or []} <= {"2.0", "3.0"}


def test_staff_need_the_tenant_and_the_permission_to_see_memories(staff: Client, api: Api, stranger: Api) -> None:
    theirs, own = stranger.store("1")["id"], api.store("1")["id"]

    problem_of(staff.get(page("similar_memories", tenant="stranger", id=theirs)), 404)  # type: ignore[arg-type]
    problem_of(staff.get(page("similar_memories", tenant="acme", id=theirs)), 404)  # type: ignore[arg-type]
    without = sign_in_staff(api.tenant, all_but="view_memory")
    assert without.get(page("similar_memories", tenant="acme", id=own)).status_code == 403


def test_an_invalid_id_is_rejected(superuser: Client, api: Api) -> None:
    problem_of(superuser.get(page("similar_memories", tenant="acme", id="x")), 422, field="id")  # type: ignore[arg-type]


def test_listing_neighbours_does_not_count_as_a_read(superuser: Client, api: Api, invoice: str) -> None:
    near(superuser, invoice)

    assert api.get("/memories/2").json()["memory"]["access_count"] == 0


def test_an_unavailable_index_is_reported(superuser: Client, invoice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: Any, **__: Any) -> Any:
        raise IndexUnavailable("the vector index does not respond")

    monkeypatch.setattr(index, "of", unavailable)

    problem_of(superuser.get(page("similar_memories", tenant="acme", id=invoice)), 503)  # type: ignore[arg-type]

"""The store compared with a dict: after any changes, reads return what was written, and the index catches up."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from memories import coordinates, index
from memories.index import generations
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from tenants.models import Tenant
from tests.conftest import Api, drain, issue_key

WORDS = ("aardvark", "bicycle", "cathedral", "dolphin")

who = st.sampled_from([0, 1])
places = st.sampled_from(["here", "there"])
coords = st.sampled_from(["1.0", "1.0,2.0", "1.0,2.0,3.0", "2.0", "-1.0"])
payloads = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda words: {"text": " ".join(words)}),
    st.integers(0, 3).map(lambda number: {"number": number}),  # nothing to index
)
contexts = st.sampled_from(["", "", "elephant"])


@dataclass(frozen=True)
class Address:
    who: int
    namespace: str
    coord: str

    @property
    def query(self) -> str:
        return urlencode({"namespace": self.namespace})


addresses = st.builds(Address, who, places, coords)


@dataclass(frozen=True)
class Row:
    """One memory of the model."""

    id: str
    version: int
    payload: dict[str, Any]
    context: str = ""
    deleted: bool = False
    expired: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return not self.deleted and not self.expired

    @property
    def words(self) -> set[str]:
        return {*self.payload.get("text", "").split(), *self.context.split()}

    @property
    def in_index(self) -> bool:
        return self.live and bool(self.words)


class Store(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.actors = [self._actor(), self._actor()]
        self.rows: dict[Address, Row] = {}
        self.versions: dict[str, int] = {}  # the last version seen for each id
        self.drained = True
        self.steps = 0

    def _actor(self) -> Api:
        tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:20]}")
        return Api(issue_key(tenant), tenant)

    def live(self, address: Address) -> Row | None:
        row = self.rows.get(address)
        return row if row and row.live else None

    def seen(self, id: str, version: int) -> None:
        assert version >= self.versions.get(id, 0), "a version went back"
        self.versions[id] = version

    # -- changes ------------------------------------------------------------------------------------------------

    def _stored(self, address: Address, body: dict[str, Any], answer: dict[str, Any]) -> None:
        """Apply a store request to the model. `answer` contains at least the version."""
        before = self.rows.get(address)
        assert answer["version"] == (before.version + 1 if before else 1)
        id = before.id if before else answer.get("id") or self._id_at(address)
        assert answer.get("id", id) == id
        self.rows[address] = Row(id, answer["version"], body["payload"], body.get("context", ""))
        self.drained = False

    def _id_at(self, address: Address) -> str:
        tenant = self.actors[address.who].tenant
        key = coordinates.parse(address.coord).key
        return str(Memory.objects.for_tenant(tenant).get(namespace=address.namespace, coordinate_key=key).id)

    @rule(address=addresses, payload=payloads, context=contexts, ttl=st.sampled_from([None, None, 3600]))
    def store(self, address: Address, payload: dict[str, Any], context: str, ttl: int | None) -> None:
        body = {"coord": address.coord, "namespace": address.namespace, "payload": payload, "context": context}
        was_live = self.live(address)
        response = self.actors[address.who].post("/memories", {**body, "ttl_seconds": ttl})
        assert response.status_code == (200 if was_live else 201), response.content
        self._stored(address, body, response.json())

    @rule(address=addresses, payload=payloads, off=st.integers(-1, 1))
    def store_if_the_version_matches(self, address: Address, payload: dict[str, Any], off: int) -> None:
        row = self.live(address)
        expected = (row.version if row else 1) + off
        body = {"coord": address.coord, "namespace": address.namespace, "payload": payload}
        response = self.actors[address.who].post("/memories", body, if_match=f'"{expected}"')
        if row and not off:
            assert response.status_code == 200, response.content
            self._stored(address, body, response.json())
        else:
            assert response.status_code == 412, response.content

    @rule(address=addresses, payload=payloads)
    def store_if_absent(self, address: Address, payload: dict[str, Any]) -> None:
        body = {"coord": address.coord, "namespace": address.namespace, "payload": payload}
        response = self.actors[address.who].post("/memories", body, if_none_match="*")
        if self.live(address):
            assert response.status_code == 412, response.content
        else:
            assert response.status_code == 201, response.content
            self._stored(address, body, response.json())

    @rule(actor=who, items=st.lists(st.tuples(places, coords, payloads), min_size=1, max_size=6), atomic=st.booleans())
    def bulk(self, actor: int, items: list[tuple[str, str, dict[str, Any]]], atomic: bool) -> None:
        bodies = [{"namespace": place, "coord": coord, "payload": payload} for place, coord, payload in items]
        response = self.actors[actor].post("/memories/bulk", {"items": bodies, "atomic": atomic})
        assert response.status_code == 200, response.content
        for body, result in zip(bodies, response.json()["results"], strict=True):
            address = Address(actor, str(body["namespace"]), str(body["coord"]))
            assert result["status"] == (200 if self.live(address) else 201)
            self._stored(address, body, {"version": result["version"]})

    @rule(address=addresses, text=st.sampled_from(["", *WORDS]), context=st.none() | contexts)
    def patch(self, address: Address, text: str, context: str | None) -> None:
        row = self.live(address)
        changes: dict[str, Any] = {"payload": {"text": text or None}}  # null removes the member
        if context is not None:
            changes["context"] = context
        response = self.actors[address.who].patch(f"/memories/{address.coord}?{address.query}", changes)
        if row is None:
            assert response.status_code == 404, response.content
            return
        assert response.status_code == 200, response.content
        payload = {name: value for name, value in row.payload.items() if name != "text"} | (
            {"text": text} if text else {}
        )
        context = row.context if context is None else context
        self.rows[address] = replace(row, version=row.version + 1, payload=payload, context=context)
        self.drained = False

    @rule(address=addresses, off=st.integers(-1, 1))
    def patch_if_the_version_matches(self, address: Address, off: int) -> None:
        row = self.live(address)
        expected = (row.version if row else 1) + off
        path = f"/memories/{address.coord}?{address.query}"
        response = self.actors[address.who].patch(path, {"metadata": {"off": off}}, if_match=f'"{expected}"')
        if row is None:
            assert response.status_code == 404, response.content
        elif off:
            assert response.status_code == 412, response.content
        else:
            assert response.status_code == 200, response.content
            self.rows[address] = replace(row, version=row.version + 1)
            self.drained = False

    @rule(address=addresses)
    def delete(self, address: Address) -> None:
        row = self.live(address)
        response = self.actors[address.who].delete(f"/memories/{address.coord}?{address.query}")
        assert response.json()["deleted"] is bool(row)
        if row:
            self.rows[address] = replace(row, version=row.version + 1, deleted=True)
            self.drained = False

    @rule(actor=who, place=places, several=st.lists(coords, min_size=1, max_size=4))
    def delete_several(self, actor: int, place: str, several: list[str]) -> None:
        response = self.actors[actor].post("/memories/bulk/delete", {"coords": several, "namespace": place})
        gone = {Address(actor, place, coord) for coord in several if self.live(Address(actor, place, coord))}
        assert response.json()["deleted"] == len(gone)
        for address in gone:
            row = self.rows[address]
            self.rows[address] = replace(row, version=row.version + 1, deleted=True)
            self.drained = False

    @rule(address=addresses)
    def purge(self, address: Address) -> None:
        response = self.actors[address.who].delete(f"/memories/{address.coord}?{address.query}&purge=true")
        assert response.json()["deleted"] is (address in self.rows)
        if self.rows.pop(address, None):
            self.drained = False

    @rule(address=addresses)
    def restore(self, address: Address) -> None:
        row = self.rows.get(address)
        response = self.actors[address.who].post(f"/memories/{address.coord}/restore?{address.query}")
        if row and row.deleted and not row.expired:
            assert response.status_code == 200, response.content
            self.rows[address] = replace(row, version=row.version + 1, deleted=False)
            self.drained = False
        else:
            assert response.status_code == 404, response.content

    @precondition(lambda self: any(row.live for row in self.rows.values()))
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """Simulate the passage of time: move the expiry time, and the rows due at that time, to the past."""
        alive = sorted((address for address, row in self.rows.items() if row.live), key=repr)
        address = data.draw(st.sampled_from(alive))
        row, past = self.rows[address], timezone.now() - timedelta(seconds=1)
        tenant = self.actors[address.who].tenant
        Memory.objects.for_tenant(tenant).filter(id=row.id).update(expires_at=past)
        VectorEmbedding.objects.for_tenant(tenant).filter(memory_id=row.id).update(due_at=past)
        self.rows[address] = replace(row, expired=True)
        self.drained = False

    @rule()
    def drain(self) -> None:
        drain()
        self.drained = True
        for number, actor in enumerate(self.actors):
            wanted = {
                uuid.UUID(row.id): row.version
                for address, row in self.rows.items()
                if address.who == number and row.in_index
            }
            assert dict(index.of(generations.active()).scan(actor.tenant.id)) == wanted
            assert actor.get("/stats").json()["index"]["pending"] == 0

    # -- reading ------------------------------------------------------------------------------------------------

    @rule(address=addresses)
    def fetch(self, address: Address) -> None:
        row = self.live(address)
        response = self.actors[address.who].get(f"/memories/{address.coord}?{address.query}")
        if row is None:
            assert response.status_code == 404, response.content
            return
        memory = response.json()["memory"]
        assert (memory["id"], memory["version"], memory["payload"], memory["context"]) == (
            row.id, row.version, row.payload, row.context,
        )  # fmt: skip
        assert response["ETag"] == f'"{row.version}"'
        if self.drained:
            assert memory["index_state"] == ("ready" if row.in_index else "empty")
        self.seen(memory["id"], memory["version"])

    @rule(address=addresses, off=st.integers(-1, 0))
    def fetch_unless_the_version_is_known(self, address: Address, off: int) -> None:
        row = self.live(address)
        etag = f'"{row.version + off}"' if row else '"1"'
        path = f"/memories/{address.coord}?{address.query}"
        response = self.actors[address.who].get(path, if_none_match=etag)
        assert response.status_code == (404 if row is None else 200 if off else 304)

    @rule(actor=who, place=places, prefix=st.none() | coords)
    def list_a_subtree(self, actor: int, place: str, prefix: str | None) -> None:
        query = {"namespace": place, **({"prefix": prefix} if prefix else {})}
        items = self.actors[actor].get(f"/memories?{urlencode(query)}").json()["items"]
        wanted = [
            address.coord
            for address, row in self.rows.items()
            if row.live and (address.who, address.namespace) == (actor, place)
            if prefix is None or f"{address.coord},".startswith(f"{prefix},")
        ]
        wanted.sort(key=lambda coord: coordinates.parse(coord).numbers)
        assert [item["coord"] for item in items] == wanted

    @rule(
        actor=who, place=places, word=st.sampled_from([*WORDS, "elephant"]),
        mode=st.sampled_from(["hybrid", "semantic", "keyword"]), strong=st.booleans(),
    )  # fmt: skip
    def search(self, actor: int, place: str, word: str, mode: str, strong: bool) -> None:
        consistency = "strong" if strong else "eventual"
        found = self.actors[actor].search(word, namespace=place, mode=mode, top_k=50, consistency=consistency)
        mine = {
            row.id: (address.coord, row)
            for address, row in self.rows.items()
            if row.live and (address.who, address.namespace) == (actor, place)
        }
        for result in found:
            assert result["id"] in mine, "something was found that is not there"
            coord, row = mine[result["id"]]
            assert (result["coord"], result["version"], result["payload"]) == (coord, row.version, row.payload)
        matching = {id for id, (_, row) in mine.items() if word in row.words}
        ids = [result["id"] for result in found]
        assert len(ids) == len(set(ids))
        if mode == "keyword":
            assert set(ids) == matching
        elif mode == "hybrid" or strong or self.drained:
            assert matching <= set(ids)

    # -- invariants ---------------------------------------------------------------------------------------------

    @invariant()
    def a_namespace_lists_what_the_model_holds(self) -> None:
        """Checks one namespace at a time, because checking all after each step would take most of the time."""
        self.steps += 1
        self._check_list(self.steps % 2, "here" if self.steps % 4 < 2 else "there")

    def _check_list(self, actor: int, place: str) -> None:
        path = f"/memories?namespace={place}&include_deleted=true&limit=1000"
        items = self.actors[actor].get(path).json()["items"]
        held = {
            (address.coord, row.id, row.version, row.deleted)
            for address, row in self.rows.items()
            if (address.who, address.namespace) == (actor, place)
        }
        assert {(memory["coord"], memory["id"], memory["version"], "deleted_at" in memory) for memory in items} == held
        for search in items:
            self.seen(search["id"], search["version"])

    def teardown(self) -> None:
        for actor in (0, 1):
            for place in ("here", "there"):
                self._check_list(actor, place)
        self.drain()


@pytest.mark.usefixtures("db")
def test_any_order_of_changes_leaves_store_and_index_as_the_model_says(generation: EmbeddingGeneration) -> None:
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

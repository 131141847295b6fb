"""Compare tiers with a dict: in any order of moves and crashes, no message is lost or changed."""

from __future__ import annotations

import tempfile
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as bounded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from conversations.lifecycle import cold_storage, thaw_queue, tiers
from conversations.models import ColdFile, Conversation
from memories.models import EmbeddingGeneration, Memory
from tenants import usage
from tenants.models import Tenant
from tests.conftest import Api, drain, issue_key
from tests.conversations.lifecycle.test_tiers import Killed, in_index, killed_at, scheduler_caller
from tests.support.conversations import ROOT, begin, contents, query, said

WORDS = ("aardvark", "bicycle", "cathedral")
OUT = ("ColdFile.save", "shelf.write", "shelf.read", "take_out", "Conversation.save", "audit")
BACK = ("shelf.read", "put_back", "Conversation.save", "audit")
which = st.integers(0, 2)


class Moves(RuleBasedStateMachine):
    """Conversations by id: their messages and their status."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        storages._storages["cold"] = cold_storage.Folder(location=self.folder.name)  # type: ignore[attr-defined]
        tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:20]}", quota_memories=1_000_000)
        self.api = Api(issue_key(tenant), tenant)
        self.said: dict[str, list[str]] = {}
        self.status: dict[str, str] = {}
        self.cold: set[str] = set()

    def id(self, number: int) -> str:
        return sorted(self.said)[number % len(self.said)]

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
    def begins(self, words: list[str]) -> None:
        if len(self.said) < 3:
            id = begin(self.api, *words)["id"]
            self.said[id], self.status[id] = list(words), "active"

    @precondition(lambda self: self.said)
    @rule(number=which, word=st.sampled_from(WORDS))
    def goes_on(self, number: int, word: str) -> None:
        id = self.id(number)
        response = self.api.post(f"{ROOT}/{id}/messages", {"messages": said(word)})
        assert response.status_code == 201
        self.said[id].append(word)
        self.cold.discard(id)

    @precondition(lambda self: self.said)
    @rule(number=which, status=st.sampled_from(["active", "pinned", "archived", "archived"]))
    def gets_a_status(self, number: int, status: str) -> None:
        id = self.id(number)
        assert self.api.request("PUT", f"{ROOT}/{id}/status", {"status": status}).status_code == 200
        self.status[id] = status
        if status != "archived":
            self.cold.discard(id)

    @precondition(lambda self: self.said)
    @rule(number=which, killed=st.sampled_from([None, None, *OUT]))
    def cools(self, number: int, killed: str | None) -> None:
        id = self.id(number)
        Conversation.all_tenants.filter(id=id).update(summarise_at=None)
        ready = self.status[id] == "archived" and id not in self.cold
        with pytest.MonkeyPatch.context() as patch:
            if killed and ready:
                killed_at(patch, killed)
                with pytest.raises(Killed):
                    tiers.freeze(scheduler_caller(self.api.tenant), uuid.UUID(id))
                return
            assert tiers.freeze(scheduler_caller(self.api.tenant), uuid.UUID(id)) == ready
        if ready:
            self.cold.add(id)

    @precondition(lambda self: self.cold)
    @rule(number=which, killed=st.sampled_from([None, *BACK]))
    def comes_back(self, number: int, killed: str | None) -> None:
        id = sorted(self.cold)[number % len(self.cold)]
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                killed_at(patch, killed)
                with pytest.raises(Killed):
                    tiers.thaw(scheduler_caller(self.api.tenant), uuid.UUID(id))
                return
            assert tiers.thaw(scheduler_caller(self.api.tenant), uuid.UUID(id))
        self.cold.discard(id)

    @rule()
    def those_that_were_read_come_back(self) -> None:
        thaw_queue.thaw_batch()
        cold = Conversation.objects.for_tenant(self.api.tenant).filter(tier="cold")
        self.cold = {str(id) for id in cold.values_list("id", flat=True)}

    @precondition(lambda self: self.said)
    @rule(number=which, purge=st.booleans())
    def is_deleted(self, number: int, purge: bool) -> None:
        id = self.id(number)
        assert self.api.delete(f"{ROOT}/{id}?purge={str(purge).lower()}").status_code == 200
        if not purge:
            assert self.api.delete(f"{ROOT}/{id}?purge=true").status_code == 200
        del self.said[id], self.status[id]
        self.cold.discard(id)

    @rule()
    def time_passes(self) -> None:
        ColdFile.all_tenants.filter(dropped_at__isnull=False).update(
            dropped_at=timezone.now() - tiers.GRACE - timedelta(days=1)
        )
        tiers.sweep()
        names = {path.relative_to(self.folder.name).as_posix() for path in Path(self.folder.name).rglob("*.gz")}
        assert names == set(ColdFile.objects.for_tenant(self.api.tenant).values_list("name", flat=True))

    @rule(word=st.sampled_from(WORDS))
    def is_looked_for(self, word: str) -> None:
        drain()
        awake = {id for id, status in self.status.items() if status != "archived"}
        there = {id for id in self.said if id not in self.cold}
        for among, archived in ((awake, False), (there, True)):
            found = query(self.api, word, limit=100, include_archived=archived)
            assert found.count(word) == sum(self.said[id].count(word) for id in among)
        assert in_index(self.api.tenant) == sum(len(self.said[id]) for id in awake)

    @invariant()
    def everything_is_there(self) -> None:
        for id, texts in self.said.items():
            assert contents(self.api, id) == texts
            row = self.api.get(f"{ROOT}/{id}").json()
            archived = "cold" if id in self.cold else "archived"
            tier = archived if self.status[id] == "archived" else "active"
            assert (row["status"], row["tier"], row["message_count"]) == (
                self.status[id],
                tier,
                len(texts),
            )
        memories, _ = usage.counted(self.api.tenant)
        assert (memories, usage.counted(self.api.tenant)[1]) == usage.stored(self.api.tenant)
        assert memories == sum(map(len, self.said.values()))
        rows = Memory.objects.for_tenant(self.api.tenant).count()
        assert rows == sum(len(texts) for id, texts in self.said.items() if id not in self.cold)

    def teardown(self) -> None:
        thaw_queue.clear()
        self.folder.cleanup()


@pytest.mark.usefixtures("db")
def test_any_order_of_moves_loses_nothing(generation: EmbeddingGeneration, settings: Any) -> None:
    settings.STORAGES = dict(settings.STORAGES)  # restored after the test
    run_state_machine_as_test(
        Moves,
        settings=bounded(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

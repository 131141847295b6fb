"""Scenarios for `testing.crossings`: operations that hit failpoints, and the invariants to check after a restart."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cachetools import TTLCache
from django.conf import settings
from django.core.management import call_command
from django.db.models import Q

from conversations import services as conversations
from conversations.lifecycle import cold_storage, tiers
from conversations.messages import NewMessage
from conversations.models import ColdFile, Conversation
from conversations.services import NewConversation
from memories import index, services
from memories.coordinates import parse
from memories.index import drain, generations, rebuild
from memories.models import EmbeddingGeneration, Job, Memory, VectorEmbedding
from memories.new_memory import NewMemory
from operations import jobs
from operations.backup import backups
from somamemory.errors import Unavailable
from tenants import erasure, registry, usage
from tenants.caller import Caller
from tenants.models import ErasedTenant, Tenant

ATTEMPTS = 40


class Scenario(Protocol):
    def prepare(self) -> None: ...
    def act(self) -> None: ...
    def check(self) -> None: ...


class Installation:
    """Creates the database and its first generation. It runs once, before the other scenarios."""

    def __init__(self, slug: str) -> None:
        pass

    def prepare(self) -> None:
        call_command("migrate", verbosity=0)
        call_command("bootstrap", verbosity=0)

    def act(self) -> None: ...
    def check(self) -> None: ...


class Memories:
    """Stores five memories, then deletes one and replaces another. It is the base class of the other scenarios."""

    def __init__(self, slug: str) -> None:
        self.slug = slug

    @property
    def tenant(self) -> Tenant:
        return Tenant.objects.get(slug=self.slug)

    @property
    def caller(self) -> Caller:
        return Caller.command(self.tenant)

    def prepare(self) -> None:
        Tenant.objects.create(slug=self.slug)
        items = [NewMemory(parse(str(number)), {"text": f"aardvark {number}"}) for number in range(5)]
        services.store_many(self.caller, items)

    def act(self) -> None:
        services.delete(self.caller, "default", parse("1"))
        services.store(self.caller, NewMemory(parse("2"), {"text": "badger"}))
        drain.release_leases()  # as a server does when it starts
        drain.drain()

    def check(self) -> None:
        drain_all()
        live = dict(Memory.all_tenants.filter(tenant=self.tenant, deleted_at=None).values_list("id", "version"))
        held = dict(index.of(generations.active()).scan(self.tenant.id))
        assert held == live, f"index {held}, database {live}"
        assert live, "nothing is left"


class Rebuild(Memories):
    def prepare(self) -> None:
        super().prepare()
        drain_all()
        jobs.start_rebuild(self.caller)

    def act(self) -> None:
        _hurry()
        _advance()

    def check(self) -> None:
        _hurry()
        Job.objects.filter(jobs.OPEN).update(lease=None, lease_until=None)  # as the server does when it starts
        _advance()
        job = Job.objects.latest("created_at")
        assert job.state == Job.State.DONE, (job.state, job.error)
        states = list(EmbeddingGeneration.objects.values_list("state", flat=True))
        assert states == ["active"], states
        assert not VectorEmbedding.all_tenants.exclude(generation=generations.active()).exists()
        super().check()


class Tiers(Memories):
    """Moves a conversation to cold storage and restores it, in `act` and again in `check`."""

    SAID = ("the aardvark digs", "the badger sleeps", "the camel drinks")

    @property
    def conversation(self) -> Conversation:
        conversation: Conversation = Conversation.objects.for_tenant(self.tenant).get()
        return conversation

    def prepare(self) -> None:
        super().prepare()
        messages = [NewMessage("user", text) for text in self.SAID]
        id = conversations.create(self.caller, NewConversation("Zoo", "/", messages=messages)).id
        conversations.archive(self.caller, id)
        Conversation.all_tenants.filter(id=id).update(summarise_at=None)

    def act(self) -> None:
        if not tiers.is_in_file(self.tenant, self.conversation.id):
            tiers.freeze(self.caller, self.conversation.id)
        tiers.thaw(self.caller, self.conversation.id)
        self._sweep()

    def check(self) -> None:
        self._assert_unchanged()
        tiers.freeze(self.caller, self.conversation.id)
        self._assert_unchanged()
        tiers.thaw(self.caller, self.conversation.id)
        self._assert_unchanged()
        self._sweep()
        assert not ColdFile.all_tenants.filter(tenant=self.tenant).exists()
        assert list(cold_storage.names(self.tenant.id)) == []
        usage.forget(self.tenant)

    def _assert_unchanged(self) -> None:
        contents = [row.payload["content"] for row in tiers.messages(self.caller, self.conversation)]
        assert contents == list(self.SAID), contents

    @staticmethod
    def _sweep() -> None:
        tiers.GRACE = timedelta(0)
        tiers._WRITING_S = 0.0
        tiers.sweep()


class Backup(Memories):
    @property
    def folder(self) -> Path:
        return Path(settings.DATA_DIR) / f"backups-{self.slug}"

    def act(self) -> None:
        backups.create(self.folder)

    def check(self) -> None:
        time.sleep(1 - time.time() % 1)  # a backup's name contains the time in seconds
        made = backups.create(self.folder)
        assert backups.verify(made).tables
        for complete in self.folder.iterdir():
            assert complete.suffix != ".partial", complete
            backups.verify(complete)
        shutil.rmtree(self.folder)


class Erase(Memories):
    def prepare(self) -> None:
        super().prepare()
        drain_all()
        conversations.create(self.caller, NewConversation("Zoo", "/", messages=[NewMessage("user", "hello")]))
        self._id_file.write_text(str(self.tenant.id))

    @property
    def _id_file(self) -> Path:
        return Path(settings.DATA_DIR) / f"id-{self.slug}"

    def act(self) -> None:
        self._erase()

    def check(self) -> None:
        self._erase()
        erasure.CONFIRM_AFTER = timedelta(0)
        erasure.confirm()
        gone = Tenant(id=UUID(self._id_file.read_text()))
        left = {model._meta.db_table: registry.rows(model, gone).count() for model in registry.tenant_models()}
        assert not any(left.values()), left
        assert not Tenant.objects.filter(slug=self.slug).exists()
        assert not ErasedTenant.objects.filter(tenant_id=gone.id, confirmed_at=None).exists()
        assert dict(index.of(generations.active()).scan(gone.id)) == {}
        assert self._erase().total == 0

    def _erase(self) -> erasure.Receipt:
        return erasure.erase(Caller.command(Tenant.objects.get(slug="default")), self.slug)


def drain_all() -> None:
    """Bring the index up to date, as a server does after it has started."""
    for _ in range(ATTEMPTS):
        drain.release_leases()
        while drain.drain():
            pass
        if not VectorEmbedding.all_tenants.filter(~Q(due_at=None)).exists():
            return
    raise AssertionError("the index did not catch up")


def _hurry() -> None:
    """Do not wait for other processes' caches to expire, because there is only one process."""
    settings.GENERATION_CACHE_S = 0
    rebuild.GRACE_S, jobs.BEAT_S = 0, 0.01
    generations._cache = TTLCache(maxsize=1, ttl=0.01)


def _advance() -> None:
    """Run all steps of the open job, with a drain after each."""
    until = time.monotonic() + 60
    while Job.objects.filter(jobs.OPEN).exists():
        assert time.monotonic() < until, list(Job.objects.values("data", "error"))
        try:
            jobs.advance()
            drain.drain()
        except Unavailable:
            pass
        time.sleep(0.1)


SCENARIOS: dict[str, Callable[[str], Scenario]] = {
    "installation": Installation,
    "drain": Memories,
    "rebuild": Rebuild,
    "tiers": Tiers,
    "backup": Backup,
    "erase": Erase,
}

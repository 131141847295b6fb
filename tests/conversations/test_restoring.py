# ruff: noqa: F811 - the fixture
"""Deleted conversations are restored as they were, until the retention period has ended."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations import restoring
from conversations.enrichment import entities, worker
from conversations.lifecycle import tiers
from conversations.models import ColdFile, DeletedConversation
from graph.models import Link
from memories.models import Memory
from tenants import usage
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant
from testing.chat_provider import ChatProvider, fails
from tests.conftest import Api, drain, issue_key, problem_of
from tests.conversations.enrichment.test_fact_changes import create_conversation_with_facts, facts_from_messages
from tests.conversations.enrichment.test_facts import a_fact_of_each, ask, due_now, facts_of, names
from tests.conversations.enrichment.test_summaries import provider  # noqa: F401 - a fixture
from tests.conversations.lifecycle.test_tiers import cold, cold_folder, files, row_of  # noqa: F401 - a fixture
from tests.support.conversations import ROOT, begin, contents, link, query

pytestmark = pytest.mark.django_db

SAID = ("the aardvark digs", "the badger sleeps")


def delete(api: Api, id: str) -> None:
    assert api.delete(f"{ROOT}/{id}").status_code == 200


def restore(api: Api, id: str) -> Any:
    response = api.post(f"{ROOT}/{id}/restore")
    assert response.status_code == 200, response.content
    return response.json()


def deleted(api: Api, query: str = "") -> Any:
    response = api.get(f"{ROOT}/deleted{query}")
    assert response.status_code == 200, response.content
    return response.json()


def links_of(api: Api) -> list[Any]:
    columns = ("namespace", "from_key", "to_key", "link_type", "user_id")
    return sorted(Link.objects.for_tenant(api.tenant).values_list(*columns))


def test_a_restored_conversation_is_as_it_was(api: Api) -> None:
    made = begin(api, *SAID, label="Zoo", folder="/animals", user_id="ada", metadata={"n": 1e300})
    link(api, f"{made['number']},1", f"{made['number']},2")
    before = api.get(f"{ROOT}/{made['id']}").json()
    delete(api, made["id"])
    drain()

    restored = restore(api, made["id"])
    drain()

    changed = {"updated_at": restored["updated_at"]}
    assert api.get(f"{ROOT}/{made['id']}").json() == {**before, **changed}
    assert contents(api, made["id"]) == list(SAID)
    assert query(api, "aardvark")[0] == SAID[0]
    assert Link.objects.for_tenant(api.tenant).count() == 1
    assert made["id"] in [row["id"] for row in api.get(ROOT).json()["results"]]
    actions = AuditEvent.objects.filter(tenant=api.tenant, target=made["id"]).order_by("id")
    assert list(actions.values_list("action", flat=True))[-2:] == ["conversation.delete", "conversation.restore"]


def test_messages_are_appended_after_a_restore(api: Api) -> None:
    id = begin(api, *SAID)["id"]
    delete(api, id)
    restore(api, id)

    added = api.post(f"{ROOT}/{id}/messages", {"messages": [{"role": "user", "content": "and now?"}]}).json()

    assert added["items"][0]["turn"] == 3


def test_facts_are_restored_with_their_links_and_entities_and_not_extracted_again(
    api: Api, provider: ChatProvider
) -> None:
    provider.default = a_fact_of_each
    made = begin(api, "I am Ada and I live in Bern.", "I ordered a heater.", user_id="ada")
    ask(api, made["id"])
    worker.run()
    links, facts = links_of(api), facts_of(api, made["id"])
    delete(api, made["id"])
    assert (names(api), links_of(api)) == ([], [])

    restore(api, made["id"])

    assert names(api) == ["Ada Lovelace", "Bern"]
    assert links_of(api) == links
    after = facts_of(api, made["id"])
    assert [fact["id"] for fact in after["items"]] == [fact["id"] for fact in facts["items"]]
    assert (after["state"], after["read_to_turn"]) == ("done", 2)
    asked = len(provider.requests)
    worker.run()
    assert len(provider.requests) == asked


def test_a_requested_extraction_of_facts_continues_after_a_restore(api: Api, provider: ChatProvider) -> None:
    provider.script = [fails(401)]
    provider.default = a_fact_of_each
    first, second = (ask(api, begin(api, *SAID)["id"])["conversation_id"] for _ in range(2))
    worker.run()
    before = [facts_of(api, id) for id in (first, second)]
    assert [found["state"] for found in before] == ["waiting", "done"]

    for id in (first, second):
        delete(api, id)
        restore(api, id)
    assert [facts_of(api, id) for id in (first, second)] == before
    due_now(api)
    worker.run()

    assert facts_of(api, first)["state"] == "done"


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_restored_fact_is_linked_to_the_facts_that_supersede_it_or_that_it_supersedes(
    api: Api, provider: ChatProvider, deleted: int
) -> None:
    provider.default = facts_from_messages(1.0)
    older = create_conversation_with_facts(api, "Ada lives in Zurich", day=1)
    newer = create_conversation_with_facts(api, "Ada moved to Bern", day=2)
    links = Link.objects.for_tenant(api.tenant).filter(link_type="supersedes")
    content = links.values_list("from_key", "to_key", "metadata", "user_id")
    before = content.get()
    id = (older, newer)[deleted]

    delete(api, id)
    assert not links.exists()
    restore(api, id)

    assert content.get() == before


def test_a_purged_entity_is_restored_without_its_kind(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    first, second = (begin(api, "I am Ada.") for _ in range(2))
    for made in (first, second):
        ask(api, made["id"])
    worker.run()
    delete(api, first["id"])
    assert api.delete(f"{ROOT}/{second['id']}?purge=true").status_code == 200

    restore(api, first["id"])

    kinds = Memory.objects.for_tenant(api.tenant).filter(
        coordinate_key=entities.address("Ada Lovelace").key, deleted_at=None
    )
    assert [row.payload["kind"] for row in kinds] == ["other"]


def test_a_fact_deleted_before_the_conversation_stays_deleted(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    made = begin(api, "I am Ada.", "I live in Bern.")
    ask(api, made["id"])
    worker.run()
    wrong, right = facts_of(api, made["id"])["items"]
    long_ago = timezone.now() - timedelta(minutes=1)
    Memory.objects.for_tenant(api.tenant).filter(id=wrong["id"]).update(deleted_at=long_ago)
    delete(api, made["id"])

    restore(api, made["id"])

    assert [fact["id"] for fact in facts_of(api, made["id"])["items"]] == [right["id"]]


def test_a_cold_conversation_uses_its_file_again(api: Api, cold_folder: Path) -> None:
    id = cold(api, *SAID)
    link(api, f"{row_of(id).number},1", f"{row_of(id).number},2")
    delete(api, id)
    ColdFile.all_tenants.filter(dropped_at__lte=timezone.now() + tiers.GRACE).delete()
    tiers.sweep()

    assert restore(api, id)["tier"] == "cold"

    assert contents(api, id) == list(SAID)
    assert len(files(cold_folder)) == 1
    assert Link.objects.for_tenant(api.tenant).filter(namespace="conversations").count() == 1


def test_a_cold_conversation_without_its_file_is_not_restored(api: Api, cold_folder: Path) -> None:
    id = cold(api, *SAID)
    delete(api, id)
    ColdFile.all_tenants.all().delete()

    problem_of(api.post(f"{ROOT}/{id}/restore"), 503, code="cold_file_damaged")

    problem_of(api.get(f"{ROOT}/{id}"), 404)


def test_deleted_conversations_are_listed_until_the_retention_period_is_over(api: Api, settings: Any) -> None:
    ids = [begin(api, "x", label=f"Zoo {number}")["id"] for number in range(3)]
    for id in ids:
        delete(api, id)

    first = deleted(api, "?limit=2")
    rest = deleted(api, f"?limit=2&cursor={first['next_cursor']}")

    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert [item["conversation"]["label"] for item in first["items"]] == ["Zoo 2", "Zoo 1"]
    assert rest["next_cursor"] is None
    problem_of(api.get(f"{ROOT}/deleted?cursor=abc"), 422, field="cursor")
    DeletedConversation.all_tenants.update(deleted_at=timezone.now() - timedelta(days=settings.RETENTION_DAYS))
    assert deleted(api)["items"] == []
    problem_of(api.post(f"{ROOT}/{ids[0]}/restore"), 404)
    assert restoring.forget_expired() == 3
    assert not DeletedConversation.all_tenants.exists()


def test_a_conversation_that_was_purged_or_never_deleted_is_not_restored(api: Api) -> None:
    purged, live = begin(api, "x")["id"], begin(api, "y")["id"]
    delete(api, purged)
    assert api.delete(f"{ROOT}/{purged}?purge=true").status_code == 200

    for id in (purged, live, str(uuid.uuid4())):
        problem_of(api.post(f"{ROOT}/{id}/restore"), 404)


def test_a_conversation_deleted_by_an_older_release_is_listed_and_cannot_be_restored(api: Api) -> None:
    id = begin(api, "x")["id"]
    delete(api, id)
    DeletedConversation.all_tenants.update(snapshot=None)

    assert [(item["id"], item["conversation"]) for item in deleted(api)["items"]] == [(id, None)]
    problem = problem_of(api.post(f"{ROOT}/{id}/restore"), 409)
    assert "older release" in problem["detail"]


def test_an_external_id_that_has_been_reused_prevents_a_restore(api: Api) -> None:
    path = f"{ROOT}/by-external-id/chat-1"
    id = api.request("PUT", path, {"label": "first"}).json()["id"]
    delete(api, id)
    api.request("PUT", path, {"label": "second"})

    problem = problem_of(api.post(f"{ROOT}/{id}/restore"), 409)

    assert "'chat-1'" in problem["detail"]
    assert [item["id"] for item in deleted(api)["items"]] == [id]


def test_a_conversation_with_purged_messages_is_not_partially_restored(api: Api) -> None:
    id = begin(api, *SAID)["id"]
    delete(api, id)
    Memory.objects.for_tenant(api.tenant).filter(payload__content=SAID[1]).delete()

    problem_of(api.post(f"{ROOT}/{id}/restore"), 409)

    assert not Memory.objects.for_tenant(api.tenant).filter(deleted_at=None).exists()


def test_a_key_of_one_user_restores_only_that_users_conversations(api: Api) -> None:
    hers, his = (begin(api, "x", user_id=user)["id"] for user in ("ada", "bob"))
    for id in (hers, his):
        delete(api, id)
    ada = Api(issue_key(api.tenant, user_id="ada", scopes=("read", "write")), api.tenant)

    assert [item["id"] for item in deleted(ada)["items"]] == [hers]
    problem_of(ada.post(f"{ROOT}/{his}/restore"), 404)
    assert restore(ada, hers)["user_id"] == "ada"


def test_a_deletion_and_a_restore_keep_the_recorded_usage_exact(api: Api, cold_folder: Path) -> None:
    api.tenant.quota_memories = api.tenant.quota_bytes = 10**9
    api.tenant.save()
    ids = [begin(api, *SAID, label="Zoo")["id"], cold(api, *SAID)]
    usage.recount(api.tenant)

    def assert_exact() -> None:
        recorded = usage.stored(api.tenant)
        usage.recount(api.tenant)
        assert usage.stored(api.tenant) == recorded

    for id in ids:
        delete(api, id)
        assert_exact()
        restore(api, id)
        assert_exact()
        delete(api, id)
        assert api.delete(f"{ROOT}/{id}?purge=true").status_code == 200
        assert_exact()


def test_two_processes_that_forget_a_deleted_conversation_subtract_it_from_the_usage_once(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=10**9)
    api.tenant.refresh_from_db()
    delete(api, begin(api, *SAID)["id"])
    usage.recount(api.tenant)
    rows = [DeletedConversation.objects.for_tenant(api.tenant).get() for _ in range(2)]

    for row in rows:
        restoring.forget(Caller.retention(api.tenant), row)

    assert usage.stored(api.tenant) == usage.counted(api.tenant)


def test_a_restore_takes_the_same_statements_for_any_number_of_messages(api: Api) -> None:
    def statements(count: int) -> int:
        id = begin(api, *(f"message {number}" for number in range(count)))["id"]
        delete(api, id)
        with CaptureQueriesContext(connection) as captured:
            restore(api, id)
        return len(captured)

    statements(1)  # fills the caches
    assert statements(2) == statements(60)

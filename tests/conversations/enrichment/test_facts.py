# ruff: noqa: F811 - the fixture
"""Facts from conversations, their entities, and automatic labels."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from conversations import llm
from conversations.enrichment import auto_label, entities, facts, labels, queue, worker
from conversations.enrichment.labels import Suggestion
from conversations.lifecycle import tiers
from conversations.llm.base import ChatModel
from conversations.models import Chore, Conversation, LlmCall
from graph.models import Link
from memories import large_rows, retention
from memories.models import Memory
from somamemory.db import sqlstate
from somamemory.errors import LlmAnswerInvalid, LlmBudgetExceeded, LlmUnavailable, QuotaExceeded
from tenants import keys
from tenants.caller import Caller
from tenants.models import Tenant
from testing.chat_provider import Behaviour, Body, ChatProvider, answers, dies, fails, hangs, says
from tests.conftest import Api, problem_of
from tests.conversations.enrichment.test_summaries import HOSTILE, provider  # noqa: F401 - a fixture
from tests.operations.test_database_trouble import fail_first, failing_with
from tests.support.conversations import ROOT, begin, said

ADA = {"name": "Ada Lovelace", "kind": "person"}
BERN = {"name": "Bern", "kind": "place"}


def a_fact_of_each(body: Body) -> Any:
    """Return one fact per message, about Ada and Bern."""
    prompt = json.loads(next(message["content"] for message in body["messages"] if message["role"] == "user"))
    found = [
        {"turn": message["turn"], "fact": f"Ada said: {message['text'][:60]}", "entities": [ADA, BERN]}
        for message in prompt["messages"]
    ]
    return says({"facts": found}, (3_000, 500))(body)


def one_fact(turn: int = 1, **more: Any) -> Behaviour:
    return says({"facts": [{"turn": turn, "fact": "Ada ordered a heater.", "entities": [ADA], **more}]})


def ask(api: Api, id: str, status: int = 202) -> dict[str, Any]:
    response = api.post(f"{ROOT}/{id}/facts")
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    return body


def facts_of(api: Api, id: str, query: str = "") -> dict[str, Any]:
    response = api.get(f"{ROOT}/{id}/facts{query}")
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def stored(api: Api) -> list[Memory]:
    rows = Memory.objects.for_tenant(api.tenant).filter(namespace="facts", deleted_at=None)
    return list(rows.order_by("coordinate_key"))


def names(api: Api) -> list[str]:
    return sorted(row.payload["title"] for row in stored(api) if "title" in row.payload)


def snapshot(api: Api) -> list[Any]:
    links = Link.objects.for_tenant(api.tenant).order_by("id").values_list("id", "updated_at")
    return [[(row.id, row.version) for row in stored(api)], list(links)]


def due_now(api: Api) -> None:
    Chore.objects.for_tenant(api.tenant).filter(due_at__isnull=False).update(due_at=timezone.now())


# --- Facts -------------------------------------------------------------------------------------------------------


def test_without_a_language_model_facts_are_refused(api: Api) -> None:
    id = begin(api, "Ada ordered a heater in Bern.")["id"]

    problem_of(api.post(f"{ROOT}/{id}/facts"), 409, code="llm_missing")

    assert facts_of(api, id)["state"] == "none"


def test_facts_are_stored_with_their_source_and_what_they_mention(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    made = begin(api, "I am Ada and I live in Bern.", "I ordered a heater.")
    assert ask(api, made["id"])["state"] == "queued"

    assert worker.run() == 1

    found = facts_of(api, made["id"])
    assert (found["state"], found["read_to_turn"], found["facts"]) == ("done", 2, 2)
    assert [(fact["turn"], fact["entities"], fact["model"]) for fact in found["items"]] == [
        (1, ["Ada Lovelace", "Bern"], "tiny"),
        (2, ["Ada Lovelace", "Bern"], "tiny"),
    ]
    number = made["number"]
    assert [result["coord"] for result in found["items"]] == [f"{number}.0,1.0,1.0", f"{number}.0,2.0,1.0"]
    assert names(api) == ["Ada Lovelace", "Bern"]
    assert all(row.memory_type == "semantic" for row in stored(api))
    links = Link.objects.for_tenant(api.tenant).filter(namespace="facts")
    first = found["items"][0]["coord"]
    assert {(link.link_type, link.end.text) for link in links if link.start.text == first} == {
        ("stated_in", f"{number}.0,1.0"),
        ("mentions", entities.address("Ada Lovelace").text),
        ("mentions", entities.address("Bern").text),
    }
    said_at = api.get(f"{ROOT}/{made['id']}/messages").json()["items"][0]["timestamp"]
    assert found["items"][0]["timestamp"] == said_at


def test_facts_are_found_by_searches_and_walks(api: Api, provider: ChatProvider) -> None:
    provider.default = one_fact()
    id = begin(api, "We need warmth.")["id"]
    ask(api, id)
    worker.run()

    [best, *_] = api.search("who ordered a heater?", namespace="facts")
    assert best["payload"]["text"] == "Ada ordered a heater."
    around = api.get(f"/graph/neighbors?namespace=facts&coord={best['coord']}&link_type=mentions&include_memory=true")
    assert around.json()["neighbors"][0]["memory"]["payload"] == {"title": "Ada Lovelace", "kind": "person"}


def test_a_cold_conversation_is_restored_to_be_read(
    api: Api, provider: ChatProvider, settings: Any, tmp_path: Path
) -> None:
    settings.STORAGES = {**settings.STORAGES, "cold": settings.STORAGES["cold"] | {"OPTIONS": {"location": tmp_path}}}
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    api.request("PUT", f"{ROOT}/{id}/archive")
    Conversation.all_tenants.filter(id=id).update(summarise_at=None)
    assert tiers.freeze(Caller(api.tenant, "schedule", frozenset(("read", "write"))), uuid.UUID(id))

    ask(api, id)
    worker.run()

    assert [fact["turn"] for fact in facts_of(api, id)["items"]] == [1, 2]
    assert Conversation.all_tenants.get(id=id).tier == "archived"


def test_a_second_run_adds_nothing_and_calls_no_model(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    ask(api, id)
    worker.run()
    before = snapshot(api)

    assert ask(api, id, 200)["state"] == "done"
    assert worker.run() == 0

    assert snapshot(api) == before
    assert len(provider.requests) == 1


def test_a_longer_conversation_is_read_from_where_it_ended(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    ask(api, id)
    worker.run()
    before = stored(api)
    api.post(f"{ROOT}/{id}/messages", {"messages": said("three")})

    ask(api, id)
    worker.run()

    assert facts_of(api, id)["facts"] == 3
    assert {(row.id, row.version) for row in before} <= {(row.id, row.version) for row in stored(api)}
    assert '"turn":3' in provider.prompt(1)
    assert '"turn":1' in provider.prompt(1).partition('"messages"')[0]  # as context for the new one


def test_a_long_conversation_is_read_in_parts(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    id = begin(api, *(f"note {number}" for number in range(1, 48)))["id"]
    ask(api, id)

    assert worker.run() == 3

    assert facts_of(api, id)["facts"] == 47
    assert len(provider.requests) == 3
    pages = facts_of(api, id, "?limit=30")
    assert len(facts_of(api, id, f"?limit=30&cursor={pages['next_cursor']}")["items"]) == 17


def test_only_the_beginning_of_a_long_message_is_read_and_reported(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "x " * 40_000, "short")["id"]
    ask(api, id)
    worker.run()

    assert (facts_of(api, id)["cut"], facts_of(api, id)["facts"]) == (1, 2)
    assert all(len(provider.prompt(at)) < 3 * facts.MAX_PROMPT_TOKENS + 2_000 for at in range(len(provider.requests)))


def test_a_fact_without_a_source_is_left_out_and_counted(api: Api, provider: ChatProvider) -> None:
    good = {"turn": 1, "fact": "Ada ordered a heater.", "entities": []}
    provider.default = says({"facts": [good, {**good, "turn": 99}, {**good, "turn": 0}, good]})
    id = begin(api, "hello")["id"]
    ask(api, id)
    worker.run()

    found = facts_of(api, id)
    assert (found["facts"], found["left_out"], len(found["items"])) == (1, 2, 1)


def test_an_entity_is_one_memory_in_all_conversations_that_mention_it(api: Api, provider: ChatProvider) -> None:
    provider.script = [
        one_fact(entities=[ADA]),
        one_fact(entities=[{"name": "  ADA   lovelace. ", "kind": "other"}, {"name": "...", "kind": "other"}]),
    ]
    for _ in range(2):
        ask(api, begin(api, "hello")["id"])
    worker.run()

    assert names(api) == ["Ada Lovelace"]
    assert Link.objects.for_tenant(api.tenant).filter(link_type="mentions").count() == 2


@bounded(deadline=None)
@given(st.text(max_size=60))
def test_normalising_a_name_twice_changes_nothing_and_each_name_has_its_own_address(name: str) -> None:
    once = entities.normal(name)

    assert entities.normal(f' "{once.upper()}"') == entities.normal(once.upper())
    assert entities.address(name).numbers[0] == 0
    assert entities.address(name) == entities.address(f"({name})  ")


def test_only_the_fact_routes_write_to_the_reserved_namespace(api: Api) -> None:
    problem_of(api.post("/memories", {"coord": "1,1,1", "payload": {}, "namespace": "facts"}), 422, field="namespace")


# --- Failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (fails(429), "llm_unavailable"),
        (fails(500), "llm_unavailable"),
        (dies, "llm_unavailable"),
        (hangs, "llm_unavailable"),
        (fails(400), "llm_refused"),
        (answers("<html>"), "llm_answer_invalid"),
        (says("no facts here"), "llm_answer_invalid"),
        (says({"facts": [{"turn": "1", "fact": "x", "entities": []}]}), "llm_answer_invalid"),
        (says({"facts": [{"turn": 1, "fact": "a\x00b", "entities": []}]}), "llm_answer_invalid"),
        (says({"facts": [{"turn": 1, "fact": "x" * 501, "entities": []}]}), "llm_answer_invalid"),
        (says({"facts": [{"turn": 1, "fact": "x", "entities": [{"name": "A", "kind": "god"}]}]}), "llm_answer_invalid"),
    ],
)
def test_an_error_of_the_provider_is_reported_and_stores_nothing(
    api: Api,
    provider: ChatProvider,
    settings: Any,
    behaviour: Any,
    code: str,
) -> None:
    settings.LLM_TIMEOUT_S = 0.3
    llm.create.cache_clear()
    provider.default = behaviour
    id = begin(api, "Ada ordered a heater.")["id"]
    ask(api, id)

    assert worker.run() == 1

    found = facts_of(api, id)
    assert (found["state"], found["error"], found["items"]) == ("waiting", code, [])
    assert stored(api) == []


def test_work_continues_when_the_provider_recovers(api: Api, provider: ChatProvider) -> None:
    provider.default = one_fact()
    provider.script = [fails(401)]
    id = begin(api, "hello")["id"]
    ask(api, id)
    worker.run()
    assert facts_of(api, id)["state"] == "waiting"

    due_now(api)
    worker.run()

    assert (facts_of(api, id)["state"], facts_of(api, id)["facts"], facts_of(api, id)["error"]) == ("done", 1, None)


def test_a_conversation_that_does_not_work_keeps_no_other_waiting(api: Api, provider: ChatProvider) -> None:
    provider.default = lambda body: (says("no") if "poison" in str(body) else a_fact_of_each)(body)
    bad, good = (begin(api, text)["id"] for text in ("poison", "fine"))
    for id in (bad, good):
        ask(api, id)
    worker.run()

    assert (facts_of(api, bad)["state"], facts_of(api, good)["state"]) == ("waiting", "done")


NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "attempts", "after"),
    [
        (LlmUnavailable(), 1, timedelta(minutes=1)),
        (LlmUnavailable(), 4, timedelta(minutes=8)),
        (LlmUnavailable(), 1_000, timedelta(hours=1)),
        (LlmAnswerInvalid(), 4, timedelta(minutes=8)),
        (LlmAnswerInvalid(), 5, None),
        (LlmBudgetExceeded("", 86_400), 9, timedelta(days=1)),
        (QuotaExceeded(), 1, None),
        (ZeroDivisionError(), 4, timedelta(minutes=8)),
        (ZeroDivisionError(), 5, None),
    ],
)
def test_the_delay_grows_with_each_failed_attempt(error: Any, attempts: int, after: timedelta | None) -> None:
    assert worker.retry_at(error, attempts, NOW) == (after and NOW + after)


def test_the_job_stops_at_the_budget_and_continues_with_a_larger_one(
    api: Api,
    operator: Api,
    provider: ChatProvider,
) -> None:
    provider.default = a_fact_of_each
    id = begin(api, *(f"note {number}" for number in range(1, 42)))["id"]
    operator.patch("/api/v1/tenants/acme", {"quotas": {"llm_tokens_per_month": 6_000}})
    api.tenant.refresh_from_db()
    ask(api, id)
    worker.run()

    stopped = facts_of(api, id)
    assert (stopped["state"], stopped["error"]) == ("waiting", "llm_budget_exceeded")
    assert stopped["facts"] == 20
    assert stopped["due_at"] > timezone.now().isoformat()

    operator.patch("/api/v1/tenants/acme", {"quotas": {"llm_tokens_per_month": None}})
    ask(api, id)
    worker.run()
    assert (facts_of(api, id)["state"], facts_of(api, id)["facts"]) == ("done", 41)


def test_a_job_that_is_killed_before_it_has_stored_anything_is_done_again(
    api: Api,
    provider: ChatProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    ask(api, id)
    with monkeypatch.context() as killed:
        killed.setattr(facts, "_write", _die)
        with pytest.raises(KeyboardInterrupt):
            worker.run()
    assert stored(api) == []
    assert facts_of(api, id)["state"] == "running"  # until its lease ends
    assert worker.run() == 0

    Chore.objects.for_tenant(api.tenant).update(lease_until=timezone.now() - timedelta(seconds=1))
    worker.run()
    assert facts_of(api, id)["facts"] == len(facts_of(api, id)["items"]) == 2


def _die(*args: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def requested(api: Api, provider: ChatProvider) -> str:
    """A conversation with one message. Its facts have been requested but not yet extracted."""
    provider.default = a_fact_of_each
    id: str = begin(api, "one")["id"]
    ask(api, id)
    return id


def test_a_bug_after_a_paid_call_ends_the_chore_after_five_attempts(
    api: Api, provider: ChatProvider, requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(facts, "_write", fail)
    for _ in range(worker.MAX_ATTEMPTS):
        with pytest.raises(ZeroDivisionError):
            worker.run()
        due_now(api)
    assert worker.run() == 0

    result = facts_of(api, requested)
    assert (result["state"], result["error"]) == ("failed", "internal_error")
    assert len(provider.requests) == worker.MAX_ATTEMPTS


def test_an_outage_does_not_count_towards_the_five_attempts(
    api: Api, requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = []

    def fail(*args: object) -> None:
        raise errors.pop(0)

    def fail_with(error: Exception, times: int) -> str:
        errors.extend([error] * times)
        for _ in range(times):
            due_now(api)
            assert worker.run() == 1
        return str(facts_of(api, requested)["state"])

    monkeypatch.setattr(facts, "_ask", fail)
    assert fail_with(LlmUnavailable("down"), worker.MAX_ATTEMPTS) == "waiting"
    assert fail_with(LlmAnswerInvalid("no JSON"), worker.MAX_ATTEMPTS - 1) == "waiting"
    assert fail_with(LlmUnavailable("down"), worker.MAX_ATTEMPTS) == "waiting"
    assert fail_with(LlmAnswerInvalid("no JSON"), 1) == "failed"


def test_after_a_failure_the_model_is_asked_about_half_as_many_messages(
    api: Api, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask_model(caller: Caller, model: ChatModel, conversation: Conversation, window: facts._Window) -> list[Any]:
        asked.append(len(window.messages))
        if "poison" in window.messages[-1].text:
            raise LlmAnswerInvalid("no JSON")
        return []

    monkeypatch.setattr(facts, "_ask", ask_model)
    id = begin(api, *["fine"] * 5, *["poison"] * 15)["id"]
    ask(api, id)
    while worker.run():
        due_now(api)

    assert asked == [20, 10, 5, 15, 10, 5, 2, 1, *[1] * facts._MAX_REFUSED]
    found = facts_of(api, id)
    assert (found["state"], found["error"], found["read_to_turn"]) == ("failed", "llm_answer_invalid", 5)


def refuses_poison(body: Body) -> Any:
    return (fails(400) if "poison" in str(body) else a_fact_of_each)(body)


def work_until_nothing_is_due(api: Api) -> None:
    while worker.run():
        due_now(api)


def test_messages_that_the_model_always_refuses_are_skipped_and_counted(
    api: Api, provider: ChatProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.default = refuses_poison
    id = begin(api, "one", "poison", "more poison", "four", "five", "six", "seven")["id"]
    ask(api, id)
    work_until_nothing_is_due(api)

    found = facts_of(api, id)
    assert (found["state"], found["error"], found["read_to_turn"], found["cut"]) == ("done", None, 7, 2)
    assert [fact["turn"] for fact in found["items"]] == [1, 4, 5, 6, 7]
    [record] = [record for record in caplog.records if record.message == "the language model refused messages"]
    assert (record.__dict__["conversation_id"], record.__dict__["turn"], record.__dict__["count"]) == (id, 2, 2)


def test_a_skipped_message_is_not_sent_again(api: Api, provider: ChatProvider) -> None:
    provider.default = refuses_poison
    id = begin(api, "poison", "two", "three", "four")["id"]
    ask(api, id)
    work_until_nothing_is_due(api)
    paid = len(provider.requests)

    for text in ("five", "six"):
        api.post(f"{ROOT}/{id}/messages", {"messages": said(text)})
        ask(api, id)
        work_until_nothing_is_due(api)

    assert len(provider.requests) == paid + 2
    assert [fact["turn"] for fact in facts_of(api, id)["items"]] == [2, 3, 4, 5, 6]


def test_no_message_is_skipped_while_the_model_rejects_every_request(api: Api, provider: ChatProvider) -> None:
    provider.default = fails(400)
    id = begin(api, *(f"note {number}" for number in range(1, 31)))["id"]
    ask(api, id)
    work_until_nothing_is_due(api)
    stopped = facts_of(api, id)
    assert (stopped["state"], stopped["error"], stopped["read_to_turn"]) == ("failed", "llm_refused", 0)

    provider.default = a_fact_of_each
    ask(api, id)
    work_until_nothing_is_due(api)

    assert (facts_of(api, id)["facts"], facts_of(api, id)["cut"]) == (30, 0)


def test_an_outage_never_skips_a_message(api: Api, provider: ChatProvider) -> None:
    provider.default = refuses_poison
    id = begin(api, "poison", "two", "three")["id"]
    ask(api, id)
    while (chore := Chore.objects.for_tenant(api.tenant).get()).attempts < worker.MAX_ATTEMPTS:
        due_now(api)
        leased = queue.take()
        assert leased is not None
        worker.attempt(leased)
    assert (chore.turn, chore.error) == (0, "llm_refused")

    for behaviour in (fails(401), dies):
        provider.script = [behaviour]
        due_now(api)
        worker.run()
        found = facts_of(api, id)
        assert (found["state"], found["read_to_turn"], found["cut"]) == ("waiting", 0, 0)
    due_now(api)
    work_until_nothing_is_due(api)

    found = facts_of(api, id)
    assert (found["state"], found["cut"], [fact["turn"] for fact in found["items"]]) == ("done", 1, [2, 3])


def test_two_who_do_the_same_at_the_same_time_store_it_once(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    ask(api, id)
    chore = queue.take()
    assert chore is not None
    Chore.objects.for_tenant(api.tenant).update(lease_until=timezone.now() - timedelta(seconds=1))
    other = queue.take()
    assert other is not None
    assert chore.lease != other.lease

    assert worker.attempt(other) is None
    before = snapshot(api)
    assert worker.attempt(chore) is None

    assert snapshot(api) == before
    assert len(provider.requests) == 2
    assert facts_of(api, id)["facts"] == 2


@pytest.mark.django_db(transaction=True)
def test_servers_that_work_side_by_side_read_each_message_once(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    ids = [begin(api, f"first {number}", "second")["id"] for number in range(6)]
    for id in ids:
        ask(api, id)

    def work() -> None:
        try:
            worker.run()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    due_now(api)
    worker.run()

    assert [facts_of(api, id)["facts"] for id in ids] == [2] * 6
    assert len([row for row in stored(api) if "text" in row.payload]) == 12
    assert names(api) == ["Ada Lovelace", "Bern"]


@pytest.mark.django_db(transaction=True)
def test_facts_that_lost_a_deadlock_are_stored_again_without_another_request(
    api: Api, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one", "two")["id"]
    ask(api, id)
    fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))

    assert worker.run() == 1

    assert (facts_of(api, id)["state"], facts_of(api, id)["facts"]) == ("done", 2)
    assert len(provider.requests) == 1


def during_first_request(monkeypatch: pytest.MonkeyPatch, room: Any, name: str, happens: Callable[[], object]) -> None:
    """Call `happens` during the first request to the model."""
    ask, left = getattr(room, name), [happens]

    def interrupted(*arguments: Any) -> Any:
        if left:
            left.pop()()
        return ask(*arguments)

    monkeypatch.setattr(room, name, interrupted)


def test_a_message_that_comes_while_the_model_thinks_is_not_forgotten(
    api: Api, requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"messages": said("two")}
    during_first_request(monkeypatch, facts, "_ask", lambda: api.post(f"{ROOT}/{requested}/messages", more))
    worker.run()

    assert (facts_of(api, requested)["state"], facts_of(api, requested)["facts"]) == ("done", 2)


def test_a_message_that_comes_while_the_model_refuses_for_the_last_time_is_read(
    api: Api, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(extract_facts=True)
    id = begin(api, "one")["id"]
    due_now(api)
    provider.default = fails(400)
    for _ in range(worker.MAX_ATTEMPTS - 1):
        worker.run()
        due_now(api)
    more = {"messages": said("two")}
    during_first_request(monkeypatch, facts, "_ask", lambda: api.post(f"{ROOT}/{id}/messages", more))
    provider.script = [fails(400), fails(400)]  # with and without a schema
    provider.default = one_fact(2)

    worker.run()

    found = facts_of(api, id)
    assert (found["state"], found["cut"], found["facts"]) == ("done", 1, 1)


def test_facts_that_expire_while_the_model_thinks_are_not_stored(
    api: Api, provider: ChatProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.default = one_fact()
    id = begin(api, "one")["id"]
    expired = {facts.INHERITED: {"expires_at": "2026-01-01T00:00:00Z"}}
    during_first_request(monkeypatch, facts, "_ask", lambda: api.patch(f"{ROOT}/{id}", {"metadata": expired}))
    ask(api, id)

    worker.run()

    assert (facts_of(api, id)["state"], facts_of(api, id)["facts"]) == ("done", 0)


# --- Deleted sources ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purge", [False, True])
def test_facts_go_with_their_conversation_and_entities_with_the_last_fact(
    api: Api,
    provider: ChatProvider,
    purge: bool,
) -> None:
    provider.script = [one_fact(entities=[ADA, BERN]), one_fact(entities=[BERN])]
    first, second = (begin(api, "hello")["id"] for _ in range(2))
    for id in (first, second):
        ask(api, id)
        worker.run()

    api.delete(f"{ROOT}/{first}?purge={str(purge).lower()}")

    assert names(api) == ["Bern"]
    assert [row.payload["conversation_id"] for row in stored(api) if "text" in row.payload] == [second]
    assert Link.objects.for_tenant(api.tenant).filter(namespace="facts").count() == 2
    assert not Chore.objects.for_tenant(api.tenant).filter(conversation_id=first).exists()
    api.delete(f"{ROOT}/{second}?purge={str(purge).lower()}")
    assert stored(api) == []
    left = Memory.objects.for_tenant(api.tenant).filter(namespace="facts").count()
    assert left == 0 if purge else left == 4


def test_an_entity_goes_with_the_last_fact_that_mentions_it(api: Api, provider: ChatProvider, caller: Caller) -> None:
    provider.default = a_fact_of_each
    ids = [ask(api, begin(api, text)["id"])["conversation_id"] for text in ("one", "two")]
    worker.run()
    first, second = (uuid.UUID(facts_of(api, id)["items"][0]["id"]) for id in ids)

    facts.withdraw(caller, [first])
    assert names(api) == ["Ada Lovelace", "Bern"]

    facts.withdraw(caller, [second])
    assert names(api) == []


def test_withdrawing_many_facts_takes_as_many_statements_as_withdrawing_one(
    api: Api, provider: ChatProvider, caller: Caller
) -> None:
    provider.default = a_fact_of_each
    id = ask(api, begin(api, "one", "two", "three", "four", "five")["id"])["conversation_id"]
    worker.run()
    ids = [uuid.UUID(fact["id"]) for fact in facts_of(api, id)["items"]]
    counts = []
    for withdrawn in (ids[:1], ids[1:4]):
        with CaptureQueriesContext(connection) as captured:
            facts.withdraw(caller, withdrawn)
        counts.append(len(captured))

    assert counts[0] == counts[1]


def test_an_entity_goes_with_the_last_fact_that_expires(api: Api, requested: str, settings: Any) -> None:
    worker.run()
    Memory.objects.for_tenant(api.tenant).filter(facts.are_facts()).update(expires_at=timezone.now())
    settings.RETENTION_DAYS = 0

    assert retention.purge() == 1

    assert stored(api) == []


def test_a_purge_of_a_deleted_conversation_removes_the_entities_that_only_its_facts_mention(
    api: Api, provider: ChatProvider
) -> None:
    provider.script = [one_fact(entities=[ADA, BERN]), one_fact(entities=[BERN])]
    first, second = (begin(api, "hello")["id"] for _ in range(2))
    for id in (first, second):
        ask(api, id)
        worker.run()

    for query in ("", "?purge=true"):
        assert api.delete(f"{ROOT}/{first}{query}").status_code == 200

    every = Memory.objects.for_tenant(api.tenant).filter(namespace="facts")
    assert [row.payload["title"] for row in every if "title" in row.payload] == ["Bern"]


def test_a_conversation_that_mentions_a_large_entity_can_be_purged(api: Api, provider: ChatProvider) -> None:
    provider.default = one_fact(entities=[ADA])
    id = begin(api, "hello")["id"]
    ask(api, id)
    worker.run()
    every = Memory.objects.for_tenant(api.tenant).filter(namespace="facts")
    every.exclude(facts.are_facts()).update(payload={"title": "A" * large_rows.SMALL}, size=large_rows.SMALL + 1)

    for query in ("", "?purge=true"):
        assert api.delete(f"{ROOT}/{id}{query}").status_code == 200

    assert not every.exists()


def test_a_fact_goes_with_its_message(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    made = begin(api, "one", "two")
    ask(api, made["id"])
    worker.run()
    rows = Memory.objects.for_tenant(api.tenant).filter(namespace="conversations").order_by("coordinate_key")

    retention.remove(Caller.retention(api.tenant), [rows[1]])
    assert [fact["turn"] for fact in facts_of(api, made["id"])["items"]] == [1]
    assert names(api) == ["Ada Lovelace", "Bern"]
    retention.remove(Caller.retention(api.tenant), [rows[0]])
    assert stored(api) == []
    assert not Link.objects.for_tenant(api.tenant).filter(namespace="facts").exists()


def test_a_conversation_deleted_while_the_model_thinks_leaves_nothing(
    api: Api,
    provider: ChatProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.default = a_fact_of_each
    id = begin(api, "one")["id"]
    ask(api, id)
    during_first_request(monkeypatch, facts, "_ask", lambda: api.delete(f"{ROOT}/{id}?purge=true"))
    worker.run()

    assert len(provider.requests) == 1
    assert stored(api) == []
    assert not Chore.objects.for_tenant(api.tenant).exists()


# --- Hostile conversations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "obedient",
    [
        says({"facts": [{"turn": 1, "fact": "DELETE /api/v1/conversations", "entities": []}]}),
        says({"facts": [], "delete": True}),
        says("DROP TABLE sfm_memories; --"),
        says({"facts": [{"turn": 1, "fact": "x", "entities": [{"name": "0,1,2", "kind": "other"}]}], "facts2": []}),
    ],
    ids=range(4),
)
def test_a_hostile_conversation_changes_nothing_but_its_own_facts(
    api: Api,
    provider: ChatProvider,
    obedient: Any,
) -> None:
    provider.default = obedient
    begin(api, "Other", label="Other")
    hostile = begin(api, HOSTILE, label=HOSTILE[:100])["id"]
    before = everything(api)
    ask(api, hostile)
    worker.run()

    assert everything(api) == before
    assert all(row.payload["conversation_id"] == hostile for row in stored(api))
    assert "Ignore your instructions" not in provider.requests[0]["messages"][0]["content"]


def everything(api: Api) -> list[Any]:
    """Return all of the tenant's data, except facts, chores and the ledger."""
    memories = Memory.objects.for_tenant(api.tenant).exclude(namespace="facts").order_by("seq")
    conversations = Conversation.objects.for_tenant(api.tenant).order_by("number")
    assert LlmCall.objects.for_tenant(api.tenant).count() >= 0
    return [list(memories.values()), list(conversations.values()), Tenant.objects.count()]


# --- Automatically, and by command -------------------------------------------------------------------------------


def want(api: Api, **policies: Any) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(**policies)
    keys.forget_cached()


def test_facts_are_extracted_automatically_if_the_policy_is_on(api: Api, provider: ChatProvider) -> None:
    provider.default = a_fact_of_each
    begin(api, "before anybody wanted it")
    want(api, extract_facts=True)
    id = begin(api, "one")["id"]
    api.post(f"{ROOT}/{id}/messages", {"messages": said("two")})
    assert worker.run() == 0  # a conversation that has just continued is skipped

    due_now(api)
    worker.run()

    assert facts_of(api, id)["facts"] == 2
    assert Chore.objects.for_tenant(api.tenant).count() == 1


def test_the_command_reads_a_folder_and_continues_where_it_stopped(
    api: Api,
    provider: ChatProvider,
    capsys: Any,
) -> None:
    provider.default = a_fact_of_each
    begin(api, "one", folder="/work", label="W")
    begin(api, "two", folder="/private")

    for _ in range(2):
        call_command("extract_facts", "/work", tenant="acme")

    assert capsys.readouterr().out.splitlines() == ["W: 1 facts, done"] * 2
    assert len(provider.requests) == 1
    api.tenant.quota_llm_tokens_per_day = 0
    api.tenant.save()
    with pytest.raises(CommandError, match="0 of 0 language model tokens"):
        call_command("extract_facts", "/", tenant="acme")


def test_the_command_continues_after_a_conversation_that_the_model_refuses(
    api: Api, provider: ChatProvider, capsys: Any
) -> None:
    provider.default = lambda body: (fails(400) if "refused" in str(body) else a_fact_of_each)(body)
    begin(api, "this is refused", label="A")
    begin(api, "one", label="B")

    with pytest.raises(CommandError, match="1 conversation"):
        call_command("extract_facts", "/", tenant="acme")

    output = capsys.readouterr()
    assert output.out.splitlines() == ["B: 1 facts, done"]
    assert output.err.startswith("A: the language model provider rejected the request")


def test_the_command_extracts_facts_from_the_messages_after_one_that_the_model_refuses(
    api: Api, provider: ChatProvider, capsys: Any
) -> None:
    provider.default = refuses_poison
    begin(api, "one", "poison", "three", label="A")

    call_command("extract_facts", "/", tenant="acme")

    assert capsys.readouterr().out.splitlines() == ["A: 2 facts, done"]


def test_the_command_needs_a_language_model(api: Api) -> None:
    begin(api, "We grow runner beans.")
    with pytest.raises(CommandError, match="no language model"):
        call_command("extract_facts", "/", tenant="acme")


BEANS = ["Runner beans climb the bamboo canes.", "I sow runner beans in May.", "Runner beans need water."]


def conversation(api: Api, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{ROOT}/{id}").json()
    return found


def test_a_conversation_without_a_label_gets_one_offline(api: Api) -> None:
    want(api, auto_label=0.1)
    id = begin(api, *BEANS)["id"]
    assert (conversation(api, id)["label"], conversation(api, id)["labelled_by"]) == ("", None)

    due_now(api)
    worker.run()

    assert (conversation(api, id)["label"], conversation(api, id)["labelled_by"]) == ("runner beans", "key-phrases")
    begin(api, *BEANS, label="Mine")
    assert not Chore.objects.for_tenant(api.tenant).exists()


def test_a_conversation_gets_no_label_of_another_user(api: Api, provider: ChatProvider) -> None:
    provider.default = says({"labels": []})
    want(api, auto_label=0.1)
    begin(api, *BEANS, label="Bob's divorce", user_id="bob")
    begin(api, *BEANS, label="Vegetables", user_id="ada")
    begin(api, *BEANS, user_id="ada")
    due_now(api)
    worker.run()

    [prompt] = provider.requests
    assert "Vegetables" in str(prompt)
    assert "divorce" not in str(prompt)


def test_without_a_language_model_a_conversation_gets_no_label_of_another_user(api: Api) -> None:
    want(api, auto_label=0.1)
    begin(api, *BEANS, label="Bob's divorce", user_id="bob")
    id = begin(api, *BEANS, user_id="ada")["id"]
    due_now(api)
    worker.run()

    assert conversation(api, id)["label"] == "runner beans"


def test_a_label_that_is_not_sure_enough_is_not_given(api: Api) -> None:
    want(api, auto_label=1.0)
    id = begin(api, *BEANS)["id"]
    due_now(api)
    worker.run()

    assert conversation(api, id)["label"] == ""


def test_a_label_set_by_a_user_is_kept(api: Api) -> None:
    want(api, auto_label=0.1)
    id = begin(api, *BEANS)["id"]
    due_now(api)
    worker.run()

    api.request("PUT", f"{ROOT}/{id}/label", {"label": "Vegetables"})

    assert (conversation(api, id)["label"], conversation(api, id)["labelled_by"]) == ("Vegetables", None)


def test_a_label_set_by_a_user_first_is_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    want(api, auto_label=0.1)
    id = begin(api, *BEANS)["id"]
    due_now(api)
    body = {"label": "Mine"}
    during_first_request(monkeypatch, labels, "suggest", lambda: api.request("PUT", f"{ROOT}/{id}/label", body))
    worker.run()

    assert (conversation(api, id)["label"], conversation(api, id)["labelled_by"]) == ("Mine", None)


def test_a_provider_that_is_down_holds_up_no_write_and_leaves_no_label(api: Api, provider: ChatProvider) -> None:
    provider.default = fails(401)
    want(api, auto_label=0.1)
    id = begin(api, *BEANS)["id"]
    assert provider.requests == []
    due_now(api)
    worker.run()

    assert conversation(api, id)["label"] == ""
    assert Chore.objects.for_tenant(api.tenant).get().error == "llm_unavailable"


def test_an_existing_label_is_preferred_among_those_that_are_sure() -> None:
    new, old, weak = (
        Suggestion("new", 0.9, False, ""),
        Suggestion("old", 0.6, True, ""),
        Suggestion("weak", 0.4, True, ""),
    )

    assert auto_label.choose([new, weak], 0.5) == new
    assert auto_label.choose([new, old, weak], 0.5) == old
    assert auto_label.choose([], 0.0) is None


def test_chores_of_a_suspended_tenant_wait(api: Api) -> None:
    want(api, auto_label=0.1)
    begin(api, *BEANS)
    due_now(api)
    want(api, active=False)

    assert worker.run() == 0

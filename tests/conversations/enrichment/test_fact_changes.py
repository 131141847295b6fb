# ruff: noqa: F811 - the fixture
"""Facts that supersede older ones about the same attribute, and proposals for uncertain cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from conversations.enrichment import fact_changes, worker
from conversations.enrichment.fact_changes import CERTAIN, POSSIBLE
from conversations.models import Conversation, Proposal
from graph.models import Link
from memories import coordinates, retention, supersession
from memories.models import Memory
from somamemory.db import sqlstate
from tenants.caller import Caller
from tenants.models import AuditEvent
from testing.chat_provider import Body, ChatProvider, says
from tests.conftest import Api, issue_key, problem_of
from tests.conversations.enrichment.test_facts import ADA, ask, one_fact
from tests.conversations.enrichment.test_summaries import provider  # noqa: F401 - a fixture
from tests.operations.test_database_trouble import fail_first, failing_with
from tests.support.conversations import ROOT

pytestmark = pytest.mark.django_db

NAMELESS = {"name": "...", "kind": "other"}


def facts_from_messages(replaces: float, attribute: str | None = "home") -> Any:
    """Return the behaviour of a model that extracts each message as a fact about Ada."""

    def answer(body: Body) -> Any:
        prompt = json.loads(next(message["content"] for message in body["messages"] if message["role"] == "user"))
        about = {"entities": [ADA], "attribute": attribute, "replaces": replaces}
        facts = [{"turn": message["turn"], "fact": message["text"], **about} for message in prompt["messages"]]
        return says({"facts": facts})(body)

    return answer


def create_conversation_with_facts(api: Api, *texts: str, day: int = 1, **fields: Any) -> str:
    """Create a conversation, with a minute between its messages, and extract its facts. Return its id."""
    began = datetime(2026, 1, day, tzinfo=UTC)
    messages = [
        {"role": "user", "content": text, "timestamp": (began + timedelta(minutes=at)).isoformat()}
        for at, text in enumerate(texts)
    ]
    conversation = api.post(ROOT, {"messages": messages, **fields}).json()
    ask(api, conversation["id"])
    worker.run()
    id: str = conversation["id"]
    return id


def current_facts(api: Api) -> list[str]:
    hits = api.search("Ada", namespace="facts", mode="keyword", memory_type="semantic", top_k=50)
    return sorted(hit["payload"]["text"] for hit in hits if "text" in hit["payload"])


def list_proposals(api: Api, state: str = "open") -> list[dict[str, Any]]:
    response = api.get(f"/api/v1/proposals?state={state}")
    assert response.status_code == 200, response.content
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def decide(api: Api, verb: str, proposal: dict[str, Any]) -> dict[str, Any]:
    response = api.post(f"/api/v1/proposals/{proposal['id']}/{verb}")
    assert response.status_code == 200, response.content
    decided: dict[str, Any] = response.json()
    return decided


def test_a_certain_change_supersedes_the_older_fact(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1)
    create_conversation_with_facts(api, "Ada moved to Bern", day=2)

    assert current_facts(api) == ["Ada moved to Bern"]
    [decided] = list_proposals(api, "accepted")
    assert (decided["newer"]["fact"], decided["older"]["fact"]) == ("Ada moved to Bern", "Ada lives in Zurich")
    assert (decided["decided_by"], decided["confidence"]) == ("schedule", 1.0)
    link = Link.objects.for_tenant(api.tenant).get(link_type="supersedes")
    assert link.metadata == {"reason": "a newer statement about Ada Lovelace: home"} == {"reason": decided["reason"]}


def test_the_facts_of_one_conversation_supersede_each_other_in_order(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada lives in Zurich", "Ada moved to Bern", "Ada moved to Basel")

    assert current_facts(api) == ["Ada moved to Basel"]


def test_facts_are_compared_in_the_order_in_which_they_were_said(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada moved to Bern", day=2)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1)

    assert current_facts(api) == ["Ada moved to Bern"]


@pytest.mark.parametrize(("replaces", "attribute"), [(0.0, "home"), (1.0, None)])
def test_facts_that_replace_nothing_remain_valid(
    api: Api, provider: ChatProvider, replaces: float, attribute: str | None
) -> None:
    provider.default = facts_from_messages(replaces, attribute)
    create_conversation_with_facts(api, "Ada sings", "Ada paints")

    assert current_facts(api) == ["Ada paints", "Ada sings"]
    assert list_proposals(api) == []


@pytest.mark.parametrize(("mentioned", "attribute"), [([NAMELESS], "home"), ([NAMELESS, ADA], "home"), ([ADA], "...")])
def test_a_fact_without_a_usable_name_for_its_entity_or_attribute_supersedes_nothing(
    api: Api, provider: ChatProvider, mentioned: list[dict[str, str]], attribute: str
) -> None:
    provider.default = facts_from_messages(1.0, attribute)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1)
    provider.default = one_fact(fact="Ada likes tea", entities=mentioned, attribute=attribute, replaces=1.0)
    create_conversation_with_facts(api, "Tea!", day=2)

    assert current_facts(api) == ["Ada likes tea", "Ada lives in Zurich"]


def test_a_repeated_fact_supersedes_nothing(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada lives in Bern", day=1)
    create_conversation_with_facts(api, "Ada lives in  BERN.", day=2)

    assert len(current_facts(api)) == 2
    assert list_proposals(api, "accepted") == []


def test_facts_of_different_users_do_not_supersede_each_other(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1, user_id="ada")
    create_conversation_with_facts(api, "Ada moved to Bern", day=2, user_id="bob")

    assert len(current_facts(api)) == 2


# --- Proposals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def proposed(api: Api, provider: ChatProvider) -> dict[str, Any]:
    provider.default = facts_from_messages(0.5)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1)
    create_conversation_with_facts(api, "Ada is often in Bern", day=2)
    [proposal] = list_proposals(api)
    return proposal


BOTH = ["Ada is often in Bern", "Ada lives in Zurich"]


def test_a_possible_change_is_proposed_and_changes_nothing(api: Api, proposed: dict[str, Any]) -> None:
    assert (proposed["state"], proposed["confidence"], proposed["decided_at"]) == ("open", 0.5, None)
    assert current_facts(api) == BOTH


def test_an_accepted_proposal_supersedes_the_older_fact(api: Api, proposed: dict[str, Any]) -> None:
    decided = decide(api, "accept", proposed)

    assert (decided["state"], decided["decided_by"][:4]) == ("accepted", "key:")
    assert current_facts(api) == BOTH[:1]
    assert list_proposals(api) == []
    assert AuditEvent.objects.filter(tenant=api.tenant, action="proposal.accepted").count() == 1


def test_a_rejected_proposal_leaves_both_facts(api: Api, proposed: dict[str, Any]) -> None:
    assert decide(api, "reject", proposed)["state"] == "rejected"

    assert current_facts(api) == BOTH
    assert list_proposals(api) == []


def test_undoing_a_proposal_restores_the_older_fact(api: Api, proposed: dict[str, Any]) -> None:
    decide(api, "accept", proposed)

    assert decide(api, "undo", proposed) == proposed

    assert current_facts(api) == BOTH
    assert not Link.objects.for_tenant(api.tenant).filter(link_type="supersedes").exists()
    assert decide(api, "accept", proposed)["state"] == "accepted"


def test_an_automatic_change_can_be_undone(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(1.0)
    create_conversation_with_facts(api, "Ada lives in Zurich", "Ada moved to Bern")

    decide(api, "undo", list_proposals(api, "accepted")[0])

    assert current_facts(api) == ["Ada lives in Zurich", "Ada moved to Bern"]


@pytest.mark.parametrize(("first", "second"), [("accept", "accept"), ("accept", "reject"), ("reject", "accept")])
def test_a_decided_proposal_cannot_be_decided_again(
    api: Api, proposed: dict[str, Any], first: str, second: str
) -> None:
    decide(api, first, proposed)

    problem_of(api.post(f"/api/v1/proposals/{proposed['id']}/{second}"), 409, "conflict")


@pytest.mark.parametrize("undone", [(0, 1), (1, 0)])
@pytest.mark.parametrize("accepted", [(0, 1), (1, 0)])
def test_a_fact_is_valid_again_once_all_decisions_that_ended_it_are_undone(
    api: Api, provider: ChatProvider, accepted: tuple[int, int], undone: tuple[int, int]
) -> None:
    provider.default = facts_from_messages(0.5)
    create_conversation_with_facts(api, "Ada lives in Zurich", day=1)
    provider.default = facts_from_messages(0.4)
    begins = [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3)]
    for text, day in (("Ada is often in Bern", 2), ("Ada is often in Basel", 3)):
        create_conversation_with_facts(api, text, day=day)
    by_newer = {p["newer"]["fact"]: p for p in list_proposals(api) if p["older"]["fact"] == "Ada lives in Zurich"}
    both = [by_newer["Ada is often in Bern"], by_newer["Ada is often in Basel"]]
    older = Memory.objects.for_tenant(api.tenant).filter(id=both[0]["older"]["id"])
    for at in accepted:
        decide(api, "accept", both[at])
    first, last = undone

    decide(api, "undo", both[first])
    assert older.get().valid_to == begins[last]

    decide(api, "undo", both[last])
    assert older.get().valid_to is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_a_decision_that_lost_a_deadlock_is_made_again(
    api: Api, proposed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    fail_first(monkeypatch, 1, failing_with(sqlstate.DEADLOCK_DETECTED))

    assert decide(api, verb, proposed)["state"] == f"{verb}ed"


@pytest.mark.django_db(transaction=True)
def test_a_fact_is_not_deleted_while_a_proposal_about_it_is_accepted(
    api: Api, proposed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = Conversation.objects.for_tenant(api.tenant).order_by("number")[0]
    supersede = supersession.supersede

    def delete() -> None:
        try:
            api.delete(f"{ROOT}/{conversation.id}")
        finally:
            connection.close()

    thread = Thread(target=delete)

    def delete_first(*arguments: Any) -> Any:
        thread.start()
        thread.join(1)  # the deletion has to wait
        return supersede(*arguments)

    monkeypatch.setattr(supersession, "supersede", delete_first)
    assert decide(api, "accept", proposed)["state"] == "accepted"
    thread.join(60)


def test_an_open_proposal_cannot_be_undone(api: Api, proposed: dict[str, Any]) -> None:
    problem_of(api.post(f"/api/v1/proposals/{proposed['id']}/undo"), 409, "conflict")


def test_a_proposal_about_a_deleted_fact_cannot_be_accepted(api: Api, proposed: dict[str, Any]) -> None:
    id = str(Conversation.objects.for_tenant(api.tenant).order_by("number")[0].id)
    api.delete(f"{ROOT}/{id}")

    problem_of(api.post(f"/api/v1/proposals/{proposed['id']}/accept"), 409, "conflict")

    assert None in (list_proposals(api)[0]["newer"], list_proposals(api)[0]["older"])


def test_a_purge_removes_the_proposals_about_its_facts(api: Api, proposed: dict[str, Any]) -> None:
    fact = Memory.objects.for_tenant(api.tenant).get(id=proposed["older"]["id"])

    retention.remove(Caller.retention(api.tenant), [fact])

    assert not Proposal.objects.for_tenant(api.tenant).exists()


def test_a_key_limited_to_another_user_cannot_see_a_proposal(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(0.5)
    create_conversation_with_facts(api, "Ada lives in Zurich", "Ada is often in Bern", user_id="ada")
    [proposal] = list_proposals(api)
    ada, bob = (Api(issue_key(api.tenant, ("read", "write"), user_id=name), api.tenant) for name in ("ada", "bob"))

    assert list_proposals(bob) == []
    problem_of(bob.post(f"/api/v1/proposals/{proposal['id']}/accept"), 404)
    assert decide(ada, "accept", proposal)["state"] == "accepted"


def test_proposals_are_listed_page_by_page(api: Api, provider: ChatProvider) -> None:
    provider.default = facts_from_messages(0.5)
    create_conversation_with_facts(api, *(f"Ada may live in {place}" for place in ("Zurich", "Bern", "Basel")))
    ids, cursor = [], ""
    while True:
        page = api.get(f"/api/v1/proposals?limit=1{cursor}").json()
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert sorted(ids) == sorted(item["id"] for item in list_proposals(api))
    assert len(ids) == 3
    problem_of(api.get(f"/api/v1/proposals?limit=1&state=accepted{cursor}"), 422)


# --- The rule ----------------------------------------------------------------------------------------------------


def fact(day: int, text: str, replaces: float) -> Memory:
    payload = {"text": text, "entities": ["Ada"], "attribute": "home", "replaces": replaces}
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Memory(coordinate_key=coordinates.of([day]).key, payload=payload, created_at=at, valid_from=at)


FACTS = st.lists(
    st.builds(fact, st.integers(0, 5), st.sampled_from("ABC"), st.sampled_from([0.0, POSSIBLE, 0.5, CERTAIN, 1.0]))
)


@given(facts=FACTS)
def test_only_newer_facts_supersede_and_a_superseded_fact_changes_no_more(facts: Sequence[Memory]) -> None:
    superseded: set[int] = set()
    for change in fact_changes.changes(facts):
        assert change.older.created_at < change.newer.created_at
        assert change.older.payload["text"] != change.newer.payload["text"]
        assert change.confidence >= POSSIBLE
        assert id(change.older) not in superseded
        if change.confidence >= CERTAIN:
            superseded.add(id(change.older))

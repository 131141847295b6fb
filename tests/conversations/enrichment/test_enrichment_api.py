"""Labels, importance and archiving."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from conversations.enrichment import extractive, importance_heuristics, key_phrases
from conversations.lifecycle import pruning_rule
from conversations.lifecycle.pruning_rule import Facts
from conversations.models import MAX_LABEL_LENGTH, Conversation
from memories import embeddings
from memories.models import Memory
from tenants.models import AuditEvent
from testing.chat_provider import ChatProvider, fails, says
from tests.conftest import Api, drain, problem_of
from tests.conversations.enrichment.test_summaries import month, provider, summarize, talk  # noqa: F401 - a fixture

BEANS = ["Runner beans climb the bamboo canes.", "I sow runner beans in May.", "Runner beans need water."]
BIKES = ["The bicycle chain is rusty.", "A new bicycle chain costs forty francs.", "Oil the bicycle chain."]


def begin(api: Api, texts: Sequence[str], label: str = "", **more: Any) -> str:
    messages = [{"role": "user", "content": text} for text in texts]
    response = api.post("/api/v1/conversations", {"label": label, "messages": messages, **more})
    assert response.status_code == 201, response.content
    id: str = response.json()["id"]
    return id


def suggested(api: Api, id: str) -> list[Any]:
    response = api.post("/api/v1/labels/suggest", {"conversation_id": id})
    assert response.status_code == 200, response.content
    found: list[Any] = response.json()["suggestions"]
    return found


# --- Sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("No end", ["No end"]),
        ("Line one\nLine two", ["Line one", "Line two"]),
        ("これは豆です。水が要る。", ["これは豆です。", "水が要る。"]),
        ("   \n ", []),
    ],
)
def test_a_text_is_split_into_sentences(text: str, found: list[str]) -> None:
    assert extractive.sentences(text) == found


@bounded(deadline=None)
@given(st.text(max_size=300))
def test_every_sentence_occurs_in_its_text(text: str) -> None:
    assert all(sentence in text for sentence in extractive.sentences(text))


@bounded(deadline=None)
@given(
    st.lists(st.sampled_from([*BEANS, *BIKES, "Yes.", "Thanks a lot!"]), min_size=1, max_size=30), st.integers(1, 60)
)
def test_a_summary_is_some_of_the_sentences_in_their_order(lines: list[str], words: int) -> None:
    found = extractive.select(lines, embeddings.current().embed(lines), words)

    assert found == sorted(set(found))
    assert found
    assert len(found) == 1 or sum(len(lines[at].split()) for at in found) <= words


def test_a_summary_says_nothing_twice_and_leaves_out_what_says_little() -> None:
    lines = [BEANS[0], BEANS[0], "That sounds great!", BIKES[1]]

    assert extractive.select(lines, embeddings.current().embed(lines), 100) in ([0, 3], [1, 3])


# --- Labels ------------------------------------------------------------------------------------------------------


def test_key_phrases_are_frequent_phrases() -> None:
    found = key_phrases.key_phrases(BEANS, embeddings.current().embed, lambda terms: {})

    assert found[0].words.lower() == "runner beans"
    assert found[0].count == 3
    assert all(0 <= phrase.score <= 1 for phrase in found)


def test_labels_are_suggested_from_the_content_of_messages(api: Api) -> None:
    id = begin(api, BEANS)

    found = suggested(api, id)

    assert 1 <= len(found) <= 5
    assert found[0]["label"] == "runner beans"
    assert found[0]["is_existing"] is False
    assert [suggestion["confidence"] for suggestion in found] == sorted(
        (suggestion["confidence"] for suggestion in found), reverse=True
    )


def test_a_phrase_that_is_too_long_for_a_label_is_not_suggested(api: Api) -> None:
    found = suggested(api, begin(api, [*BEANS, "x" * (MAX_LABEL_LENGTH + 1), "İ" * MAX_LABEL_LENGTH]))

    assert found
    assert all(len(suggestion["label"]) <= MAX_LABEL_LENGTH for suggestion in found)


def test_the_label_of_similar_conversations_comes_first(api: Api) -> None:
    for _ in range(3):
        begin(api, BIKES, "Workshop")
    begin(api, BEANS, "Garden")
    id = begin(api, ["My bicycle chain fell off again."])
    drain()

    best = suggested(api, id)[0]

    assert (best["label"], best["is_existing"]) == ("Workshop", True)


def test_a_suggestion_that_is_a_label_already_is_spelled_like_it(api: Api) -> None:
    begin(api, ["Something else entirely happened."], "Runner Beans")

    [best] = [
        suggestion for suggestion in suggested(api, begin(api, BEANS)) if suggestion["label"].lower() == "runner beans"
    ]
    assert (best["label"], best["is_existing"]) == ("Runner Beans", True)


def test_suggesting_changes_nothing(api: Api) -> None:
    id = begin(api, BEANS)
    before = list(Conversation.objects.for_tenant(api.tenant).values())

    listed = api.post(f"/api/v1/conversations/{id}/suggest-labels").json()

    assert listed == suggested(api, id)
    assert list(Conversation.objects.for_tenant(api.tenant).values()) == before


def test_an_empty_conversation_has_no_suggestions(api: Api) -> None:
    assert suggested(api, begin(api, [])) == []


def test_a_model_suggests_labels_and_existing_ones_are_recognised(api: Api, provider: ChatProvider) -> None:  # noqa: F811
    begin(api, BIKES, "Workshop")
    answer = {"label": "workshop", "confidence": 0.9, "reason": "It is about bicycles."}
    provider.default = says({"labels": [answer, {**answer, "label": "Chains", "confidence": 0.4}]})

    found = suggested(api, begin(api, BIKES))

    assert [(suggestion["label"], suggestion["is_existing"]) for suggestion in found] == [
        ("Workshop", True),
        ("Chains", False),
    ]


@pytest.mark.parametrize("label", ["x" * 101, "a\nb", "a\x00b", ""])
def test_a_label_that_is_none_is_not_passed_on(api: Api, provider: ChatProvider, label: str) -> None:  # noqa: F811
    provider.default = says({"labels": [{"label": label, "confidence": 1.0, "reason": ""}]})

    body = {"conversation_id": begin(api, BEANS)}
    problem_of(api.post("/api/v1/labels/suggest", body), 503, code="llm_answer_invalid")


# --- Importance --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("Remember that I am allergic to nuts.", "I like nuts."),
        ("We decided to move on 2026-03-01.", "We might move some day."),
        ("My daughter's birthday is on the 4th of May.", "Birthdays are nice."),
        ("I like beans.", "Thanks!"),
    ],
)
def test_content_that_people_need_again_is_more_important(more: str, less: str) -> None:
    assert importance_heuristics.judge(more).score > importance_heuristics.judge(less).score


@bounded(deadline=None)
@given(st.text(max_size=400), st.sampled_from(["user", "assistant", "system", "tool"]))
def test_every_message_has_an_importance_from_1_to_10(content: str, role: str) -> None:
    assert 1 <= importance_heuristics.judge(content, role).score <= 10


def message_of(api: Api, text: str) -> str:
    id = begin(api, [text])
    found: str = api.get(f"/api/v1/conversations/{id}/messages").json()["items"][0]["id"]
    return found


def test_a_message_keeps_the_importance_it_is_given(api: Api) -> None:
    id = message_of(api, "Remember that I am allergic to nuts.")

    rated = api.post(f"/api/v1/messages/{id}/importance").json()

    assert rated == {
        "score": 7.0,
        "reasoning": "asks to be remembered, contains personal information",
        "model": "heuristic",
    }
    assert Memory.objects.for_tenant(api.tenant).get(id=id).importance == 7.0


def test_a_model_weighs_seven_tenths(api: Api, provider: ChatProvider) -> None:  # noqa: F811
    provider.default = says({"score": 9, "reasoning": "Health."})
    rated = api.post(f"/api/v1/messages/{message_of(api, 'I am allergic to nuts')}/importance").json()

    assert rated == {"score": 7.65, "reasoning": "Health.", "model": "tiny"}


def test_the_command_continues_after_a_message_that_the_model_refuses(
    api: Api,
    provider: ChatProvider,  # noqa: F811 - the fixture
    capsys: Any,
) -> None:
    rates = says({"score": 8, "reasoning": "a decision"})
    provider.default = lambda body: (fails(400) if '"message":"this is refused"' in str(body) else rates)(body)
    begin(api, ["I am allergic to nuts", "this is refused"], "A")
    begin(api, ["We decided to go on Monday"], "B")

    with pytest.raises(CommandError, match="1 message"):
        call_command("rate_messages", "/", "--tenant", "acme")

    output = capsys.readouterr()
    assert output.out.splitlines() == ["A: 1 messages", "B: 1 messages"]
    assert output.err.startswith("A, turn 2: the language model provider rejected the request")


def test_a_message_that_is_not_there_has_no_importance(api: Api, stranger: Api) -> None:
    problem_of(api.post(f"/api/v1/messages/{uuid.uuid4()}/importance"), 404)
    problem_of(stranger.post(f"/api/v1/messages/{message_of(api, 'mine')}/importance"), 404)


def test_a_summary_outlives_a_change_of_importance(api: Api) -> None:
    conversation = talk(api, month()[:1])
    first = summarize(api, conversation["id"])
    message = api.get(f"/api/v1/conversations/{conversation['id']}/messages").json()["items"][0]
    api.post(f"/api/v1/messages/{message['id']}/importance")

    assert summarize(api, conversation["id"]) == first


# --- Archiving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Facts(400, 3, 5_000, 0.0), Facts(100, 3, 5_000, 0.0)),
        (Facts(400, 1, 5_000, 0.0), Facts(400, 4, 5_000, 0.0)),
        (Facts(400, 3, 50_000, 0.0), Facts(400, 3, 10, 0.0)),
        (Facts(400, 3, 5_000, 1.0), Facts(400, 3, 5_000, 0.0)),
    ],
)
def test_there_is_more_to_gain_from_what_is_older_less_important_larger_and_summarised(
    better: Facts, worse: Facts
) -> None:
    assert pruning_rule.judge(better, 30, 5).score > pruning_rule.judge(worse, 30, 5).score


@pytest.mark.parametrize(
    "facts", [Facts(29, 1, 9_999, 1), Facts(999, 6, 9_999, 1), Facts(999, 1, 9_999, 1, pinned=True)]
)
def test_used_important_and_pinned_conversations_are_kept(facts: Facts) -> None:
    assert pruning_rule.judge(facts, 30, 5).recommendation == "keep"


@bounded(deadline=None)
@given(st.floats(0, 1e5), st.floats(1, 10), st.integers(0, 10**9), st.floats(0, 1))
def test_the_pruning_score_is_between_0_and_1(idle: float, worth: float, tokens: int, covered: float) -> None:
    assert 0 <= pruning_rule.judge(Facts(idle, worth, tokens, covered), 0, 10).score <= 1


def age(api: Api, id: str, days: int, read_days: int | None = None) -> None:
    now = datetime.now(UTC)
    rows = Conversation.objects.for_tenant(api.tenant).filter(id=id)
    rows.update(updated_at=now - timedelta(days=days))
    if read_days is not None:
        messages = Memory.objects.for_tenant(api.tenant).filter(namespace="conversations")
        low, high = rows.get().root.subtree
        messages.filter(coordinate_key__gte=low, coordinate_key__lt=high).update(
            last_accessed_at=now - timedelta(days=read_days)
        )


def test_old_and_unimportant_conversations_are_suggested(api: Api) -> None:
    old, read, new, dear, pinned = (begin(api, BEANS, label) for label in ("old", "read", "new", "dear", "pinned"))
    for id in (old, dear, pinned):
        age(api, id, 400)
    age(api, read, 400, read_days=3)
    api.request("PATCH", f"/api/v1/conversations/{dear}", {"importance_score": 9})
    api.request("PUT", f"/api/v1/conversations/{pinned}/pin")
    age(api, dear, 400)
    age(api, pinned, 400)

    found = api.post("/api/v1/prune/dry-run", {"threshold_days": 90, "importance_threshold": 5}).json()

    assert {suggestion["conversation_label"]: suggestion["recommendation"] for suggestion in found["suggestions"]} == {
        "old": "archive",
        "read": "keep",
    }
    assert found["total"] == 2
    assert found["suggestions"][0]["preview"] == BEANS[0]
    assert api.get("/api/v1/prune/suggestions").json() == found["suggestions"]
    assert new


def test_summaries_raise_the_pruning_score(api: Api) -> None:
    conversation = talk(api, month()[:3])
    age(api, conversation["id"], 400)
    [before] = api.get("/api/v1/prune/suggestions").json()
    summarize(api, conversation["id"], "weekly")
    summarize(api, conversation["id"], "weekly", "2026-10-01")

    [after] = api.get("/api/v1/prune/suggestions").json()
    assert after["score"] == pytest.approx(before["score"] + 0.2)
    assert "summaries cover 100% of it" in after["reasons"]


def test_archiving_can_be_undone(api: Api) -> None:
    ids = [begin(api, BEANS, "a"), begin(api, BIKES, "b")]

    archived = api.post("/api/v1/prune/execute", {"conversation_ids": ids}).json()
    assert (archived["archived"], sorted(archived["conversation_ids"])) == (2, sorted(ids))
    assert api.get("/api/v1/conversations?archived=true").json()["total"] == 2
    assert api.post("/api/v1/prune/undo", {"conversation_ids": ids}).json()["restored"] == 2
    assert api.get("/api/v1/conversations?archived=true").json()["total"] == 0
    actions = AuditEvent.objects.filter(tenant=api.tenant, target__in=ids).values_list("action", flat=True)
    assert {"conversation.prune", "conversation.unprune"} <= set(actions)


@pytest.mark.parametrize("why", ["missing", "pinned"])
def test_all_conversations_are_archived_or_none(api: Api, why: str) -> None:
    ids = [begin(api, BEANS), begin(api, BIKES)]
    other = str(uuid.uuid4()) if why == "missing" else begin(api, BEANS)
    if why == "pinned":
        api.request("PUT", f"/api/v1/conversations/{other}/pin")

    problem_of(api.post("/api/v1/prune/execute", {"conversation_ids": [*ids, other]}), 404 if why == "missing" else 409)

    assert api.get("/api/v1/conversations?archived=true").json()["total"] == 0


def test_a_stranger_puts_nothing_away(api: Api, stranger: Api) -> None:
    id = begin(api, BEANS)

    problem_of(stranger.post("/api/v1/prune/execute", {"conversation_ids": [id]}), 404)
    problem_of(stranger.post("/api/v1/labels/suggest", {"conversation_id": id}), 404)
    problem_of(stranger.post("/api/v1/summarize", {"conversation_id": id}), 404)

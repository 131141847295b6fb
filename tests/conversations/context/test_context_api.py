"""Context assembly over HTTP: every source, every exclusion, and the manifest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.context import gather, tokens
from memories import coordinates, read_counts
from memories import services as memories
from memories.new_memory import NewMemory
from memories.reserved_namespaces import SUMMARIES
from somamemory.times import rfc3339
from tenants.caller import Caller
from tests.conftest import Api, drain, problem_of
from tests.support.conversations import ROOT, assemble, begin, said


def put(api: Api, id: str, what: str, body: Any = None) -> None:
    assert api.request("PUT", f"{ROOT}/{id}/{what}", body).status_code == 200


def inside(manifest: dict[str, Any]) -> list[str]:
    return [item["content"] for item in manifest["items"]]


def test_the_response_is_a_list_of_messages_with_citations(api: Api) -> None:
    made = begin(api, "The aardvark sleeps in the vault", label="Zoo", folder="/animals")
    drain()

    [message] = api.post("/api/v1/context/assemble", {"query": "Where does the aardvark sleep?"}).json()

    assert (message["content"], message["role"]) == ("The aardvark sleeps in the vault", "user")
    assert message["conversation_id"] == made["id"]
    assert message["metadata"]["citation"] == {
        "label": "Zoo",
        "folder": "/animals",
        "timestamp": message["timestamp"],
    }


def test_the_manifest_adds_up(api: Api) -> None:
    begin(api, *(f"aardvark number {number} sleeps in another vault every night" for number in range(30)))
    drain()

    made = assemble(api, "aardvark", context_budget=200)

    assert made["used_tokens"] == sum(item["tokens"] for item in made["items"])
    assert made["used_tokens"] == sum(tokens.count(inside(made)))
    assert made["used_tokens"] <= made["target"] == 180
    assert {item["reason"] for item in made["left_out"]} == {"budget"}
    assert len(made["items"]) + len(made["left_out"]) == 30
    scores = [item["scores"]["total"] for item in made["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= part <= 1 for item in made["items"] for part in item["scores"].values())


def test_the_search_proposes_more_the_larger_the_budget_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_PROPOSED", (2, 5))
    # Each in its own conversation, so that they are not neighbours.
    for number in range(8):
        begin(api, f"aardvark {number}")
    drain()

    considered = [assemble(api, "aardvark", context_budget=budget) for budget in (20, 180, 60_000)]

    assert [len(item["items"]) + len(item["left_out"]) for item in considered] == [2, 3, 5]


def test_archived_conversations_are_left_out_by_default(api: Api) -> None:
    id = begin(api, "the aardvark sleeps", label="old")["id"]
    put(api, id, "archive")
    drain()

    assert inside(assemble(api, "aardvark", preferred_labels=["old"])) == []
    assert inside(assemble(api, "aardvark", include_archived=True)) == ["the aardvark sleeps"]


def test_excluded_folders_are_left_out_of_every_source_and_reported(api: Api) -> None:
    for label in ("pinned", "recent"):
        id = begin(api, f"{label} aardvark", label=label, folder="/secret/deep")["id"]
        put(api, id, "status", {"status": "pinned" if label == "pinned" else "active"})
    begin(api, "secretary aardvark", folder="/secretary")
    drain()

    made = assemble(api, "aardvark", excluded_folders=["/secret"], preferred_labels=["recent"])

    assert inside(made) == ["secretary aardvark"]
    assert [item["reason"] for item in made["left_out"]] == ["excluded", "excluded"]


def test_pinned_conversations_are_a_separate_source(api: Api) -> None:
    id = begin(api, "Always answer in French")["id"]
    put(api, id, "pin")
    begin(api, "the aardvark sleeps")

    made = assemble(api, "xylophone")

    assert [(item["content"], item["source"]) for item in made["items"]] == [("Always answer in French", "pinned")]


def test_recent_messages_under_a_preferred_label_are_a_source(api: Api) -> None:
    old = rfc3339(timezone.now() - timedelta(days=8))
    api.post(ROOT, {"label": "Zoo", "messages": [*said("long ago", timestamp=old), *said("just now")]})
    begin(api, "elsewhere", label="Other")

    made = assemble(api, "xylophone", preferred_labels=["Zoo"])

    assert [(item["content"], item["source"]) for item in made["items"]] == [
        ("just now", "recent"),
        ("long ago", "neighbour"),
    ]
    assert [item["scores"]["label"] for item in made["items"]] == [1.0, 1.0]


def test_the_turns_next_to_a_good_one_are_added_while_there_is_room(api: Api) -> None:
    begin(api, "far away", "nothing to see", "the aardvark sleeps in the vault", "yes", "far away too")

    wide, narrow = assemble(api, "xylophone aardvark"), assemble(api, "xylophone aardvark", context_budget=14)

    assert "the aardvark sleeps in the vault" in inside(wide)
    assert {"nothing to see", "yes"} <= set(inside(wide))
    assert narrow["used_tokens"] <= narrow["target"]


def test_summaries_are_a_source_when_there_are_any(api: Api, caller: Caller) -> None:
    made = begin(api, "hello", label="Zoo")
    memories.store_many(
        caller.writing_reserved(),
        [NewMemory(coordinates.of([made["number"], 1]), {"summary": "They spoke of an aardvark"}, SUMMARIES)],
    )
    drain()

    found = {item["content"]: item for item in assemble(api, "aardvark")["items"]}

    assert found["They spoke of an aardvark"]["source"] == "summary"
    assert found["They spoke of an aardvark"]["metadata"]["citation"]["label"] == "Zoo"


def test_a_repeated_message_is_included_once(api: Api) -> None:
    begin(api, "The aardvark sleeps.", "the aardvark sleeps")
    drain()

    made = assemble(api, "aardvark")

    assert len(made["items"]) == 1
    assert [(item["reason"], item["duplicate_of"]) for item in made["left_out"]] == [
        ("duplicate", made["items"][0]["id"])
    ]


def test_important_messages_come_before_others(api: Api) -> None:
    begin(api, "one aardvark", importance_score=1)
    begin(api, "two aardvark", importance_score=10)
    drain()

    assert inside(assemble(api, "aardvark"))[0] == "two aardvark"


def test_the_order_can_be_chronological(api: Api) -> None:
    begin(api, "first an aardvark came along and then went away", "then", "aardvark aardvark")
    drain()

    assert inside(assemble(api, "aardvark", order="chronological")) == [
        "first an aardvark came along and then went away",
        "then",
        "aardvark aardvark",
    ]


def test_no_message_is_truncated_unless_requested(api: Api) -> None:
    long = "aardvark " + "and so on " * 200
    begin(api, long)
    drain()

    assert inside(assemble(api, "aardvark", context_budget=100)) == []
    cut = assemble(api, "aardvark", context_budget=100, truncate=True)
    assert cut["items"][0]["truncated"]
    assert long.startswith(inside(cut)[0])
    assert 0 < cut["used_tokens"] <= 90


def test_the_same_question_over_the_same_data_has_the_same_context(api: Api) -> None:
    begin(api, *(f"aardvark {number} of many" for number in range(40)))
    drain()

    one, other = (assemble(api, "aardvark", context_budget=150, as_of="2026-01-01T00:00:00Z") for _ in range(2))

    assert one == other
    assert one["context_hash"] != assemble(api, "aardvark", context_budget=100)["context_hash"]


def test_only_messages_in_the_context_count_as_read(api: Api) -> None:
    begin(api, "one aardvark sleeps in the vault", "two aardvarks dream of something else", "aardvark")
    drain()
    read_counts._take()

    chosen = assemble(api, "aardvark", context_budget=8)["items"]

    assert len(chosen) == 1
    assert [str(id) for id in read_counts._take()] == [chosen[0]["id"]]


def test_the_weights_are_settings(api: Api, settings: Any) -> None:
    settings.CONTEXT_RELEVANCE, settings.CONTEXT_LABEL = 0.0, 1.0
    begin(api, "an aardvark aardvark", label="a")
    begin(api, "one more aardvark among other things", label="b")
    drain()

    assert inside(assemble(api, "aardvark", preferred_labels=["b"]))[0] == "one more aardvark among other things"


@pytest.mark.parametrize(
    "body",
    [
        {"context_budget": 0}, {"context_budget": 1_000_001}, {"context_budget": "many"}, {"query": ""},
        {"order": "random"}, {"excluded_folders": [".."]}, {"excluded_folders": ["x"] * 101},
        {"preferred_labels": ["x" * 501]}, {"preferred_labels": "x"}, {"as_of": "now"}, {"model": "x"},
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
def test_an_invalid_request_is_rejected(api: Api, body: dict[str, Any]) -> None:
    problem = problem_of(api.post("/api/v1/context/assemble", {"query": "x", **body}), 422)

    assert problem["errors"][0]["field"].startswith(next(iter(body)))


WORDS = ("aardvark", "vault", "the", "sleeps", "coffee", "ünïcode", "日本語", "🙂", "a" * 30)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join), min_size=1, max_size=15),
    st.integers(1, 400),
    st.booleans(),
)
def test_no_context_is_ever_over_its_budget(api: Api, said: list[str], budget: int, truncate: bool) -> None:
    begin(api, *said)

    made = assemble(api, "aardvark coffee", context_budget=budget, truncate=truncate)

    assert sum(tokens.count(inside(made))) == made["used_tokens"] <= made["target"] <= budget

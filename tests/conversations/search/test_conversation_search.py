"""Message searches: both legs apply every filter, and full-text search matches the query's words."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.search import scope
from memories.models import Memory
from memories.search import lexical
from tests.conftest import Api, drain, problem_of
from tests.support import conversations
from tests.support.conversations import ROOT, assemble, begin, full_text, said


@pytest.fixture
def talks(api: Api) -> dict[str, str]:
    """Two conversations about coffee in different places. Returns their ids by label."""
    work = api.post(
        ROOT,
        {
            "label": "Work",
            "folder": "/jobs/a",
            "messages": [
                *said("coffee at work", timestamp="2024-01-01T00:00:00Z", metadata={"n": 1}),
                *said("more coffee at work", role="assistant", timestamp="2025-01-01T00:00:00Z", metadata={"n": 2}),
            ],
        },
    ).json()
    home = begin(api, "coffee at home", label="Home", folder="/jobs-old")
    api.request("PUT", f"{ROOT}/{home['id']}/archive")
    drain()
    return {"Work": work["id"], "Home": home["id"]}


def query(api: Api, words: str, filters: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """Search all conversations, including archived ones, because one of the test's conversations is archived."""
    return conversations.query(api, words, filters, **{"include_archived": True, **more})


BOTH = ["coffee at work", "more coffee at work"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["coffee at home", *BOTH]),
        ({"label": "Work"}, BOTH),
        ({"label": "work"}, []),
        ({"label": {"icontains": "WOR"}}, BOTH),
        ({"label": {"contains": "WOR"}}, []),
        ({"label": {"in": ["Home", "x"]}}, ["coffee at home"]),
        ({"label": {"ne": "Home"}}, BOTH),
        ({"folder": "/jobs"}, BOTH),
        ({"folder": {"nin": ["/jobs", "/z"]}}, ["coffee at home"]),
        ({"status": "archived"}, ["coffee at home"]),
        ({"status": {"ne": "archived"}, "role": "assistant"}, BOTH[1:]),
        ({"role": "user"}, ["coffee at home", "coffee at work"]),
        ({"timestamp": {"gte": "2024-06-01T00:00:00Z", "lt": "2025-06-01T00:00:00Z"}}, BOTH[1:]),
        ({"metadata.n": {"lt": 2}}, BOTH[:1]),
        ({"OR": [{"label": "Home"}, {"metadata.n": 1}]}, ["coffee at home", "coffee at work"]),
        ({"NOT": [{"label": "Home"}, {"role": "assistant"}]}, BOTH[:1]),
        ({"OR": [{"label": "Home"}, {"folder": "/jobs"}]}, ["coffee at home", *BOTH]),
        ({"label": "Home", "folder": "/jobs"}, []),
        ({"OR": []}, []),
        ({"conversation_importance": {"gte": 5, "lte": 5.5}}, ["coffee at home", *BOTH]),
        ({"conversation_importance": {"gt": 5}}, []),
        ({"OR": [{"conversation_importance": {"in": [2, 5]}}, {"role": "tool"}]}, ["coffee at home", *BOTH]),
        ({"conversation_importance": {"ne": 5}}, []),
    ],
    ids=str,
)
@pytest.mark.parametrize("words", ["coffee", "a hot drink"])
def test_a_query_finds_the_messages_that_pass_the_filters(
    api: Api, talks: dict[str, str], words: str, filters: dict[str, Any], found: list[str]
) -> None:
    assert sorted(query(api, words, filters)) == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"folder": ""}, ["coffee outside"]),
        ({"folder": None}, ["coffee outside"]),
        ({"folder": {"in": ["", "/jobs-old"]}}, ["coffee at home", "coffee outside"]),
        (
            {"folder": {"in": ["", "/jobs-old", "/jobs"]}},
            ["coffee at home", "coffee at work", "coffee outside", BOTH[1]],
        ),
        ({"folder": {"ne": None}}, ["coffee at home", *BOTH]),
        ({"folder": "/"}, ["coffee at home", "coffee at work", "coffee outside", BOTH[1]]),
    ],
    ids=str,
)
def test_no_folder_means_the_conversations_without_one(
    api: Api, talks: dict[str, str], filters: dict[str, Any], found: list[str]
) -> None:
    begin(api, "coffee outside")

    assert sorted(query(api, "coffee", filters)) == found


def test_not_equal_does_not_match_a_conversation_without_a_label(api: Api, talks: dict[str, str]) -> None:
    begin(api, "coffee outside")

    assert sorted(query(api, "coffee", {"label": {"ne": "Home"}})) == BOTH
    assert sorted(query(api, "coffee", {"label": {"nin": ["Work"]}})) == ["coffee at home"]


def test_an_error_in_a_time_names_the_field_that_the_caller_used(api: Api) -> None:
    refused = api.post("/api/v1/query", {"query": "a", "filters": {"timestamp": {"gte": "yesterday"}}})

    assert "timestamp" in problem_of(refused, 422)["errors"][0]["field"]


def test_conversations_without_a_folder_can_be_left_out_of_context(api: Api, talks: dict[str, str]) -> None:
    begin(api, "coffee outside")

    items = assemble(api, "coffee", excluded_folders=[""], include_archived=True)["items"]

    assert sorted(item["content"] for item in items) == ["coffee at home", *BOTH]


@pytest.mark.parametrize(
    ("around", "found"),
    [
        (lambda many: {"folder": {"in": many}}, BOTH),
        (lambda many: {"folder": {"nin": many}}, ["coffee at home"]),
        (lambda many: {"OR": [{"folder": {"in": many}}, {"metadata.n": 1}]}, BOTH),
        (lambda many: {"folder": {"in": []}}, []),
    ],
    ids=["in", "nin", "or", "empty"],
)
def test_hundreds_of_folders_are_one_filter(api: Api, talks: dict[str, str], around: Any, found: list[str]) -> None:
    many = [f"/f/{number}" for number in range(599)]

    assert sorted(query(api, "coffee", around([*many, "/jobs"]))) == found


def test_a_query_can_be_limited_to_one_conversation_by_its_id(api: Api, talks: dict[str, str]) -> None:
    assert query(api, "coffee", {"conversation_id": talks["Home"]}) == ["coffee at home"]


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "gone"}, {"folder": ".."}, {"conversation_id": "7"}, {"labels": "x"}, {"label": {"gt": "a"}},
        {"label": 7}, {"timestamp": "yesterday"}, {"timestamp": {"contains": "2024"}}, {"payload.secret": 1},
        {"folder": {"contains": "a"}}, {"OR": [{"nothing": 1}]},
        {"conversation_importance": "high"},
        {"conversation_importance": {"in": [5, True]}},
        {"conversation_importance": {"exists": True}},
    ],
    ids=str,
)  # fmt: skip
def test_a_filter_that_cannot_be_applied_is_rejected(api: Api, filters: dict[str, Any]) -> None:
    problem_of(api.post("/api/v1/query", {"query": "x", "filters": filters}), 422)


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"query": ""}, {"top_k": 3}], ids=str)
@pytest.mark.parametrize("path", ["/query", "/query/smart", "/search/fts"])
def test_an_invalid_query_is_rejected(api: Api, path: str, body: dict[str, Any]) -> None:
    problem_of(api.post(f"/api/v1{path}", {"query": "x", **body}), 422)


@pytest.mark.parametrize("limit", ["_MAX_RANGES", "_EXACT"])
def test_every_plan_for_the_messages_of_a_folder_gives_the_same_results(
    api: Api, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The plans: ranges, single addresses, or the index and its refills."""
    for number in range(12):
        begin(api, f"coffee {number}", f"tea {number}", folder=f"/f{number % 2}")
    drain()
    usual = query(api, "coffee", {"folder": "/f1"}, limit=50)
    assert len(usual) == 12

    monkeypatch.setattr(scope, limit, 1)

    assert query(api, "coffee", {"folder": "/f1"}, limit=50) == usual
    monkeypatch.setattr(scope, "_EXACT", 1)
    monkeypatch.setattr(scope, "_MAX_RANGES", 1)
    assert query(api, "coffee", {"folder": "/f1"}, limit=50) == usual


def test_pages_of_a_query_are_cut_from_one_order(api: Api) -> None:
    begin(api, *(f"coffee number {number}" for number in range(9)))
    drain()

    whole = query(api, "coffee", limit=9)
    response = api.post("/api/v1/query", {"query": "coffee", "limit": 3, "offset": 3}).json()

    assert [item["content"] for item in response["results"]] == whole[3:6]
    assert (response["total"], response["page"], response["page_size"]) == (9, 2, 3)


def test_the_total_of_a_query_is_the_same_on_every_page(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memories.search.query.POOLS", (4, 400))
    begin(api, *(f"aardvark {number}" for number in range(9)))
    drain()

    pages = [{"limit": 1}, {"limit": 2}, {"limit": 2, "offset": 4}, {"limit": 9}]
    totals = [api.post("/api/v1/query", {"query": "aardvark", **page}).json()["total"] for page in pages]

    assert totals == [9] * 4


def test_a_query_reports_when_not_every_match_was_considered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(api, *(f"aardvark {number}" for number in range(5)))
    monkeypatch.setattr(lexical, "MAX_CANDIDATES", 3)

    assert api.post("/api/v1/query", {"query": "aardvark"}).json()["degraded"] == ["keyword"]


def test_a_hit_names_its_conversation_label_and_folder(api: Api, talks: dict[str, str]) -> None:
    body = {"query": "coffee", "filters": {"label": "Home"}, "include_archived": True}
    [hit] = api.post("/api/v1/query/smart", body).json()["results"]

    assert (hit["conversation_id"], hit["label"], hit["folder"]) == (talks["Home"], "Home", "/jobs-old")
    assert hit["score"] > 0
    assert hit["similarity"] > 0


def test_a_moved_conversation_is_found_in_its_new_folder_immediately(api: Api, talks: dict[str, str]) -> None:
    api.request("PUT", f"{ROOT}/{talks['Home']}/folder", {"folder": "/jobs/home"})

    assert "coffee at home" in query(api, "coffee", {"folder": "/jobs"})


def test_a_deleted_conversation_is_not_found(api: Api, talks: dict[str, str]) -> None:
    api.delete(f"{ROOT}/{talks['Work']}")

    assert query(api, "coffee") == full_text(api, "coffee", include_archived=True) == ["coffee at home"]
    assert [
        item["payload"]["content"] for item in api.search("coffee", namespace="conversations", include_archived=True)
    ] == ["coffee at home"]


@pytest.fixture
def corpus(api: Api) -> None:
    begin(
        api,
        "The quick brown fox jumps over the lazy dog",
        "A brown quick dog",
        "Foxes and dogs were running",
        "nothing of that kind",
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("fox", {0, 2}),
        ("FOXES", {0, 2}),
        ('"quick brown"', {0}),
        ('"brown quick"', {1}),
        ('"quick brown" dog', {0}),
        ("dog -fox", {1}),
        ('dog -"lazy dog"', {1, 2}),
        ("dog OR fox", {0, 1, 2}),
        ("dog AND fox", {0, 2}),
        ("dog fox AND NOT lazy", {2}),
        ("fox NOT lazy", {2}),
        ("lazy OR kind AND nothing", {0, 3}),
        ("(lazy OR kind) AND nothing", {3}),
        ('"quick brown" OR (the AND running)', {0, 2}),
        ("dog AND NOT (fox OR lazy)", {1}),
        ("NOT fox AND dog", {1}),
        ("dog AND -fox", {1}),
        ('"NOT" dog', {0, 1, 2}),
        ("dog (fox", {0, 1, 2}),
        ("fox*", {0, 2}),
        ("runn* jum*", {0, 2}),
        ("running*", {2}),
        ("dogs*", {2}),
        ("qu* AND NOT jump*", {1}),
        ("*dog", {0, 1, 2}),
        ('"quick', {0, 1}),
        ("run-ning", {2}),
        ("kind's", {3}),
        ("xylophone", set()),
        ("terms:fox", {0, 2}),
        ("dog -", {0, 1, 2}),
    ],
)
def test_full_text_supports_phrases_and_exclusions_and_treats_all_else_as_text(
    api: Api, corpus: None, words: str, found: set[int]
) -> None:
    results = api.post("/api/v1/search/fts", {"query": words}).json()

    assert {item["turn"] - 1 for item in results["results"]} == found
    assert results["total"] == len(found)


def test_full_text_does_not_match_the_words_of_the_message_before(api: Api) -> None:
    begin(api, "where is the aardvark", "in the garden")

    assert full_text(api, "aardvark") == ["where is the aardvark"]


def test_full_text_is_ranked_and_paged(api: Api) -> None:
    begin(api, "an aardvark and much else that was said on that long day in town", "aardvark aardvark", "no")

    assert full_text(api, "aardvark")[0] == "aardvark aardvark"
    assert len(full_text(api, "aardvark", limit=1, offset=1)) == 1


@pytest.mark.parametrize("words", ["-fox", "!!!", '""', "- - -", "NOT fox", "NOT (fox OR dog)", "the AND -fox"])
def test_full_text_needs_a_word_to_search_for(api: Api, words: str) -> None:
    problem_of(api.post("/api/v1/search/fts", {"query": words}), 422, field="query")


def test_full_text_reports_when_it_did_not_compare_every_match(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(api, *(f"aardvark {number}" for number in range(5)))
    monkeypatch.setattr("conversations.search.full_text._MAX_COMPARED", 3)

    assert api.post("/api/v1/search/fts", {"query": "aardvark"}).json()["degraded"] == ["keyword"]


def test_full_text_stops_reading_after_a_number_of_characters(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(api, *(f"aardvark {number}" for number in range(5)))
    monkeypatch.setattr("conversations.search.full_text._MAX_CHARACTERS", 35)

    read, indexed = (api.post("/api/v1/search/fts", {"query": query}).json() for query in ("aardv*", "aardvark"))

    assert (read["total"], read["degraded"]) == (3, ["keyword"])
    assert (indexed["total"], indexed["degraded"]) == (5, [])


def test_full_text_reads_messages_that_were_stored_before_marks_existed(api: Api) -> None:
    begin(api, "an aardvark sleeps", "a badger digs")
    for row in Memory.all_tenants.filter(namespace="conversations"):
        without_mark = " ".join(term for term in row.terms.split() if not term.startswith("§"))
        Memory.all_tenants.filter(pk=row.pk).update(terms=without_mark)

    assert full_text(api, "aardvark") == ["an aardvark sleeps"]
    assert full_text(api, "badger") == ["a badger digs"]


@pytest.mark.parametrize(("query", "limit"), [('"a fox" ', 16), ("-fox ", 32)])
def test_full_text_limits_phrases_and_exclusions(api: Api, query: str, limit: int) -> None:
    begin(api, "a fox")

    assert api.post("/api/v1/search/fts", {"query": f"hen {query * limit}"}).status_code == 200
    problem_of(api.post("/api/v1/search/fts", {"query": f"hen {query * (limit + 1)}"}), 422, field="query")


MANY_WORDS = " ".join(f"word{number}" for number in range(64))


@pytest.mark.parametrize("path", ["/api/v1/search/fts", "/api/v1/query", "/memories/search"])
def test_a_search_reports_when_the_query_has_more_words_than_it_looks_up(api: Api, path: str) -> None:
    assert api.post(path, {"query": MANY_WORDS}).json()["degraded"] == []
    assert api.post(path, {"query": f"{MANY_WORDS} aardvark"}).json()["degraded"] == ["keyword"]


def test_a_phrase_is_looked_up_after_any_number_of_words(api: Api) -> None:
    begin(api, "a striped aardvark", "an aardvark")

    assert full_text(api, f'{MANY_WORDS} "striped aardvark"') == ["a striped aardvark"]

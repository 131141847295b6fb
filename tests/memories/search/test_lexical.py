"""Full text: maintained by the database, without query syntax, and independent of other tenants."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from memories import coordinates
from memories.models import Memory
from memories.search import analyzer, lexical, scoring
from memories.search.lexical import Match
from memories.search.scoring import Stats
from memories.search.selection import Selection
from memories.search.statistics import statistics
from tenants.caller import Caller
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def matched(caller: Caller, query: str, *namespaces: str) -> list[Match]:
    where = namespaces or ("default",)
    stats = statistics(caller.tenant, where, analyzer.query_terms(query)[0])
    memories = Memory.objects.for_tenant(caller.tenant).filter(namespace__in=where, deleted_at=None)
    return list(lexical.matches(Selection.of(memories), where, stats, caller.tenant).ranked)


def coords_of(found: list[Match]) -> list[str]:
    memories = Memory.all_tenants.in_bulk([match.seq for match in found])
    return [memories[match.seq].coordinate.text for match in found]


def words(api: Api, query: str, **more: Any) -> list[str]:
    return [memory["coord"] for memory in api.search(query, mode="keyword", **more)]


@pytest.mark.parametrize(
    "clauses",
    [
        [("a",), ("a", "b")],
        [("a", "b"), ("a", "c"), ("b", "c")],
        [("a", "b"), ("c",), ("a", "d", "e"), ("c", "a")],
        [("a", "d*"), ("b", "a"), ("a", "c"), ("b", "e")],
    ],
)
def test_memories_with_all_terms_of_any_clause_are_found_once(
    api: Api, caller: Caller, clauses: list[tuple[str, ...]]
) -> None:
    texts = [set(text) for size in range(1, 6) for text in combinations("abcde", size)]
    items = [
        {"coord": [at], "payload": {"text": " ".join(f"x{letter}" for letter in sorted(text))}}
        for at, text in enumerate(texts)
    ]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    stats = statistics(caller.tenant, ["default"], [f"x{letter}" for letter in "abcde"])
    memories = Selection.of(Memory.objects.for_tenant(caller.tenant))
    given = [tuple(f"x{term}" for term in clause) for clause in clauses]
    found = lexical.matches(memories, ["default"], stats, caller.tenant, clauses=given).ranked
    expected = [at for at, text in enumerate(texts) if any({term[0] for term in clause} <= text for clause in clauses)]
    assert sorted(coords_of(list(found)), key=float) == [f"{at}.0" for at in expected]


# --- Maintained by the database ----------------------------------------------------------------------------------


def test_a_memory_is_found_as_soon_as_it_is_stored(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    assert words(api, "walruses") == ["1.0"]


def test_a_changed_memory_is_found_by_its_new_words_only(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    api.store("1", "a heron in the reeds")
    assert (words(api, "walrus"), words(api, "heron")) == ([], ["1.0"])


def test_a_patched_memory_is_found_by_its_new_words_only(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    api.patch("/memories/1", {"payload": {"text": "a heron in the reeds"}})
    assert (words(api, "walrus"), words(api, "heron")) == ([], ["1.0"])


def test_a_batch_that_replaces_leaves_no_old_words(api: Api) -> None:
    for animal in ("walrus", "heron"):
        items = [{"coord": [at], "payload": {"text": f"{animal} number {at}"}} for at in range(20)]
        assert api.post("/memories/bulk", {"items": items}).status_code == 200
    assert (words(api, "walrus", top_k=50), len(words(api, "heron", top_k=50))) == ([], 20)


def test_a_deleted_memory_is_not_found_until_it_is_restored(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    api.delete("/memories/1")
    assert words(api, "walrus") == []
    api.post("/memories/1/restore")
    assert words(api, "walrus") == ["1.0"]


def test_a_purged_memory_leaves_nothing_that_its_words_find(api: Api, caller: Caller) -> None:
    api.store("1", "a walrus on the ice")
    api.delete("/memories/1?purge=true")
    assert words(api, "walrus") == []
    assert statistics(caller.tenant, ["default"], ["walrus"]).frequency == {"walrus": 0}


def test_rows_changed_by_plain_sql_are_found_by_what_they_hold_now(api: Api, caller: Caller) -> None:
    api.store("1", "a walrus on the ice")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sfm_memories SET terms = 'heron reed' WHERE terms LIKE '%%walrus%%'")
    assert (coords_of(matched(caller, "walrus")), coords_of(matched(caller, "heron"))) == ([], ["1.0"])


def test_rows_moved_to_another_namespace_are_found_there(api: Api, caller: Caller) -> None:
    api.store("1", "a walrus on the ice")
    Memory.objects.for_tenant(api.tenant).update(namespace="elsewhere")
    assert coords_of(matched(caller, "walrus")) == []
    assert coords_of(matched(caller, "walrus", "elsewhere")) == ["1.0"]


def test_rows_moved_to_another_tenant_are_found_by_that_one_only(api: Api, stranger: Api) -> None:
    api.store("1", "a walrus on the ice")
    Memory.objects.for_tenant(api.tenant).update(tenant=stranger.tenant)
    assert (words(api, "walrus"), words(stranger, "walrus")) == ([], ["1.0"])


def test_rows_deleted_by_plain_sql_are_found_no_more(api: Api, caller: Caller) -> None:
    api.store("1", "a walrus on the ice")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sfm_memories WHERE terms LIKE '%%walrus%%'")
    assert statistics(caller.tenant, ["default"], ["walrus"]).frequency == {"walrus": 0}


def test_a_change_that_is_rolled_back_was_never_indexed(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    response = api.post("/memories", {"coord": "1", "payload": {"text": "heron"}}, if_match='"9"')
    assert response.status_code == 412
    assert (words(api, "walrus"), words(api, "heron")) == (["1.0"], [])


def test_the_full_text_index_exists_after_all_migrations() -> None:
    """A migration that rebuilds the table on SQLite silently drops its triggers."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'sfm_memories'")
            wanted = {f"sfm_memory_terms_scoped_{event}" for event in ("insert", "update", "delete")}
        else:
            cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname = 'sfm_memories_terms'")
            wanted = {"sfm_memories_terms"}
        assert {name for (name,) in cursor.fetchall()} >= wanted


def test_no_change_of_a_model_waits_for_a_migration() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="FTS5 is SQLite's")
def test_the_full_text_is_consistent_after_many_changes(api: Api) -> None:
    for round_ in range(3):
        for at in range(15):
            api.store(str(at), f"walrus {round_} heron{at} reed" * (1 + at % 3))
        for at in range(0, 15, 4):
            api.delete(f"/memories/{at}?purge=true")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO sfm_memory_terms_scoped(sfm_memory_terms_scoped) VALUES ('integrity-check')")
    indexed = statistics(api.tenant, ["default"], ["walrus"]).frequency["walrus"]
    assert indexed == Memory.objects.for_tenant(api.tenant).filter(terms__contains="walrus").count()


# --- Text is never syntax ----------------------------------------------------------------------------------------

HOSTILE = [
    *(
        '"',
        "'",
        "''",
        '"walrus',
        "walrus*",
        "wal*",
        "^walrus",
        "walrus AND",
        "AND",
        "OR",
        "NOT walrus",
        "NEAR(walrus ice)",
    ),
    *("walrus NEAR/2 ice", "terms:walrus", "{terms} : walrus", "(walrus", ")", "walrus)", "- walrus", "walrus + ice"),
    *("'; DROP TABLE sfm_memories; --", "walrus'); DELETE FROM sfm_memories; --", "walrus & ice", "walrus | heron"),
    *(
        "!walrus",
        "walrus <-> ice",
        "walrus:*",
        "walrus:A",
        "a & !",
        "\\",
        "\\'",
        "%",
        "%s",
        "%(x)s",
        "{}",
        "{0}",
        "$1",
        "?",
    ),
    *("§scope", "walrus§scope", "\u0001", "\ufeffwalrus", "🦭", "walrus\nAND\nice", "١٢٣"),
]


@pytest.mark.parametrize("query", HOSTILE)
def test_a_query_is_text_and_never_syntax(api: Api, query: str) -> None:
    api.store("1", "a walrus on the ice")
    api.store("2", "a heron in the reeds")
    wanted = set(analyzer.query_terms(query)[0])
    matching = {
        memory.coordinate.text
        for memory in Memory.objects.for_tenant(api.tenant)
        if wanted.intersection(memory.terms.split())
    }
    assert set(words(api, query)) == matching
    assert Memory.objects.for_tenant(api.tenant).count() == 2


@pytest.mark.parametrize("stored", HOSTILE)
def test_text_that_looks_like_query_syntax_is_plain_text(api: Api, stored: str) -> None:
    api.store("1", f"{stored} pelican")
    assert words(api, "pelican") == ["1.0"]


def test_a_query_without_any_word_finds_nothing(api: Api) -> None:
    api.store("1", "a walrus on the ice")
    assert words(api, "?!…") == []


# --- Tenants -----------------------------------------------------------------------------------------------------


def scores(api: Api, query: str) -> list[tuple[str, float]]:
    found = api.search(query, mode="keyword", explain=True, top_k=20)
    return [(memory["coord"], memory["scores"]["keyword"]) for memory in found]


def test_memories_of_another_tenant_change_no_score(api: Api, stranger: Api) -> None:
    for at, story in enumerate(("walrus on ice", "walrus and heron", "heron in reeds", "an owl at night")):
        api.store(str(at), story)
    before = scores(api, "walrus heron owl")
    items = [{"coord": [at], "payload": {"text": "walrus owl owl owl"}} for at in range(200)]
    stranger.post("/memories/bulk", {"items": items})
    assert before
    assert scores(api, "walrus heron owl") == before


def test_memories_in_another_namespace_change_no_score(api: Api) -> None:
    for at, story in enumerate(("walrus on ice", "walrus and heron", "heron in reeds")):
        api.store(str(at), story)
    before = scores(api, "walrus heron")
    items = [{"coord": [at], "payload": {"text": "walrus"}, "namespace": "other"} for at in range(50)]
    api.post("/memories/bulk", {"items": items})
    assert scores(api, "walrus heron") == before


def test_frequencies_count_the_tenants_own_memories(api: Api, stranger: Api, caller: Caller) -> None:
    api.store("1", "walrus walrus walrus")
    api.store("2", "walrus and heron")
    for at in range(9):
        stranger.store(str(at), "walrus and heron")
    stats = statistics(caller.tenant, ["default"], ["walrus", "heron", "owl"])
    assert (stats.documents, stats.frequency) == (2, {"walrus": 2, "heron": 1, "owl": 0})


def test_only_common_terms_keep_their_share_for_a_while(
    api: Api, stranger: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memories.search.statistics.COMMON", 2)
    theirs = Caller.command(stranger.tenant)
    api.store("1", "walrus")
    api.store("2", "walrus and heron")

    def frequency(whose: Caller) -> Mapping[str, int]:
        return statistics(whose.tenant, ["default"], ["heron", "walrus"]).frequency

    assert frequency(caller) == {"heron": 1, "walrus": 2}
    api.store("3", "heron")
    assert frequency(caller) == {"heron": 2, "walrus": 3}  # all memories, as before
    assert frequency(theirs) == {"heron": 0, "walrus": 0}


@pytest.mark.parametrize("sign", ["§", "", "' ", '" ', "§ "])
def test_a_text_that_holds_the_scope_of_another_tenant_is_not_found_there(
    api: Api, stranger: Api, caller: Caller, sign: str
) -> None:
    for scope in (f"{api.tenant.id.hex}xdefault", f"{api.tenant.id.hex}x{b'default'.hex()}"):
        stranger.store(f"{len(scope)}", f"{sign}scope{scope} walrus")
    api.store("1", "an owl")
    assert words(api, "walrus") == []
    assert statistics(caller.tenant, ["default"], ["walrus"]).frequency == {"walrus": 0}


def test_a_text_that_holds_its_own_scope_gains_nothing(api: Api) -> None:
    plain, spiced = "walrus ice snow", f"walrus ice scope{api.tenant.id.hex}xdefault"
    api.store("1", plain)
    api.store("2", spiced)
    [(_, one), (_, other)] = scores(api, "walrus")
    assert one == other


def test_a_namespace_that_ends_like_another_is_another(api: Api) -> None:
    api.store("1", "walrus", namespace="a")
    api.store("2", "walrus", namespace="a/b")
    api.store("3", "walrus", namespace="A")
    assert [words(api, "walrus", namespace=name) for name in ("a", "a/b", "A", "b")] == [["1.0"], ["2.0"], ["3.0"], []]


# --- Rank --------------------------------------------------------------------------------------------------------

STORIES = {
    "1.0": "The walrus rests on the ice, and the ice drifts",
    "2.0": "Ice",
    "3.0": "A heron stands in the reeds and looks for the walrus of the story about the walrus",
    "4.0": "Herons and walruses have never met",
    "5.0": "An owl hunts at night",
    "6.0": "Drifting ice, drifting snow, drifting thoughts of a walrus",
}


@pytest.mark.parametrize("query", ["walrus", "ice", "walrus ice", "drifting walrus on ice", "heron walrus owl night"])
def test_both_databases_rank_as_the_formula_says(api: Api, caller: Caller, query: str) -> None:
    for coord, story in STORIES.items():
        api.store(coord, story)
    stored = Memory.objects.for_tenant(api.tenant).values_list("coordinate_key", "terms")
    documents = {coordinates.from_key(key).text: terms for key, terms in stored}
    terms, _ = analyzer.query_terms(query)
    average = sum(len(words.split()) for words in documents.values()) / len(documents)
    stats = Stats(
        len(documents), average, {term: sum(term in words.split() for words in documents.values()) for term in terms}
    )
    weights = scoring.term_weights(terms, stats)
    by_hand = {coord: scoring.bm25(words, weights, average) for coord, words in documents.items()}
    wanted = sorted((coord for coord, score in by_hand.items() if score), key=lambda coord: (-by_hand[coord], coord))
    found = matched(caller, query)
    assert coords_of(found) == wanted
    assert [match.bm25 for match in found] == pytest.approx([by_hand[coord] for coord in wanted])
    assert words(api, query, top_k=20) == wanted


def test_the_recorded_order_of_one_query_is_unchanged(api: Api) -> None:
    """Detect changes to the formula: rare terms have a high idf, and length and repetition have little effect."""
    for coord, story in STORIES.items():
        api.store(coord, story)
    assert words(api, "drifting walrus on ice", top_k=20) == ["6.0", "1.0", "2.0", "3.0", "4.0"]


def test_a_rare_word_outweighs_a_frequent_one(api: Api) -> None:
    for at in range(20):
        api.store(str(at), f"walrus number {at}")
    api.store("99", "one heron here")
    [(first, score), *rest] = scores(api, "walrus heron")
    assert first == "99.0"
    assert all(score > other for _, other in rest)
    assert len(rest) == 19

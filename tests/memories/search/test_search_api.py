"""Search over HTTP: results, exclusions, and responses when a component is down."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from memories import embeddings, index
from memories.index import generations
from memories.index.local.index import LocalIndex
from memories.models import Memory
from memories.search import lexical, semantic
from memories.search.semantic import SemanticLeg
from somamemory.errors import EmbedderUnavailable, IndexUnavailable
from tests.conftest import Api, drain, problem_of

MODES = ("hybrid", "semantic", "keyword")
DIMENSION = 256

Search = Callable[..., dict[str, Any]]


def by_get(api: Api, query: str, **fields: Any) -> dict[str, Any]:
    named = {"query": query, **fields}
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
    response = api.get("/memories/search?" + urlencode(text))
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def by_post(api: Api, query: str, **fields: Any) -> dict[str, Any]:
    response = api.post("/memories/search", {"query": query, **fields})
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture(params=[by_get, by_post], ids=["get", "post"])
def search(request: pytest.FixtureRequest) -> Search:
    made: Search = request.param
    return made


def coords(found: dict[str, Any]) -> list[str]:
    return [memory["coord"] for memory in found["memories"]]


@pytest.fixture
def zoo(api: Api) -> Api:
    """Animals at [1, n], bread at [2, n], indexed."""
    animals: list[Any] = [
        ("1,1", "The aardvark sleeps in its burrow", {"importance": 1, "metadata": {"tag": "a"}}),
        (
            "1,2",
            "An aardvark eats ants at night",
            {"importance": 5, "memory_type": "semantic", "metadata": {"tag": "b"}},
        ),
        ("1,3", "Zebras run over the plain", {"importance": 9, "metadata": {"tag": "a", "deep": {"n": 10}}}),
        ("2,1", "Bread is baked in an oven", {"metadata": {"tag": "b", "deep": {"n": 9}}}),
        ("2,2", "The baker sleeps until noon", {}),
        ("1,1", "The aardvark of another namespace", {"namespace": "other"}),
    ]
    items = [{"coord": coord, "payload": {"text": text}, **more} for coord, text, more in animals]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    drain()
    return api


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*_: object) -> None:
        raise IndexUnavailable

    monkeypatch.setattr(index, "of", of)


# --- Modes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_finds_the_best_first(zoo: Api, search: Search, mode: str) -> None:
    found = search(zoo, "an aardvark that eats ants", mode=mode, top_k=2)

    assert coords(found) == ["1.0,2.0", "1.0,1.0"]
    assert (found["mode"], found["degraded"]) == (mode, [])
    assert found["took_ms"] >= 0


def test_a_hit_has_every_field_of_the_contract(zoo: Api, search: Search) -> None:
    [hit] = search(zoo, "zebra", top_k=1)["memories"]
    memory = zoo.get("/memories/1,3").json()["memory"]

    score, relevance = hit.pop("score"), hit.pop("relevance")
    assert 0 < score <= 1
    assert 0 < relevance < 1
    assert hit == {name: memory[name] for name in hit}
    assert set(hit) == {
        "id", "coord", "coordinate", "namespace", "payload", "memory_type", "metadata", "importance", "created_at",
        "key", "version", "valid_from", "valid_to", "source", "trust", "user_id", "agent_id", "session_id",
    }  # fmt: skip


def test_a_long_scan_runs_on_another_thread_with_the_same_result(
    zoo: Api, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = search(zoo, "an aardvark that eats ants")["memories"]
    threads: list[str] = []
    embed_and_ask = SemanticLeg._embed_and_ask

    def noted(leg: SemanticLeg) -> Any:
        threads.append(threading.current_thread().name)
        return embed_and_ask(leg)

    monkeypatch.setattr(semantic, "SCANNED_ASIDE_FROM", 0)
    monkeypatch.setattr(SemanticLeg, "_embed_and_ask", noted)

    assert search(zoo, "an aardvark that eats ants")["memories"] == wanted
    # pgvector uses the request's database connection, so it stays on the request's thread.
    is_local = isinstance(index.of(generations.active()), LocalIndex)
    assert [name.startswith("soma-semantic") for name in threads] == [is_local]


@pytest.mark.parametrize("mode", MODES)
def test_scores_fall_and_stay_between_nothing_and_one(zoo: Api, search: Search, mode: str) -> None:
    scores = [memory["score"] for memory in search(zoo, "aardvark sleeps", mode=mode, top_k=200)["memories"]]

    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_words_are_stemmed_and_found_immediately(api: Api, search: Search) -> None:
    api.store("1", "She was baking breads")

    assert coords(search(api, "BAKED bread!", mode="keyword")) == ["1.0"]


def test_the_context_is_found_but_not_shown(api: Api, search: Search) -> None:
    api.store("1", "yes", context="Do you like aardvarks?")

    [hit] = search(api, "aardvark", mode="keyword")["memories"]

    assert hit["payload"] == {"text": "yes"}


def test_a_supplied_vector_is_searched(api: Api, search: Search) -> None:
    vector = [float(number) for number in embeddings.current().embed(["a castle in Scotland"])[0]]
    api.store("1", "no words in common", embedding=vector)
    drain()

    [hit] = search(api, "a castle in Scotland", mode="semantic", min_score=0.9)["memories"]

    assert hit["coord"] == "1.0"


@pytest.mark.parametrize("mode", MODES)
def test_a_search_returns_five_hits_by_default(api: Api, search: Search, mode: str) -> None:
    for number in range(8):
        api.store(str(number), f"aardvark number {number}")
    drain()

    assert len(coords(search(api, "aardvark", mode=mode))) == 5
    assert len(coords(search(api, "aardvark", mode=mode, top_k=7))) == 7
    assert len(coords(search(api, "aardvark", mode=mode, top_k=200))) == 8


# --- Narrowing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("narrowing", "allowed"),
    [
        ({"memory_type": "semantic"}, {"1.0,2.0"}),
        ({"prefix": "1"}, {"1.0,1.0", "1.0,2.0", "1.0,3.0"}),
        ({"prefix": "1,3"}, {"1.0,3.0"}),
        ({"near": "1,1", "radius": 1}, {"1.0,1.0", "1.0,2.0", "2.0,1.0"}),
        ({"near": "1,1", "radius": 0}, {"1.0,1.0"}),
        ({"filters": {"metadata.tag": "a"}}, {"1.0,1.0", "1.0,3.0"}),
        ({"filters": {"importance": {"gte": 5}}}, {"1.0,2.0", "1.0,3.0"}),
        ({"filters": {"metadata.deep.n": {"gt": 9}}}, {"1.0,3.0"}),
        ({"filters": {"text": {"icontains": "AARDVARK"}}}, {"1.0,1.0", "1.0,2.0"}),
        ({"filters": {"NOT": [{"metadata.tag": {"exists": True}}]}}, {"2.0,2.0"}),
        ({"filters": {"memory_type": {"in": []}}}, set()),
        ({"filters": {"nowhere": 1}}, set()),
        (
            {"prefix": "1", "memory_type": "episodic", "filters": {"metadata.tag": "a"}, "near": "1,1", "radius": 1},
            {"1.0,1.0"},
        ),
        ({"prefix": "9"}, set()),
        ({"namespace": "nowhere"}, set()),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),  # the same in every process
)
def test_every_mode_honours_every_narrowing(
    zoo: Api, search: Search, narrowing: dict[str, Any], allowed: set[str]
) -> None:
    query = "the aardvark eats ants, zebras run, bread is baked, the baker sleeps"

    for mode, consistency in itertools.product(MODES, ("eventual", "strong")):
        found = search(zoo, query, mode=mode, top_k=200, consistency=consistency, **narrowing)

        assert set(coords(found)) == allowed, (mode, consistency)


@pytest.mark.parametrize("mode", MODES)
def test_a_list_of_namespaces_is_searched_as_one(zoo: Api, mode: str) -> None:
    found = by_post(zoo, "aardvark", mode=mode, namespace=["default", "other", "default"], top_k=200, min_score=0.3)

    names = [(memory["namespace"], memory["coord"]) for memory in found["memories"]]
    assert {("other", "1.0,1.0"), ("default", "1.0,1.0"), ("default", "1.0,2.0")} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mode", MODES)
def test_the_least_score_is_honoured(zoo: Api, search: Search, mode: str) -> None:
    everything = search(zoo, "aardvark ants", mode=mode, top_k=200)["memories"]
    bound = everything[0]["score"] - 1e-6

    found = search(zoo, "aardvark ants", mode=mode, top_k=200, min_score=round(bound, 6))

    assert coords(found) == [hit["coord"] for hit in everything if hit["score"] >= bound]


# --- Pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_pages_by_offset_joined_are_the_one_long_page(api: Api, search: Search, mode: str) -> None:
    items = [{"coord": [n], "payload": {"text": f"aardvark {'ant ' * (n % 7)} {n % 3}"}} for n in range(40)]
    api.post("/memories/bulk", {"items": items})
    drain()
    whole = coords(search(api, "aardvark ant", mode=mode, top_k=200))

    pages = [coords(search(api, "aardvark ant", mode=mode, top_k=7, offset=at)) for at in range(0, 49, 7)]

    assert len(whole) == len(set(whole)) == 40
    assert [coord for page in pages for coord in page] == whole


def test_an_offset_beyond_the_end_finds_nothing(zoo: Api, search: Search) -> None:
    assert coords(search(zoo, "aardvark", offset=10_000)) == []


def test_equal_scores_come_in_the_order_of_their_coordinates(api: Api, search: Search) -> None:
    for number in (3, 1, 2):
        api.store(str(number), "the same aardvark")
    drain()

    for mode in MODES:
        assert coords(search(api, "aardvark", mode=mode)) == ["1.0", "2.0", "3.0"]


# --- Weights and explanations ------------------------------------------------------------------------------------


def test_a_score_is_explained_only_on_request(zoo: Api, search: Search) -> None:
    assert all("scores" not in memory for memory in search(zoo, "aardvark")["memories"])

    explained = search(zoo, "aardvark", explain=True)["memories"]

    for memory in explained:
        assert set(memory["scores"]) == {
            *("semantic", "keyword", "recency", "importance"),
            *("neighbours", "speaker", "question"),
        }
        assert all(0 <= score <= 1 for score in memory["scores"].values())


def test_a_memory_that_is_not_indexed_has_no_semantic_score(api: Api, search: Search) -> None:
    api.store("1", "an aardvark")

    [hit] = search(api, "aardvark", explain=True)["memories"]

    assert hit["scores"]["semantic"] is None
    assert hit["scores"]["keyword"] > 0


def test_importance_counts_if_it_has_a_weight(zoo: Api) -> None:
    plain = by_post(zoo, "aardvark zebra", mode="keyword", top_k=3)
    weighed = by_post(zoo, "aardvark zebra", mode="keyword", top_k=3, weights={"keyword": 0.01, "importance": 1})

    assert coords(weighed)[0] == "1.0,3.0"
    assert coords(weighed) == ["1.0,3.0", "1.0,2.0", "1.0,1.0"]
    assert set(coords(plain)) == set(coords(weighed))


def test_recency_counts_if_it_has_a_weight(api: Api) -> None:
    api.store("1", "an aardvark")
    api.store("2", "an aardvark")
    Memory.objects.for_tenant(api.tenant).filter(coordinate_key__startswith="bff").update(
        created_at=timezone.now() - timedelta(days=70)
    )

    assert coords(by_post(api, "aardvark", mode="keyword")) == ["1.0", "2.0"]
    assert coords(by_post(api, "aardvark", mode="keyword", weights={"recency": 1})) == ["2.0", "1.0"]


@pytest.mark.parametrize(
    ("mode", "weights"),
    [
        ("hybrid", {"semantic": 0, "keyword": 0}),
        ("semantic", {"semantic": 0}),
        ("keyword", {"keyword": 0}),
    ],
)
def test_weights_that_leave_nothing_are_refused(zoo: Api, mode: str, weights: dict[str, float]) -> None:
    problem_of(zoo.post("/memories/search", {"query": "x", "mode": mode, "weights": weights}), 422, field="weights")


@pytest.mark.parametrize(("mode", "part"), [("keyword", "semantic"), ("semantic", "keyword")])
def test_a_weight_that_would_count_for_nothing_is_refused(zoo: Api, mode: str, part: str) -> None:
    answer = zoo.post("/memories/search", {"query": "x", "mode": mode, "weights": {part: 0.5}})

    problem_of(answer, 422, field=f"weights.{part}")


def test_a_common_word_finds_the_best_of_all_that_hold_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MAX_CANDIDATES", 3)
    api.store("1", "common")
    for number in range(2, 9):
        api.store(str(number), "common among many other words that make it long")

    answer = api.post("/memories/search", {"query": "common", "mode": "keyword", "top_k": 8}).json()

    assert (answer["memories"][0]["coord"], len(answer["memories"]), answer["degraded"]) == ("1.0", 8, [])


def test_a_keyword_search_says_when_it_has_not_ranked_all_matches(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MAX_RANKED", 3)
    for number in range(5):
        api.store(str(number), "common")

    answer = api.post("/memories/search", {"query": "common", "mode": "keyword", "top_k": 8}).json()

    assert (len(answer["memories"]), answer["degraded"]) == (3, ["keyword"])


# --- Pending memories --------------------------------------------------------------------------------------------


def test_strong_consistency_sees_what_is_not_indexed_yet(api: Api, search: Search) -> None:
    api.store("1", "The capital of France is Paris")

    assert coords(search(api, "capital city of France", mode="semantic")) == []
    assert coords(search(api, "capital city of France", mode="semantic", consistency="strong")) == ["1.0"]


def test_strong_consistency_sees_a_memory_as_it_is_now(api: Api, search: Search) -> None:
    api.store("1", "The capital of France is Paris")
    api.store("2", "Bread is baked in an oven")
    drain()
    api.patch("/memories/1", {"payload": {"text": "Cheese is made of milk"}})
    api.store("3", "France and its capital, Paris")

    best = search(api, "the capital of France", mode="semantic", consistency="strong", top_k=1, explain=True)

    assert coords(best) == ["3.0"]
    rest = search(api, "the capital of France", mode="semantic", consistency="strong", top_k=9)
    scores = {memory["coord"]: memory["score"] for memory in rest["memories"]}
    assert scores.get("1.0", 0) < scores["3.0"] - 0.2


def test_strong_consistency_scores_an_own_vector_too(api: Api) -> None:
    vector = [float(number) for number in embeddings.current().embed(["a castle in Scotland"])[0]]
    api.store("1", "no words in common", embedding=vector)

    found = by_post(api, "a castle in Scotland", mode="semantic", consistency="strong", min_score=0.9)

    assert coords(found) == ["1.0"]


def test_strong_consistency_is_refused_rather_than_partial(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "MAX_PENDING", 1)
    api.store("1", "one")
    api.store("2", "two")

    response = api.post("/memories/search", {"query": "one", "mode": "semantic", "consistency": "strong"})

    problem_of(response, 503, "index_unavailable")


# --- Exclusions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consistency", ["eventual", "strong"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("drained", [False, True])
def test_a_deleted_memory_is_never_found(zoo: Api, search: Search, mode: str, consistency: str, drained: bool) -> None:
    zoo.delete("/memories/1,1")
    zoo.delete("/memories/1,2?purge=true")
    if drained:
        drain()

    found = coords(search(zoo, "aardvark sleeps burrow", mode=mode, consistency=consistency, top_k=200))

    assert not {"1.0,1.0", "1.0,2.0"} & set(found)


@pytest.mark.parametrize("mode", MODES)
def test_an_expired_memory_is_never_found(zoo: Api, search: Search, mode: str) -> None:
    Memory.objects.for_tenant(zoo.tenant).filter(importance=1).update(expires_at=timezone.now())

    assert "1.0,1.0" not in coords(search(zoo, "aardvark sleeps burrow", mode=mode, top_k=200))


def test_a_restored_memory_is_found_again(zoo: Api, search: Search) -> None:
    zoo.delete("/memories/1,1")
    drain()
    zoo.post("/memories/1,1/restore")
    drain()

    for mode in MODES:
        assert coords(search(zoo, "aardvark sleeps in its burrow", mode=mode, top_k=1)) == ["1.0,1.0"]


@pytest.mark.parametrize("mode", MODES)
def test_more_candidates_are_requested_if_most_are_rejected(
    api: Api, search: Search, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memories.search.query.POOLS", (4, 8))
    items = [{"coord": [1, n], "payload": {"text": "aardvark aardvark aardvark"}} for n in range(30)]
    items += [{"coord": [2, n], "payload": {"text": f"an aardvark and a zebra {n}"}} for n in range(2)]
    api.post("/memories/bulk", {"items": items})
    drain()
    api.post(
        "/memories/bulk/delete", {"coords": [[1, n] for n in range(30)]}
    )  # the index does not contain this change yet

    assert set(coords(search(api, "aardvark", mode=mode, top_k=2))) == {"2.0,0.0", "2.0,1.0"}


# --- Outages -----------------------------------------------------------------------------------------------------


def test_without_the_index_keyword_results_are_marked_as_degraded(zoo: Api, search: Search, no_index: None) -> None:
    found = search(zoo, "aardvark")

    assert found["degraded"] == ["semantic"]
    assert coords(found) == coords(search(zoo, "aardvark", mode="keyword"))


def test_without_the_index_a_search_by_meaning_is_503(zoo: Api, no_index: None) -> None:
    for response in (
        zoo.post("/memories/search", {"query": "aardvark", "mode": "semantic"}),
        zoo.get("/memories/search?query=aardvark&mode=semantic"),
    ):
        problem_of(response, 503, "index_unavailable")
        assert int(response["Retry-After"]) > 0


def test_without_the_index_a_search_by_word_lacks_nothing(zoo: Api, search: Search, no_index: None) -> None:
    assert search(zoo, "aardvark", mode="keyword")["degraded"] == []


def test_without_the_index_even_weights_for_meaning_alone_find_words(zoo: Api, no_index: None) -> None:
    found = by_post(zoo, "aardvark", weights={"semantic": 1, "keyword": 0})

    assert found["degraded"] == ["semantic"]
    assert set(coords(found)) == {"1.0,1.0", "1.0,2.0"}


def test_without_the_embedder_words_still_find(zoo: Api, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        in_process = True

        def embed(self, texts: list[str]) -> None:
            raise EmbedderUnavailable("the provider at 10.0.0.1 says no")

    monkeypatch.setattr(embeddings, "of", lambda generation: Down())

    assert search(zoo, "aardvark")["degraded"] == ["semantic"]
    problem_of(zoo.post("/memories/search", {"query": "aardvark", "mode": "semantic"}), 503, "embedder_unavailable")


def test_writes_and_reads_continue_without_the_index(api: Api, no_index: None) -> None:
    api.store("1", "words")

    assert api.get("/memories/1").status_code == 200
    assert api.get("/stats").json()["index"]["pending"] == 1


# --- GET and POST ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": "keyword", "top_k": 3, "offset": 1},
        {"prefix": "1", "explain": True},
        {"near": "1,1", "radius": 1.5, "min_score": 0.1},
        {"filters": {"OR": [{"metadata.tag": "a"}, {"text": {"contains": "oven"}}]}, "memory_type": "episodic"},
        {"namespace": "other", "consistency": "strong", "mode": "semantic"},
    ],
    ids=str,
)
def test_get_and_post_return_the_same(zoo: Api, fields: dict[str, Any]) -> None:
    def steady(found: dict[str, Any]) -> dict[str, Any]:
        for memory in found["memories"]:
            memory.get("scores", {}).pop("recency", None)
        return {**found, "took_ms": 0}

    assert steady(by_get(zoo, "aardvark sleeps", **fields)) == steady(by_post(zoo, "aardvark sleeps", **fields))


# --- Hostile queries ---------------------------------------------------------------------------------------------

HOSTILE = [
    *['"', "'", '"aardvark', "aardvark*", "*", "(", ")", "aardvark OR", "AND", "OR", "NOT aardvark", "NEAR(a b)"],
    *[
        "a AND b",
        "terms:aardvark",
        "-aardvark",
        "^aardvark",
        "{aardvark}",
        "aardvark & zebra",
        "a | b",
        "!a",
        "a <-> b",
    ],
    *["a:*", "\\", "%", "_", "'; DROP TABLE sfm_memories; --", "§scope", "§", "$1", "%s", "{}", "0", "1e400", "null"],
    *["\x01\x02", "\x7f", "\u200b", "\u202e", "\ufeff", "\U0001f600", "\u65e5\u672c\u8a9e", "\u0627\u0644\u0639"],
    *["e\u0301" * 50, "\u00df\u0130\u0131", "\u0345" * 100, "a" * 8192, "x " * 4096, "' " * 4000],
    *["the who", "the", "?", "..."],
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: repr(query[:20]))
def test_a_query_is_text_and_never_syntax(zoo: Api, query: str) -> None:
    for mode in MODES:
        posted = zoo.post("/memories/search", {"query": query, "mode": mode})
        got = zoo.get("/memories/search?" + urlencode({"query": query, "mode": mode}))

        assert posted.status_code == got.status_code == 200, posted.content
        assert coords(posted.json()) == coords(got.json()), mode


def test_an_operator_in_a_query_excludes_nothing(zoo: Api) -> None:
    for query in ("NOT aardvark", "-aardvark", "aardvark AND nothingatall", "terms:aardvark", "aardvark*"):
        assert {"1.0,1.0", "1.0,2.0"} <= set(coords(by_post(zoo, query, mode="keyword"))), query


def test_scope_words_find_no_memories_of_others(zoo: Api, stranger: Api) -> None:
    stranger.store("1", "aardvark")
    for query in (f"§scope{zoo.tenant.id.hex}xdefault aardvark", f"scope{zoo.tenant.id.hex}x{b'default'.hex()}"):
        assert set(coords(by_post(stranger, query, mode="keyword"))) <= {"1.0"}


# --- Bad requests ------------------------------------------------------------------------------------------------

BAD = [
    ({"query": None}, "query"),
    ({"query": ""}, "query"),
    ({"query": " \n\t"}, "query"),
    ({"query": "x" * 8193}, "query"),
    ({"query": "a\0b"}, "query"),
    ({"top_k": 0}, "top_k"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": 201}, "top_k"),
    ({"top_k": 10**18}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"top_k": "many"}, "top_k"),
    ({"offset": -1}, "offset"),
    ({"offset": 10_001}, "offset"),
    ({"offset": 10**18}, "offset"),
    ({"mode": "magic"}, "mode"),
    ({"memory_type": "magic"}, "memory_type"),
    ({"namespace": "a b"}, "namespace"),
    ({"namespace": ""}, "namespace"),
    ({"min_score": -0.1}, "min_score"),
    ({"min_score": 1.1}, "min_score"),
    ({"min_score": "x"}, "min_score"),
    ({"consistency": "some"}, "consistency"),
    ({"explain": "maybe"}, "explain"),
    ({"near": "1"}, "radius"),
    ({"radius": 1}, "near"),
    ({"near": "1", "radius": -1}, "radius"),
    ({"near": "1", "radius": 1e101}, "radius"),
    ({"surprise": 1}, "surprise"),
    ({"limit": 5}, "limit"),
]


@pytest.mark.parametrize(("fields", "field"), BAD, ids=str)
def test_a_bad_field_is_named_by_get_and_post(api: Api, fields: dict[str, Any], field: str) -> None:
    body = {name: value for name, value in {"query": "x", **fields}.items() if value is not None}

    posted = problem_of(api.post("/memories/search", body), 422)
    got = problem_of(api.get("/memories/search?" + urlencode(body)), 422)

    for problem in (posted, got):
        assert [error["field"].partition(".")[0] for error in problem["errors"]] in ([field], [field, field])


@pytest.mark.parametrize(
    "filters",
    [
        {"importance": {"almost": 5}},
        {"importance": {}},
        {"importance": {"gte": "x"}},
        {"AND": {}},
        {"XOR": {"gt": []}},
        {"a": {"in": 5}},
        {"a": [1]},
        {"a" * 1000: 1},
        {"payload": 1},
    ],
    ids=lambda filters: str(filters)[:30],
)
def test_a_bad_filter_is_422_by_get_and_post(api: Api, filters: dict[str, Any]) -> None:
    for response in (
        api.post("/memories/search", {"query": "x", "filters": filters}),
        api.get("/memories/search?" + urlencode({"query": "x", "filters": json.dumps(filters)})),
    ):
        assert problem_of(response, 422)["errors"][0]["field"].startswith("filters")


@pytest.mark.parametrize(
    "filters",
    [
        "",
        "x",
        "{",
        "[]",
        "1",
        '{"a": NaN}',
        '{"a": 1e400}',
        '{"a": 1, "a": 2}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        "[" * 60_000,
        "x" * 65_537,
    ],
    ids=lambda text: text[:20],
)
def test_filters_in_a_query_string_are_strict_json(api: Api, filters: str) -> None:
    response = api.get("/memories/search?" + urlencode({"query": "x", "filters": filters}))

    assert problem_of(response, 422)["errors"][0]["field"].startswith("filters")


@pytest.mark.parametrize("coordinate", ["", "x", "1,nan", "1,", ",".join(["1"] * 33)])
@pytest.mark.parametrize("name", ["prefix", "near"])
def test_a_bad_coordinate_is_refused(api: Api, name: str, coordinate: str) -> None:
    body = {"query": "x", name: coordinate, "radius": 1}

    problem_of(api.post("/memories/search", body), 400, "invalid_coordinate")
    problem_of(api.get("/memories/search?" + urlencode(body)), 400, "invalid_coordinate")


@pytest.mark.parametrize("weights", [{"semantic": -1}, {"keyword": 2}, {"recency": "x"}, {"surprise": 1}, 5])
def test_bad_weights_are_refused(api: Api, weights: Any) -> None:
    problem = problem_of(api.post("/memories/search", {"query": "x", "weights": weights}), 422)

    assert problem["errors"][0]["field"].startswith("weights")

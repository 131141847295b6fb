"""The playground: it runs the API's searches and contexts with any options, and explains the results."""

from __future__ import annotations

import ast
import json
import re
import shlex
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.playground import code, options
from console.playground.parts import contributions, marked, matching_terms
from memories.models import Memory
from memories.search import hybrid
from memories.search.hybrid import Search
from memories.search.scoring import Weights
from tenants.caller import Caller
from tests.conftest import Api, drain, page, page_content
from tests.support.staff import sign_in_staff

WEIGHTS = [
    {},
    {"semantic": 0.5, "keyword": 0.5, "recency": 0.2, "importance": 0.3},
    {"semantic": 0.0, "keyword": 1.0},
    {"semantic": 1.0, "keyword": 0.0},
]


@pytest.fixture
def zoo(api: Api) -> Api:
    for number, text in enumerate(["The aardvark sleeps.", "Does the aardvark sleep?", "A lion roars at night."]):
        api.store(str(number), text, importance=float(number))
    drain()
    api.store("9", "The new aardvark is not indexed.")
    return api


def shown(client: Client, name: str = "playground", **query: Any) -> str:
    return page_content(client, page(name, **{"tenant": "acme", **query}))


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_the_contributions_of_a_hit_add_up_to_its_score(zoo: Api, caller: Caller, weights: dict[str, float]) -> None:
    hits = hybrid.search(caller, Search("sleepy aardvark", weights=weights, explain=True)).hits

    assert hits
    for hit in hits:
        parts = contributions(hit.scores or {}, Weights(**weights))
        assert sum(part.amount for part in parts) == pytest.approx(hit.score, abs=1e-4)


def test_a_part_without_a_weight_is_not_drawn() -> None:
    scores = {"semantic": 0.5, "keyword": 0.9, "recency": 1.0, "importance": 1.0}

    parts = contributions(scores, Weights(semantic=1.0, keyword=0.0))

    assert [(part.name, part.percent) for part in parts] == [("semantic", 50)]


def test_matching_words_are_marked_in_an_excerpt_around_the_first() -> None:
    text = "x " * 300 + "then James's aardvarks slept. " + "y " * 300

    pieces = marked(text, matching_terms("aardvark sleep"))

    assert [word for word, matches in pieces if matches] == ["aardvarks"]
    assert pieces[0] == ("…", False)
    assert len("".join(piece for piece, _ in pieces)) <= 402
    assert marked("no match", matching_terms("aardvark")) == [("no match", False)]


def body(address: str, known: Any = options.SEARCH) -> dict[str, Any]:
    return options.body("tea", options.controls(known, QueryDict(address), "", []))


def test_the_address_becomes_the_body_of_the_request() -> None:
    address = "namespace=a&namespace=b&mode=hybrid&top_k=3&weights.recency=0.5&include_superseded=on&expand.hops=2"

    assert body("") == {"query": "tea", "top_k": 10}
    assert body(f'{address}&filters={{"n":1}}&memory_type=') == {
        "query": "tea", "namespace": ["a", "b"], "top_k": 3, "weights": {"recency": 0.5}, "include_superseded": True,
        "expand": {"hops": 2}, "filters": {"n": 1},
    }  # fmt: skip
    assert body("excluded_folders=/a,+/b&context_budget=700", options.CONTEXT) == {
        "query": "tea", "excluded_folders": ["/a", "/b"], "context_budget": 700,
    }  # fmt: skip


def test_the_code_samples_send_that_body() -> None:
    request = {"query": 'it\'s "tea"\n', "top_k": 3, "filters": {"open": True, "city": None}}
    curl, python, typescript = (text for _, text in code.samples("http://x", "/s", "memories.search", request))
    calls = (node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Call))
    [call] = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "search"]

    assert json.loads(shlex.split(curl)[-1]) == request
    assert {"query": ast.literal_eval(call.args[0])} | {
        str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords
    } == request
    assert '"city": null' in typescript


def test_the_hits_are_those_of_the_api_with_their_words_marked(superuser: Client, zoo: Api) -> None:
    text = shown(superuser, query="aardvark", top_k="2", **{"weights.importance": "0.4"})

    expected = zoo.search("aardvark", top_k=2, weights={"importance": 0.4})
    assert re.findall(r'class="console-coord">([^<]+)</a>', text) == [hit["coord"] for hit in expected]
    assert [f"score <b>{hit['score']:.3f}</b>" in text for hit in expected] == [True, True]
    assert "<mark>aardvark</mark>" in text
    assert "&quot;importance&quot;: 0.4" in text


def test_two_settings_are_compared(superuser: Client, zoo: Api) -> None:
    text = shown(superuser, query="aardvark sleeps at night", compare="on", **{"b.mode": "semantic", "b.top_k": "3"})

    assert text.index("Settings A") < text.index("Settings B, 2 changed")
    assert "semantic 1.00 " in text[text.index("Settings B") :]


def test_invalid_options_are_explained_next_to_their_settings(superuser: Client, zoo: Api) -> None:
    for query in ({"filters": "{"}, {"top_k": "201"}, {"as_of": "never"}, {"expand.weight": "1"}, {"near": "1"}):
        text = shown(superuser, query="aardvark", **query)
        assert 'role="alert"' in text
        assert f"<code>{next(iter(query)).partition('.')[0]}" in text or "radius" in text


def test_a_context_shows_what_is_in_it_and_why_the_rest_is_not(superuser: Client, zoo: Api) -> None:
    said = [{"role": "user", "content": f"The aardvark number {n} sleeps in burrow {n}."} for n in range(30)]
    zoo.post("/api/v1/conversations", {"label": "Zoo", "messages": [*said, said[0]]})
    drain()

    request = {"query": "Where does the aardvark sleep?", "context_budget": 100}
    text = shown(superuser, "playground_context", query=request["query"], context_budget="100")

    manifest = zoo.post("/api/v1/context/assemble?manifest=true", request).json()
    kept, left = text.split("Left out")
    assert re.findall(r'class="console-coord">([^<]+)</a>', kept) == [item["coord"] for item in manifest["items"]]
    assert f"<b>{manifest['used_tokens']}</b> of 100 tokens" in text
    assert "does not fit" in left
    assert "&lt;memory id=" in text


def test_the_playground_counts_as_no_read_and_writes_nothing(superuser: Client, zoo: Api) -> None:
    for name in ("playground", "playground_context"):
        shown(superuser, name, query="aardvark")
        with CaptureQueriesContext(connection) as captured:
            shown(superuser, name, query="aardvark", namespaces="default")
        assert not [sql["sql"] for sql in captured if re.match("INSERT|UPDATE|DELETE", sql["sql"])]
    assert not Memory.objects.for_tenant(zoo.tenant).filter(access_count__gt=0).exists()


def test_the_playground_is_closed_to_others(superuser: Client, staff: Client, zoo: Api, stranger: Api) -> None:
    stranger.store("1", "their aardvark")
    client = sign_in_staff(zoo.tenant, all_but="view_memory")

    for name in ("playground", "playground_context"):
        assert client.get(page(name, tenant="acme", query="aardvark")).status_code == 403
        assert staff.get(page(name, tenant="stranger", query="aardvark")).status_code == 404
        assert "their aardvark" not in shown(staff, name, query="aardvark", namespaces="default")

"""Profiles that replace other memory servers, and the number of tokens in each tool list."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from time import sleep
from typing import Any

import pytest

from api.mcp import graph_store, knowledge_graph_file
from api.mcp.endpoint import PROFILES
from api.mcp.remote_server import Unreachable
from conversations.context import tokens
from memories import services
from somamemory.errors import InvalidInput
from tests.conftest import Api, drain, issue_key
from tests.support.mcp import call, error_of, result_of, tools

GRAPH, SEKHA, CHATGPT = "/mcp?profile=knowledge-graph", "/mcp?profile=sekha", "/mcp?profile=chatgpt"
MAX_TOKENS = {"default": 1500, "knowledge-graph": 1500, "sekha": 1300, "chatgpt": 200}
NINE = {
    "create_entities",
    "create_relations",
    "add_observations",
    "delete_entities",
    "delete_observations",
    "delete_relations",
    "read_graph",
    "search_nodes",
    "open_nodes",
}
SEVEN = {
    "memory_store",
    "memory_search",
    "memory_get_context",
    "memory_update",
    "memory_prune",
    "memory_export",
    "memory_stats",
}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_list_of_tools_takes_few_tokens(api: Api, profile: str) -> None:
    listed = json.dumps(tools(api, f"/mcp?profile={profile}"), separators=(",", ":"))

    assert tokens.count([listed])[0] < MAX_TOKENS[profile]


@pytest.mark.parametrize(("url", "names"), [(GRAPH, NINE), (SEKHA, SEVEN), (CHATGPT, {"search", "fetch"})])
def test_a_profile_has_the_tools_of_the_server_that_it_replaces(api: Api, url: str, names: set[str]) -> None:
    assert {tool["name"] for tool in tools(api, url)} == names


# --- knowledge-graph ---------------------------------------------------------------------------------------------


def create(api: Api, *names: str, observations: list[str] | None = None) -> Any:
    entities = [{"name": name, "entityType": "person", "observations": observations or []} for name in names]
    return call(api, "create_entities", GRAPH, entities=entities)["entities"]


def relation(start: str, end: str, kind: str = "works at") -> dict[str, str]:
    return {"from": start, "to": end, "relationType": kind}


def names_in(graph: dict[str, Any]) -> list[str]:
    return [entity["name"] for entity in graph["entities"]]


def test_an_entity_is_created_once(api: Api) -> None:
    assert len(create(api, "Ada", "Grace Hopper")) == 2
    assert [entity["name"] for entity in create(api, "Ada", "Alan")] == ["Alan"]
    assert sorted(names_in(call(api, "read_graph", GRAPH))) == ["Ada", "Alan", "Grace Hopper"]


@pytest.mark.parametrize("kind", ["works at", "works_at", "arbeitet für", "a:b", ":20", "50% of"])
def test_a_relation_can_have_any_type(api: Api, kind: str) -> None:
    create(api, "Ada", "Acme")

    assert call(api, "create_relations", GRAPH, relations=[relation("Ada", "Acme", kind)])["relations"]
    assert call(api, "create_relations", GRAPH, relations=[relation("Ada", "Acme", kind)])["relations"] == []

    assert call(api, "read_graph", GRAPH)["relations"] == [relation("Ada", "Acme", kind)]
    assert call(api, "delete_relations", GRAPH, relations=[relation("Ada", "Acme", kind)]) == {"deletedCount": 1}
    assert call(api, "read_graph", GRAPH)["relations"] == []


@pytest.mark.django_db(transaction=True)
def test_no_observations_are_added_if_an_entity_does_not_exist(api: Api) -> None:
    create(api, "Ada", observations=["old"])
    additions = [{"entityName": "Ada", "contents": ["new"]}, {"entityName": "nobody", "contents": ["new"]}]

    assert "'nobody' not found" in error_of(api, "add_observations", GRAPH, observations=additions)
    assert call(api, "read_graph", GRAPH)["entities"][0]["observations"] == ["old"]


def test_many_observations_are_added_and_deleted_within_the_deadline(api: Api) -> None:
    """Comparing all pairs would take longer than a request's deadline."""
    many, more = ([f"{number} {word}" for number in range(40_000)] for word in ("old", "new"))
    create(api, "Ada", observations=many)

    (added,) = call(api, "add_observations", GRAPH, observations=[{"entityName": "Ada", "contents": many + more}])[
        "results"
    ]
    deletion = {"entityName": "Ada", "observations": more + many}
    assert call(api, "delete_observations", GRAPH, deletions=[deletion]) == {"deletedCount": 80_000}

    assert added["addedObservations"] == more


@pytest.mark.parametrize("observations", ["a text", None, [1, {"a": 1}, "x"]])
def test_observations_that_another_client_has_stored_may_have_any_type(api: Api, observations: object) -> None:
    payload = {"name": "Ada", "entityType": "person", "observations": observations}
    api.post("/memories", {"key": "entity/Ada", "payload": payload})

    result = result_of(api, "add_observations", GRAPH, observations=[{"entityName": "Ada", "contents": ["x", "y"]}])

    assert result["isError"] == (not isinstance(observations, list)), result


@pytest.mark.django_db(transaction=True)
def test_all_requests_of_a_tool_share_one_deadline(api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REQUEST_DEADLINE_S = 0.5
    store = services.store

    def store_slowly(*args: Any, **options: Any) -> Any:
        sleep(0.1)
        return store(*args, **options)

    monkeypatch.setattr(services, "store", store_slowly)
    entities = [{"name": str(number), "entityType": "number", "observations": []} for number in range(20)]

    assert "deadline" in error_of(api, "create_entities", GRAPH, entities=entities)


def test_a_relation_of_an_entity_that_does_not_exist_is_refused(api: Api) -> None:
    create(api, "Ada")

    message = error_of(api, "create_relations", GRAPH, relations=[relation("Ada", "Nobody")])
    assert "'Nobody' not found" in message


def test_observations_are_added_once_and_removed(api: Api) -> None:
    create(api, "Ada", observations=["writes programs"])

    added = call(
        api,
        "add_observations",
        GRAPH,
        observations=[{"entityName": "Ada", "contents": ["writes programs", "plays chess", "plays chess"]}],
    )
    assert added == {"results": [{"entityName": "Ada", "addedObservations": ["plays chess"]}]}

    deletion = {"entityName": "Ada", "observations": ["writes programs", "sings"]}
    assert call(api, "delete_observations", GRAPH, deletions=[deletion]) == {"deletedCount": 1}
    assert call(api, "open_nodes", GRAPH, names=["Ada"])["entities"][0]["observations"] == ["plays chess"]


def test_an_observation_added_by_another_client_at_the_same_time_is_kept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(api, "Ada")
    from api.mcp import graph_store

    require, others = graph_store.require, iter(["sings"])

    def interrupted(request: Any, names: Any) -> Any:
        found = require(request, names)
        for other in others:  # another client, between the read and the write
            body = {"payload": {"observations": [other]}}
            assert api.patch("/memories/by-key/entity/Ada", body).status_code == 200
        return found

    monkeypatch.setattr(graph_store, "require", interrupted)
    call(api, "add_observations", GRAPH, observations=[{"entityName": "Ada", "contents": ["plays chess"]}])

    (ada,) = call(api, "open_nodes", GRAPH, names=["Ada"])["entities"]
    assert ada["observations"] == ["sings", "plays chess"]


def test_deleting_an_entity_deletes_its_relations(api: Api) -> None:
    create(api, "Ada", "Acme")
    call(api, "create_relations", GRAPH, relations=[relation("Ada", "Acme"), relation("Acme", "Ada", "employs")])

    deleted = call(api, "delete_entities", GRAPH, entityNames=["Acme", "Nobody"])

    assert deleted == {"deleted": ["Acme"], "notFound": ["Nobody"]}
    assert call(api, "read_graph", GRAPH) == {
        "entities": [{"name": "Ada", "entityType": "person", "observations": []}],
        "relations": [],
    }
    create(api, "Acme")
    assert call(api, "open_nodes", GRAPH, names=["Acme"])["relations"] == []


def test_nodes_are_found_by_their_observations_with_their_relations(api: Api) -> None:
    create(api, "Ada", observations=["likes to bake rye bread"])
    create(api, "Acme", observations=["sells rockets"])
    call(api, "create_relations", GRAPH, relations=[relation("Ada", "Acme")])
    api.store("1,2", "rye bread without an entity")
    drain()

    graph = call(api, "search_nodes", GRAPH, query="rye bread")

    assert names_in(graph)[0] == "Ada"
    assert relation("Ada", "Acme") in graph["relations"]


def test_a_graph_that_is_too_large_is_truncated_and_marked(api: Api) -> None:
    create(api, *(f"person {number}" for number in range(20)), observations=["likes curds and whey " * 300])

    graph = call(api, "read_graph", GRAPH)

    assert "search_nodes" in graph["truncated"]
    assert 0 < len(graph["entities"]) < 20


def linked_in_a_circle(api: Api, count: int) -> None:
    names = [f"Person {number}" for number in range(count)]
    entities = [{"name": name, "entityType": "person", "observations": ["x"]} for name in names]
    call(api, "create_entities", GRAPH, entities=entities)
    pairs = zip(names, [*names[1:], names[0]], strict=True)
    relations = [{"from": start, "to": end, "relationType": "knows"} for start, end in pairs]
    call(api, "create_relations", GRAPH, relations=relations)


def test_opening_a_node_reads_only_its_own_relations(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    linked_in_a_circle(api, 20)
    monkeypatch.setattr("api.mcp.routes.MAX_STREAM_BYTES", 2_000)  # fewer than 20 relations take

    found = call(api, "open_nodes", GRAPH, names=["Person 7"])["relations"]

    assert sorted((relation["from"], relation["to"]) for relation in found) == [
        ("Person 6", "Person 7"),
        ("Person 7", "Person 8"),
    ]


def test_a_graph_with_too_many_relations_is_marked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    linked_in_a_circle(api, 4)
    monkeypatch.setattr(graph_store, "MAX_COORDS", 1)

    assert len(call(api, "read_graph", GRAPH)["relations"]) == 4
    monkeypatch.setattr(graph_store, "MAX_RELATIONS", 2)
    assert "truncated" in call(api, "read_graph", GRAPH)


def test_a_stranger_sees_no_entity(api: Api, stranger: Api) -> None:
    create(api, "Ada")

    assert call(stranger, "read_graph", GRAPH) == {"entities": [], "relations": []}
    assert call(stranger, "open_nodes", GRAPH, names=["Ada"])["entities"] == []


# --- chatgpt -----------------------------------------------------------------------------------------------------


def test_large_metadata_is_left_out_of_a_fetched_memory(api: Api) -> None:
    id = api.store("1", "short", metadata={"a": "x" * 10_000})["id"]

    fetched = call(api, "fetch", CHATGPT, id=id)

    assert (fetched["text"], fetched["metadata"]) == ("short", {"truncated": "true"})


def test_a_search_result_can_be_fetched_and_cited(api: Api) -> None:
    call(api, "memory_store", content="The launch is in May", metadata={"year": 2027})
    drain()

    (found,) = call(api, "search", CHATGPT, query="launch")["results"]
    fetched = call(api, "fetch", CHATGPT, id=found["id"])

    assert found["title"] == "The launch is in May"
    assert found["url"].endswith(f"/api/v1/memories/by-id/{found['id']}")
    assert fetched == {**found, "text": "The launch is in May", "metadata": {"year": "2027"}}


def test_a_result_of_another_tenant_cannot_be_fetched(api: Api, stranger: Api) -> None:
    id = call(api, "memory_store", content="secret")["id"]

    assert "there is no memory" in error_of(stranger, "fetch", CHATGPT, id=id)


# --- sekha -------------------------------------------------------------------------------------------------------


def stored(api: Api, label: str = "Bread") -> str:
    messages = [
        {"role": "user", "content": "How is rye bread made?"},
        {"role": "assistant", "content": "With sourdough"},
    ]
    id: str = call(api, "memory_store", SEKHA, label=label, folder="/kitchen", messages=messages)["data"]["id"]
    return id


def test_a_conversation_is_stored_found_and_exported(api: Api) -> None:
    id = stored(api)
    drain()

    found = call(api, "memory_search", SEKHA, query="rye bread", filters={"folder": "/kitchen"})["data"]
    exported = call(api, "memory_export", SEKHA, conversation_id=id, format="markdown")["data"]

    assert found["results"][0]["conversation_id"] == id
    assert exported["content"] == "# Bread\n\n**user**: How is rye bread made?\n\n**assistant**: With sourdough"
    assert call(api, "memory_get_context", SEKHA, conversation_id=id)["data"]["label"] == "Bread"


def test_a_conversation_is_changed_and_counted(api: Api) -> None:
    id = stored(api)

    changed = call(api, "memory_update", SEKHA, conversation_id=id, folder="/baking", importance_score=8)

    assert changed["data"]["updated_fields"] == ["folder", "importance_score"]
    assert call(api, "memory_stats", SEKHA, folder="/baking")["data"]["total_conversations"] == 1
    assert call(api, "memory_prune", SEKHA)["data"]["total_suggestions"] == 0


@pytest.mark.parametrize("tool", ["memory_update", "memory_get_context", "memory_export"])
def test_a_conversation_of_another_tenant_does_not_exist(api: Api, stranger: Api, tool: str) -> None:
    id = stored(api)

    more = {"label": "mine"} if tool == "memory_update" else {}
    assert "Not found" in error_of(stranger, tool, SEKHA, conversation_id=id, **more)


def test_a_key_limited_to_a_user_cannot_prune(api: Api) -> None:
    bob = Api(issue_key(api.tenant, ("read", "write"), user_id="bob"), api.tenant)

    assert "limited to user 'bob'" in error_of(bob, "memory_prune", SEKHA)


# --- memory.jsonl ------------------------------------------------------------------------------------------------

FILE = [
    b'{"type":"relation","from":"Ada","to":"Acme","relationType":"works at"}\n',
    b'{"type":"entity","name":"Ada","entityType":"person","observations":["plays chess"]}\n',
    b"\n",
    b'{"type":"entity","name":"Acme","entityType":"company","observations":[]}\n',
]


def sender(api: Api) -> Any:
    def send(body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        response = api.request("POST", GRAPH, None, body)
        return response.status_code, response["Content-Type"], response.content

    return send


def test_a_memory_file_can_be_imported_twice(api: Api) -> None:
    create(api, "Ada", observations=["sings"])

    reports = [knowledge_graph_file.load(FILE, sender(api)) for _ in range(2)]

    assert reports == [knowledge_graph_file.Report(2, 1)] * 2
    graph = call(api, "read_graph", GRAPH)
    assert sorted(names_in(graph)) == ["Acme", "Ada"]
    assert graph["relations"] == [relation("Ada", "Acme")]
    assert call(api, "open_nodes", GRAPH, names=["Ada"])["entities"][0]["observations"] == ["sings", "plays chess"]


def test_a_memory_file_may_begin_with_a_byte_order_mark(api: Api) -> None:
    first, *others = FILE

    report = knowledge_graph_file.load([BOM_UTF8 + first, *others], sender(api))

    assert (report.entities, report.relations, report.errors) == (2, 1, [])


@pytest.mark.parametrize("line", [b"x", b"[]", b'{"type":"entity"}', b'{"type":"thing","name":"a"}'])
def test_a_file_with_an_invalid_line_imports_nothing(api: Api, line: bytes) -> None:
    with pytest.raises(InvalidInput, match="line 5"):
        knowledge_graph_file.load([*FILE, line], sender(api))

    assert call(api, "read_graph", GRAPH)["entities"] == []


def test_an_item_that_is_refused_does_not_stop_the_others(api: Api) -> None:
    lost = b'{"type":"relation","from":"Ada","to":"Nobody","relationType":"knows"}\n'
    bad = b'{"type":"entity","name":"a/../b","entityType":"x","observations":[]}\n'

    report = knowledge_graph_file.load([lost, bad, *FILE], sender(api))

    assert (report.entities, report.relations) == (2, 1)
    assert ["segment" in report.errors[0], "'Nobody' not found" in report.errors[1]] == [True, True]
    assert len(report.errors) == 2
    graph = call(api, "read_graph", GRAPH)
    assert (sorted(names_in(graph)), graph["relations"]) == (["Acme", "Ada"], [relation("Ada", "Acme")])


def test_a_refused_import_reports_the_reason(api: Api) -> None:
    reader = Api(issue_key(api.tenant, ("read",)), api.tenant)

    assert "lacks the 'write' scope" in knowledge_graph_file.load(FILE, sender(reader)).errors[0]


def test_an_import_ends_if_the_server_accepts_no_message(api: Api) -> None:
    with pytest.raises(Unreachable, match="API key"):
        knowledge_graph_file.load(FILE, sender(Api("none", api.tenant)))
    with pytest.raises(Unreachable, match="status 502 is not JSON"):
        knowledge_graph_file.load(FILE, lambda body, headers: (502, "text/html", b"<html>"))


@pytest.mark.parametrize(
    ("profile", "tool"),
    [
        ("default", "memory_search"),
        ("default", "memory_context"),
        ("chatgpt", "search"),
        ("knowledge-graph", "search_nodes"),
        ("sekha", "memory_search"),
    ],
)
def test_a_result_names_the_part_of_the_search_that_is_not_complete(api: Api, profile: str, tool: str) -> None:
    words = [f"word{number}" for number in range(65)]  # one more than a keyword search uses

    assert "keyword" in str(call(api, tool, f"/mcp?profile={profile}", query=" ".join(words)))
    assert "keyword" not in str(call(api, tool, f"/mcp?profile={profile}", query=" ".join(words[:64])))

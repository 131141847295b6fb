"""Requests for the routes of the mem0 compatibility layer, with full paths, and the scope that each needs."""

from __future__ import annotations

from operations.isolation.cases import Case
from operations.isolation.needs import Needs, Route

_MEMORY = "/mem0/v1/memories/{mem0}/"
_USER = {"user_id": "vault"}
_ENTITY = "/mem0/v2/entities/{kind}/{name}/"

CASES: dict[Route, list[Case]] = {
    ("GET", "/mem0/v1/ping/"): [Case("/mem0/v1/ping/")],
    ("POST", "/mem0/v3/memories/"): [
        Case("/mem0/v3/memories/?page_size=5", {"filters": _USER}),
        Case("/mem0/v3/memories/", {"filters": {"AND": [{"user_id": "*"}, {"memory_ids": ["{mem0}"]}]}}),
    ],
    ("POST", "/mem0/v3/memories/search/"): [
        Case("/mem0/v3/memories/search/", {"query": "{text}", "filters": {"OR": [_USER, {"app_id": "*"}]}}),
    ],
    ("GET", "/mem0/v1/memories/{memory_id}/"): [Case(_MEMORY), Case("/mem0/v1/memories/{id}/")],
    ("GET", "/mem0/v1/memories/{memory_id}/history/"): [Case(_MEMORY + "history/")],
    ("GET", "/mem0/v1/entities/"): [Case("/mem0/v1/entities/")],
    ("GET", "/mem0/v1/events/"): [Case("/mem0/v1/events/")],
    ("GET", "/mem0/v1/event/{event_id}/"): [
        Case("/mem0/v1/event/{mem0_event}/"),
        Case("/mem0/v1/event/{conversation}/"),
    ],
    ("GET", "/mem0/memories"): [Case("/mem0/memories?user_id=vault")],
    ("GET", "/mem0/memories/{memory_id}"): [Case("/mem0/memories/{mem0}")],
    ("GET", "/mem0/memories/{memory_id}/history"): [Case("/mem0/memories/{mem0}/history")],
    ("POST", "/mem0/search"): [Case("/mem0/search", {"query": "{text}", "user_id": "vault"})],
    ("PUT", "/mem0/v1/memories/{memory_id}/"): [
        Case(_MEMORY, {"text": "mine now"}),
        Case(_MEMORY, {"expiration_date": None}),
    ],
    ("PUT", "/mem0/memories/{memory_id}"): [Case("/mem0/memories/{mem0}", {"text": "mine now"})],
    ("PUT", "/mem0/v1/batch/"): [Case("/mem0/v1/batch/", {"memories": [{"memory_id": "{mem0}", "text": "mine"}]})],
    ("DELETE", "/mem0/v1/memories/{memory_id}/"): [Case(_MEMORY)],
    ("DELETE", "/mem0/memories/{memory_id}"): [Case("/mem0/memories/{mem0}")],
    ("DELETE", "/mem0/v1/batch/"): [Case("/mem0/v1/batch/", {"memories": [{"memory_id": "{mem0}"}]})],
    ("DELETE", "/mem0/v1/memories/"): [Case("/mem0/v1/memories/?user_id=vault"), Case("/mem0/v1/memories/?run_id=*")],
    ("DELETE", "/mem0/memories"): [Case("/mem0/memories?user_id=vault")],
    ("DELETE", _ENTITY): [Case("/mem0/v2/entities/user/vault/")],
    ("POST", "/mem0/reset"): [Case("/mem0/reset")],
    ("POST", "/mem0/v3/memories/add/"): [
        Case("/mem0/v3/memories/add/", {"messages": "{text}", "user_id": "other", "infer": False}),
    ],
    ("POST", "/mem0/memories"): [
        Case("/mem0/memories", {"messages": [{"role": "user", "content": "{text}"}], "user_id": "other"}),
    ],
}

_WRITERS = {
    ("POST", "/mem0/v3/memories/add/"),
    ("POST", "/mem0/memories"),
    *((method, path) for method, path in CASES if method == "PUT"),
}


def _needs(route: Route) -> Needs:
    if route == ("POST", "/mem0/reset") or route[0] == "DELETE":
        return "delete"
    return "write" if route in _WRITERS else "read"


# Every key may use /v1/ping/.
NEEDS: dict[Route, Needs] = {route: _needs(route) for route in CASES if route[1] != "/mem0/v1/ping/"}

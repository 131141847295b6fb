"""The isolation check: try to read and change one tenant's data as another tenant, on this installation.

It creates two tenants, the owner and the attacker. The owner stores memories, links and conversations that contain a
random word. A request is then sent to every route with the attacker's key, once for the attacker's tenant and once for
the owner's. Some routes are also called with an unknown key. No response may contain the word or the owner's id, and
the owner's data must not change. The same requests are then sent with another key of the owner's tenant, which is
limited to another user. Both tenants are erased at the end, even after an error.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol
from uuid import uuid4

import orjson
from django.conf import settings

from conversations.models import Proposal
from operations.isolation import compat_cases
from operations.isolation.cases import CASES, Case
from operations.isolation.needs import NEEDS, Route
from somamemory.errors import ConfigurationError
from tenants import erasure, keys, services
from tenants.caller import SCOPES, Caller
from tenants.models import Tenant

PREFIX = "isolation-check"
INDEX_WAIT_S = 60.0
ALLOWED = {200, 201, 202, 204, 207, 302, 400, 403, 404, 405, 409, 411, 415, 422}
VOLATILE = {"access_count", "last_accessed_at", "index_state", "next_cursor", "ran_at", "report"}
UNKNOWN_KEY_EVERY = 10  # try an unknown key on every tenth route only, because failed authentication is rate limited
Report = Callable[[str, float], None]
_NEEDS = {**NEEDS, **compat_cases.NEEDS}


class Send(Protocol):
    def __call__(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send a request, and return the status and the text of the response."""


@dataclass
class Result:
    """The result of the check. `problems` contains a line for each request that revealed or changed something."""

    routes: int = 0
    requests: int = 0
    erased_rows: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Client:
    """A tenant, one of its keys, and the connection to the service."""

    send: Send
    tenant: Tenant
    key: str
    prefix: str = ""

    def request(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, str]:
        sent = {
            "Authorization": f"Bearer {self.key}",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return self.send(method, url, body, sent)

    def expect(self, method: str, path: str, body: Any = None, *, root: str = "/api/v1") -> Any:
        """Return the parsed response. Raises ConfigurationError unless the request succeeds."""
        status, text = self.request(method, root + path, body)
        if status >= 300:
            raise ConfigurationError(f"the check could not prepare its data: {method} {path} returned {status}: {text}")
        return orjson.loads(text)


def run(caller: Caller, send: Send, report: Report = lambda phase, share: None) -> Result:
    """Run the whole check. Raises ConfigurationError if the service does not respond as expected."""
    caller.require_operator()
    result = Result()
    word = f"secret{secrets.token_hex(8)}"
    with _tenants(caller, send, result) as (owner, attacker):
        report("prepare", 0.0)
        names = _store_data(owner, word)
        _store_data_of_attacker(attacker)
        before = _everything_of(owner)
        _try_all(owner, attacker, names, word, result, report)
        after = _everything_of(owner)
        changed = [path for path in before if after[path] != before[path]]
        result.problems += [f"the attacker's requests changed the owner's data at {path}" for path in changed]
        _try_as_other_user(caller, owner, names, word, result)
    return result


def _try_as_other_user(caller: Caller, owner: Client, names: dict[str, str], word: str, result: Result) -> None:
    """Try all routes with another key of the owner's tenant, which is limited to another user."""
    issued = keys.issue(caller, owner.tenant, name="isolation check", user_id="another-user")
    other = replace(owner, key=issued.secret)
    before = _everything_of(owner)
    for route, cases in _cases().items():
        for case in cases:
            _try(route, case.filled(names), other, {word}, result, ALLOWED)
    after = _everything_of(owner)
    changed = [path for path in before if not _contains(after[path], before[path])]
    result.problems += [f"another user's requests changed the owner's data at {path}" for path in changed]


@contextmanager
def _tenants(caller: Caller, send: Send, result: Result) -> Iterator[tuple[Client, Client]]:
    """Create the two tenants, and erase them at the end."""
    slugs = [f"{PREFIX}-{role}-{secrets.token_hex(4)}" for role in ("owner", "attacker")]
    created: list[Client] = []
    try:
        for slug in slugs:
            tenant = services.create_tenant(caller, slug)
            key = keys.issue(caller, tenant, name="isolation check", scopes=SCOPES)
            created.append(Client(send, tenant, key.secret, key.key.prefix))
        yield created[0], created[1]
    finally:
        for client in created:
            result.erased_rows += erasure.erase(caller, client.tenant.slug).total


def _store_data(owner: Client, word: str) -> dict[str, str]:
    """Store data of every type, all containing the word. Return values for the placeholders in the cases."""
    text = f"The {word} aardvark sleeps in the vault"
    names = {"coord": "1.0,2.0,3.0", "deleted": "4.0,5.0,6.0", "expired": "7.0,8.0,9.0", "text": "aardvark vault"}
    names["key"] = "vault/aardvark"
    items: list[dict[str, Any]] = [
        {"coord": coord, "namespace": namespace, "payload": {"text": text}, "metadata": {"word": word}}
        for coord in (names["coord"], names["deleted"], names["expired"], "1,2,0", "1,2,1")
        for namespace in ("default", "n")
    ]
    items[0]["key"] = names["key"]
    owner.expect("POST", "/memories/bulk", {"items": items})
    ends = [names["coord"], names["deleted"], names["expired"], "1,2,0"]
    links = [{"from_coord": start, "to_coord": end, "metadata": {"word": word}} for start, end in pairwise(ends)]
    owner.expect("POST", "/graph/links/bulk", {"links": links})
    talk = {"label": word, "folder": f"/{word}", "messages": [{"role": "user", "content": text}]}
    conversation = owner.expect("PUT", "/conversations/by-external-id/vault", talk)["id"]
    owner.expect("POST", "/conversations", talk)  # a second one, for a page with a cursor
    saying = {"messages": text, "user_id": "vault", "app_id": "shop", "infer": False}
    added = owner.expect("POST", "/v3/memories/add/", saying, root="/mem0")
    deleted = owner.expect("POST", "/conversations", talk)["id"]
    owner.expect("DELETE", f"/conversations/{deleted}")
    _wait_for_the_index(owner)
    ids = {name: owner.expect("GET", f"/memories/{names[name]}")["memory"]["id"] for name in ("coord", "deleted")}
    owner.expect("DELETE", f"/memories/{names['deleted']}")
    return {
        **names,
        "id": ids["coord"],
        "deleted_id": ids["deleted"],
        "slug": owner.tenant.slug,
        "prefix": owner.prefix,
        "cursor": _cursor(owner, "/memories?limit=1"),
        "time_cursor": _cursor(owner, "/memories?limit=1&order=created_at"),
        "near_cursor": _cursor(owner, "/memories?limit=1&near=1,2,3&radius=10"),
        "conversation": conversation,
        "mem0": added["results"][0]["id"],
        "mem0_event": added["event_id"],
        "deleted_conversation": deleted,
        **_proposals(owner.tenant, word),
        "message": owner.expect("GET", f"/conversations/{conversation}/messages")["items"][0]["id"],
        "conversations_cursor": _cursor(owner, "/conversations?limit=1"),
    }


def _proposals(tenant: Tenant, word: str) -> dict[str, str]:
    """Create an open and an accepted proposal directly, because the API creates them only with a language model."""
    names: dict[str, str] = {}
    for name, state in (("proposal", Proposal.State.OPEN), ("accepted", Proposal.State.ACCEPTED)):
        facts = {"newer_id": uuid4(), "older_id": uuid4()}
        row = Proposal.objects.for_tenant(tenant).create(tenant=tenant, state=state, reason=word, confidence=1, **facts)
        names[name] = str(row.id)
    return names


def _store_data_of_attacker(attacker: Client) -> None:
    attacker.expect("POST", "/memories", {"coord": "100,1", "payload": {"text": "My own aardvark sleeps too"}})
    _wait_for_the_index(attacker)


def _cursor(owner: Client, path: str) -> str:
    return str(owner.expect("GET", path)["next_cursor"])


def _wait_for_the_index(client: Client) -> None:
    until = time.monotonic() + INDEX_WAIT_S
    while client.expect("GET", "/stats")["index"]["pending"]:
        if time.monotonic() > until:
            raise ConfigurationError(
                f"the index did not catch up within {INDEX_WAIT_S:g} s; run 'doctor' to find out why"
            )
        time.sleep(0.2)


def _try_all(owner: Client, attacker: Client, names: dict[str, str], word: str, result: Result, report: Report) -> None:
    unknown = Client(attacker.send, attacker.tenant, f"soma_{'x' * 60}")
    # Everything that would identify the owner's data. The slug and coordinates are in the requests themselves.
    marks = {word, str(owner.tenant.id)}
    all_cases = _cases()
    for number, (route, cases) in enumerate(all_cases.items()):
        report("requests", number / len(all_cases))
        needs = _NEEDS[route]
        result.routes += 1
        for case in cases:
            _try(route, case.filled(names), attacker, marks, result, ALLOWED)
        if needs != "nothing":
            _try(route, cases[0].filled(names), attacker, marks, result, {403}, x_tenant=owner.tenant.slug)
        if needs != "nothing" and number % UNKNOWN_KEY_EVERY == 0:
            _try(route, cases[0].filled(names), unknown, marks, result, {401})


def _cases() -> dict[Route, list[Case]]:
    """Return the cases for all routes.

    The compatibility layers come first, because their cases do not store the marked text. Their public routes come
    last, after our own metrics have been collected and cached.
    """
    layers = {**compat_cases.MEM0, **compat_cases.SEKHA}
    if settings.COMPAT_SOMAFRACTALMEMORY:
        layers |= compat_cases.SOMAFRACTALMEMORY
    public = {route: layers.pop(route) for route in list(layers) if _NEEDS[route] == "nothing"}
    return {**layers, **CASES, **public}


def _try(
    route: Route, case: Case, client: Client, marks: set[str], result: Result, allowed: set[int], **headers: str
) -> None:
    method, _ = route
    status, text = client.request(method, case.url, case.body, **headers)
    result.requests += 1
    if status not in allowed:
        result.problems.append(f"{method} {case.path} returned {status}")
    if any(mark in text for mark in marks):
        result.problems.append(f"{method} {case.path} revealed the owner's data (status {status})")


def _everything_of(owner: Client) -> dict[str, Any]:
    """Return the owner's data, without fields that reads or background work change."""
    paths = (
        "/memories?limit=1000&include_deleted=true", "/memories?limit=1000&namespace=n",
        "/memories?limit=1000&namespace=mem0", "/conversations", "/graph/export", "/graph/export?namespace=n",
        "/upkeep", "/proposals", "/proposals?state=accepted",
    )  # fmt: skip
    return {path: _stable(owner.expect("GET", path)) for path in paths}


def _contains(after: Any, before: Any) -> bool:
    """Return whether `after` still contains everything in `before`. The other user may have added data."""
    if isinstance(before, dict):
        return all(_contains(after[name], value) for name, value in before.items() if name != "total")
    return all(item in after for item in before) if isinstance(before, list) else bool(after == before)


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stable(item) for name, item in value.items() if name not in VOLATILE}
    return [_stable(item) for item in value] if isinstance(value, list) else value

"""Arguments that the client rejects before sending a request, and hooks. These tests use no server."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from api.routing import policies
from somamemory_client import (
    AsyncClient,
    BulkReport,
    BulkStopped,
    Client,
    ConnectionLost,
    InvalidArgument,
    NotFound,
    Request,
    Response,
    SomaError,
)
from somamemory_client._config import LONG_TIMEOUT_S
from somamemory_client._contract import OPERATIONS
from somamemory_client._operation import LONG
from somamemory_client.hooks import Hook, LogHook, TraceHook

JSON = {"content-type": "application/json", "x-request-id": "r1"}


class Recorder:
    """A transport that answers every request with an empty object."""

    def __init__(self, *responses: Response) -> None:
        self.requests: list[Request] = []
        self.timeouts: list[float] = []
        self.responses = list(responses)

    def send(self, request: Request, timeout_s: float) -> Response:
        self.requests.append(request)
        self.timeouts.append(timeout_s)
        return self.responses.pop(0) if self.responses else Response(200, JSON, b'{"memories": []}')

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda client: client.memories.search("x", topk=3),
            "topk: memories.search has no such field; did you mean top_k?",
        ),
        (lambda client: client.memories.search("x", top_k=201), "top_k: must be 200 or less"),
        (lambda client: client.memories.search("x", top_k=True), "top_k: must be a whole number, not bool"),
        (lambda client: client.memories.search("x", mode="fast"), "mode: must be one of hybrid, semantic, keyword"),
        (lambda client: client.memories.search(7), "query: must be text, not int"),
        (lambda client: client.memories.search("x", min_score=float("nan")), "min_score: must be a finite number"),
        (lambda client: client.memories.store("x", user_id=""), "user_id: must not be empty"),
        (lambda client: client.memories.store(b"x"), "memory: must be text or an object, such as a dict, not bytes"),
        (lambda client: client.memories.store({"a": {1, 2}}), "payload: cannot be sent as JSON"),
        (
            lambda client: client.memories.store({"a": b"x"}),
            "payload: cannot be sent as JSON: bytes is not a JSON type",
        ),
        (lambda client: client.memories.store("x", valid_from=7), "valid_from: must be a datetime or text"),
        (lambda client: client.memories.store("x", coord=7), "coord: must be text or a list, not int"),
        (lambda client: client.memories.store("x", namespace="a b"), "namespace: must match"),
        (lambda client: client.memories.get(), "coord: give exactly one of coord, key, id"),
        (lambda client: client.memories.get(key="a", id="b"), "id: give exactly one of coord, key, id"),
        (lambda client: client.memories.get(key="a/../b"), "key: must not contain the segment '.' or '..'"),
        (lambda client: client.conversations.get("a/b"), "id: must not contain a slash"),
        (lambda client: client.conversations.messages(external_id="a/b").first_page(), "external_id: must not contain"),
        (lambda client: client.memories.store_all(["x"], batch_size=0), "batch_size: must be a whole number from 1 to"),
        (lambda client: client.memories.store_all(["x"], batch_size="2"), "batch_size: must be a whole number from 1"),
        (lambda client: client.memories.store_all("Ada"), "items: must be a list or other iterable, not str"),
        (
            lambda client: client.memories.store_many({"payload": {}}),
            "items: must be a list or other iterable, not d",
        ),
        (lambda client: client.memories.store_many([7]), "item: must be an object, such as a dict, not int"),
        (lambda client: client.graph.link_many([None]), "item: must be an object, such as a dict, not NoneType"),
        (
            lambda client: client.conversations.set_status("1", "gone"),
            "status: must be one of active, pinned, archived",
        ),
        (
            lambda client: client.conversations.import_file("Hé", "text/plain"),
            "content: must be bytes, such as the result of `Path.read",
        ),
        (
            lambda client: client.conversations.import_file(b"Hi", "text/plain\r\nX: 1"),
            "content_type: must be printable",
        ),
        (lambda client: client.raw("memories.steal"), "operation: there is no operation 'memories.steal'"),
        (lambda client: client.request("FETCH", "/stats"), "method: must be one of"),
        (lambda client: client.request("GET", "stats"), "path: must start with /"),
        (lambda client: client.request("GET", 7), "path: must start with /"),
        (lambda client: client.with_options(headers={"X\r\nY": "1"}), "headers: 'X\\r\\nY' is not a valid header name"),
        (lambda client: client.with_options(idempotency_key="a\r\nX: 1"), "idempotency_key: must be printable ASCII"),
        (lambda client: client.with_options(timeout=0), "timeout: must be a positive number of seconds"),
        (lambda client: client.user(None), "user_id: must be text, not None"),
        (lambda client: client.namespace(None), "namespace: must be text, not None"),
        (lambda client: client.tenant("ä"), "tenant: must be printable ASCII"),
    ],
)
def test_an_invalid_argument_is_refused_before_anything_is_sent(call: Callable[[Any], object], message: str) -> None:
    transport = Recorder()
    client = Client(api_key="key", transport=transport)
    with pytest.raises(InvalidArgument) as caught:
        call(client)
    assert str(caught.value).startswith(message)
    assert transport.requests == []


@pytest.mark.parametrize(
    "url",
    [
        Path("/host"),
        "127.0.0.1:9595",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://key@host",
        "http://host/?x=1",
    ],
)
def test_an_invalid_address_is_refused(url: Any) -> None:
    with pytest.raises(InvalidArgument, match="base_url"):
        Client(url)


def test_the_environment_provides_the_key_and_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SOMA_API_KEY": "secret", "SOMA_TENANT": "acme"}.items():
        monkeypatch.setenv(name, value)
    transport = Recorder()
    Client(transport=transport).memories.search("x")

    headers = transport.requests[0].headers
    assert (headers["Authorization"], headers["X-Tenant"]) == ("Bearer secret", "acme")


def test_an_invalid_item_is_reported_with_the_items_stored_before_it() -> None:
    transport = Recorder(Response(200, JSON, b'{"results": [{"index": 0, "status": 201}]}'))
    with pytest.raises(BulkStopped, match="stopped after 1 items: items: cannot be sent as JSON") as caught:
        Client(transport=transport).memories.store_all(["one", "two", {"payload": {"a": {1, 2}}}], batch_size=1)

    assert caught.value.report.stored == 1


def test_each_write_has_its_own_idempotency_key_and_a_search_has_none() -> None:
    transport = Recorder()
    client = Client(transport=transport)
    client.memories.search("x")
    for _ in range(2):
        client.raw("memories.store", payload={})

    search, *stores = (request.headers.get("Idempotency-Key") for request in transport.requests)
    assert search is None
    assert len(set(stores)) == 2
    assert None not in stores


def test_names_in_paths_are_encoded() -> None:
    transport = Recorder()
    Client(transport=transport).raw("memories.get_by_key", key="ada/ü?#%")

    assert transport.requests[0].target == "/api/v1/memories/by-key/ada/%C3%BC%3F%23%25"


def test_the_member_of_an_enum_of_text_is_sent_as_its_value() -> None:
    class User(str, Enum):  # noqa: UP042 - the other kind of enum, whose members are shown with their names
        ADA = "ada"

    transport = Recorder(Response(200, JSON, b'{"items": [], "next_cursor": null}'))
    list(Client(transport=transport).memories.list(user_id=User.ADA))

    assert transport.requests[0].target == "/api/v1/memories?user_id=ada"


def test_a_time_that_cannot_be_converted_to_utc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        memories = Client(transport=Recorder()).memories
        with pytest.raises(InvalidArgument, match=r"expires_at: .* 9999-\S+ cannot be converted to UTC"):
            memories.store("x", expires_at=datetime.max)
        with pytest.raises(InvalidArgument, match=r"created_before: .* cannot be converted to UTC"):
            memories.list(created_before=datetime.max).first_page()
    time.tzset()


def test_a_hook_logs_each_call_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Client(api_key="secret", transport=Recorder(), hooks=[LogHook(level=logging.INFO)]).memories.search("private")

    assert "memories.search 200" in caplog.text
    assert "r1" in caplog.text
    assert "private" not in caplog.text
    assert "secret" not in caplog.text


def test_a_hook_traces_each_call() -> None:
    spans: list[tuple[str, dict[str, object]]] = []

    class Span:
        def __init__(self, name: str) -> None:
            self.attributes: dict[str, object] = {}
            spans.append((name, self.attributes))

        def set_attribute(self, key: str, value: object) -> None:
            self.attributes[key] = value

        def record_exception(self, exception: BaseException) -> None:
            pass

    class Tracer:
        @contextmanager
        def start_as_current_span(self, name: str) -> Any:
            yield Span(name)

    transport = Recorder()
    hook = TraceHook(Tracer(), lambda headers: headers.update(traceparent="00-1-2-01"))
    Client(transport=transport, hooks=[hook]).memories.search("x")

    assert spans[0][0] == "somamemory memories.search"
    assert spans[0][1]["http.response.status_code"] == 200
    assert transport.requests[0].headers["traceparent"] == "00-1-2-01"


def test_hooks_receive_the_error_of_a_call() -> None:
    seen: list[str] = []

    class Watch(Hook):
        def finished(self, call: Any, response: Response | None, error: BaseException | None) -> None:
            seen.append(f"{response} {type(error).__name__}")

    transport = Recorder(
        Response(404, {"content-type": "application/problem+json"}, b'{"code": "not_found", "title": "N"}')
    )
    with pytest.raises(SomaError):
        Client(transport=transport, hooks=[Watch()]).memories.get(key="x")

    assert seen == ["None NotFound"]


def test_a_cancellation_ends_the_call_for_hooks() -> None:
    seen: list[str] = []

    class Watch(Hook):
        def finished(self, call: Any, response: Response | None, error: BaseException | None) -> None:
            seen.append(type(error).__name__)

    class Silent:
        async def send(self, request: Request, timeout_s: float) -> Response:
            await asyncio.sleep(60)
            raise AssertionError("not cancelled")

        async def close(self) -> None:
            pass

    async def give_up() -> None:
        async with asyncio.timeout(0.01):
            await AsyncClient(transport=Silent(), hooks=[Watch()]).memories.search("x")

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert seen == ["CancelledError"]


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("key", "must be text"),
        NotFound(Response(404, JSON, b"{}"), {"code": "not_found", "detail": "there is no memory"}),
        BulkStopped(BulkReport(done=3), SomaError("lost")),
        ConnectionLost("lost"),
    ],
)
def test_an_error_can_be_sent_to_another_process(error: SomaError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_the_operations_with_a_longer_timeout_are_those_for_which_the_service_allows_more_time() -> None:
    routes = {(operation.method, operation.template): operation.id for operation in OPERATIONS.values()}

    assert {routes[route] for route, policy in policies.items() if policy.long} == LONG


@pytest.mark.parametrize(("options", "timeouts"), [({}, [60.0, 660.0, 660.0]), ({"timeout": 5}, [5.0, 5.0, 5.0])])
def test_an_import_and_an_export_may_take_longer_than_the_service_allows(
    options: dict[str, Any], timeouts: list[float]
) -> None:
    transport = Recorder()
    client = Client(api_key="key", transport=transport, **options)
    client.memories.search("x")
    client.conversations.import_file(b"[]", "application/json")
    client.conversations.export()

    assert transport.timeouts == timeouts
    assert LONG_TIMEOUT_S > settings.LONG_REQUEST_DEADLINE_S

"""Behaviour common to all requests: ids, problems, parameters, compression, HEAD, aliases, health, OpenAPI."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings

import somamemory
from memories import index, selectors
from operations import health
from somamemory.errors import IndexUnavailable
from somamemory.web import client_address
from tests.conftest import Api, drain, problem_of
from tests.support.every_route import published

V1 = "/api/v1"


def get(path: str, **headers: str) -> Any:
    return Client(raise_request_exception=False).get(
        path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


# --- Request ids -------------------------------------------------------------------------------------------------


def test_every_answer_has_a_request_id(api: Api) -> None:
    answers = [api.get("/stats"), api.get("/memories/1"), get("/nowhere"), get("/ping"), get("/stats")]

    ids = [answer["X-Request-ID"] for answer in answers]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)


def test_a_valid_request_id_is_returned_in_header_and_problem(api: Api) -> None:
    response = api.get("/memories/1", x_request_id="trace:1_a.b-c")

    assert response["X-Request-ID"] == "trace:1_a.b-c"
    assert problem_of(response, 404)["request_id"] == "trace:1_a.b-c"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\n", "<b>", "\u00e9", '"', "a;b"])
def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", api.get("/stats", x_request_id=given)["X-Request-ID"])


# --- Host names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/ping", "/api/v1/health", "/admin/", "/nowhere"])
def test_a_page_that_rebinds_its_name_to_this_machine_reads_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])

    problem = problem_of(get(path, host="rebound.example.org"), 400, "host_not_allowed")

    assert "SOMA_ALLOWED_HOSTS" in problem["detail"]


@pytest.mark.parametrize("host", ["localhost", "localhost:9595", "127.0.0.1:9595", "[::1]:9595", "LOCALHOST"])
def test_names_of_this_machine_are_allowed(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])

    assert get("/ping", host=host).status_code == 200


def test_any_name_may_be_allowed_even_an_invalid_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["*"])

    assert get("/ping", host="soma_web:9595").status_code == 200


@pytest.mark.parametrize(
    ("listens_on", "hosts"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.2"]),
        ("localhost", ["localhost"]),
        ("::1", ["[::1]"]),
        ("0.0.0.0", ["*"]),
        ("10.0.0.5", ["*"]),
        ("soma.internal", ["*"]),
    ],
)
def test_the_default_host_names_follow_from_the_interface(listens_on: str, hosts: list[str]) -> None:
    assert client_address.default_hosts(listens_on) == hosts


# --- Problems ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/memories",
        "/memories/",
        "/memories/1/2",
        "/administration/",
        "/static/nothing.js",
        "/memories/1/restore/x",
        "/%00",
        "/%ff",
        "/x//memories",
    ],
)
def test_an_unknown_path_is_404(db: None, path: str) -> None:
    problem = problem_of(get(path), 404, "not_found")

    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "error", "message"}


@pytest.mark.parametrize(
    "path", ["/memories/9", "/memories/x", "/memories?limit=0", "/nowhere", "/memories/bulk", "/mem0/v1/memories/x/"]
)
def test_no_cache_may_store_a_problem(api: Api, path: str) -> None:
    response = api.get(path)

    assert response.status_code >= 400
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/memories", {"GET", "HEAD", "POST"}),
        ("DELETE", "/memories", {"GET", "HEAD", "POST"}),
        ("PUT", "/memories/1", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", "/memories/bulk", {"POST"}),
        ("PATCH", "/memories/search", {"GET", "HEAD", "POST"}),
        ("GET", "/memories/1/restore", {"POST"}),
        ("POST", "/stats", {"GET", "HEAD"}),
        ("OPTIONS", "/memories", {"GET", "HEAD", "POST"}),
        ("TRACE", "/memories", {"GET", "HEAD", "POST"}),
        ("BREW", "/memories", {"GET", "HEAD", "POST"}),
        ("POST", "/ping", {"GET", "HEAD"}),
        ("PUT", "/api/v1/tenants", {"GET", "HEAD", "POST"}),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(api: Api, method: str, path: str, allowed: set[str]) -> None:
    response = api.request(method, path)

    problem_of(response, 405, "method_not_allowed")
    assert {method.strip() for method in response["Allow"].split(",")} == allowed


def test_a_wrong_method_for_a_static_file_is_405(db: None) -> None:
    response: Any = Client(raise_request_exception=False).post("/static/console/icon.svg")

    problem_of(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD"


def test_a_range_beyond_a_static_file_is_416(db: None) -> None:
    response = get("/static/console/icon.svg", range="bytes=999999-")

    problem_of(response, 416, "malformed_request")
    assert response["Content-Range"] == f"bytes */{len(b''.join(get('/static/console/icon.svg')))}"


def test_a_body_that_is_too_large_is_413_before_it_is_read(api: Api) -> None:
    response = api.request("POST", "/memories", raw=b"x", content_length=str(settings.MAX_BODY_BYTES + 1))
    problem_of(response, 413, "payload_too_large")

    whole = b'{"coord": "1", "payload": {"text": "' + b"x" * settings.MAX_BODY_BYTES + b'"}}'
    problem_of(api.request("POST", "/memories", raw=whole), 413, "payload_too_large")


def test_a_large_body_within_the_bound_is_taken(api: Api) -> None:
    assert len(api.store("1", "x" * (9 * 1024 * 1024))["id"]) == 36


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "1.0", "\u0661", "0x10", pytest.param("9" * 5_000, id="huge")])
def test_a_bad_content_length_is_400(api: Api, length: str) -> None:
    problem_of(api.request("POST", "/memories", raw=b"{}", content_length=length), 400, "malformed_request")


@pytest.mark.parametrize("sent", ["/memories/by-key/%ED%A0%80", "/memories?key_prefix=%FF", "/memories/by-key/\xff"])
def test_a_path_or_a_query_that_is_not_utf8_is_400(db: None, sent: str) -> None:
    problem_of(cast("HttpResponse", Client().get("/memories", RAW_URI=sent)), 400, "malformed_request")


def test_a_chunked_body_is_411(api: Api) -> None:
    problem_of(api.request("POST", "/memories", raw=b"{}", transfer_encoding="chunked"), 411, "length_required")


@pytest.mark.parametrize(
    "kind",
    [
        "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "application/xml", "application/json; charset=latin-1", "application/json; charset=utf-16", "application/jsonp",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/memories"), ("PATCH", "/memories/1"), ("POST", "/memories/search")]
)
def test_another_content_type_is_415(api: Api, method: str, path: str, kind: str) -> None:
    raw = b'{"coord": "1", "payload": {}, "query": "x"}'

    problem_of(api.request(method, path, raw=raw, content_type=kind), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF8"']
)
def test_json_may_say_that_it_is_utf8(api: Api, kind: str) -> None:
    raw = '{"coord": "1", "payload": {"text": "\u00e9"}}'.encode()

    assert api.request("POST", "/memories", raw=raw, content_type=kind).status_code == 201


def test_an_unhandled_error_reveals_no_internals(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("SELECT secret FROM /home/somewhere")

    monkeypatch.setattr(selectors, "get_memory", broken)

    response = api.get("/memories/1", x_request_id="find-me")

    problem = problem_of(response, 500, "internal_error")
    for inside in ("SELECT", "secret", "home", "Runtime", "Traceback", ".py"):
        assert inside not in response.content.decode()
    assert problem["request_id"] == "find-me"
    [record] = [record for record in caplog.records if record.name == "soma.errors"]
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert vars(record)["request_id"] == "find-me"


def test_an_error_outside_of_a_route_is_a_logged_problem_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("somamemory.web.middleware._ROOT_ALIASES", None)

    response = get("/ping", x_request_id="find-me")

    problem_of(response, 500, "internal_error")
    assert "NoneType" not in response.content.decode()
    [record] = [record for record in caplog.records if record.name == "soma.errors"]
    assert record.exc_info
    assert vars(record)["request_id"] == "find-me"


def test_a_database_that_does_not_answer_is_503_with_retry_after(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise OperationalError("could not connect to host 10.0.0.1 as user soma")

    monkeypatch.setattr(selectors, "get_memory", down)

    response = api.get("/memories/1")

    problem_of(response, 503, "database_busy")
    assert int(response["Retry-After"]) > 0
    assert "10.0.0.1" not in response.content.decode()


# --- Query parameters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("surprise=1", "surprise"),
        ("namespace=a&namespace=b", "namespace"),
        ("namespace=a&namespace=a", "namespace"),
        ("Namespace=a", "Namespace"),
        ("namespace[]=a", "namespace[]"),
        ("=1", ""),
        ("%00=1", "\0"),
        ("%ff=1", "\ufffd"),
        ("tenant=stranger", "tenant"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/memories"), ("GET", "/memories/1"), ("DELETE", "/memories/1"), ("POST", "/memories/1/restore")],
)
def test_a_query_parameter_that_is_unknown_or_doubled_is_refused(
    api: Api, method: str, path: str, query: str, field: str
) -> None:
    api.store("1")

    problem_of(api.request(method, f"{path}?{query}"), 422, field=field)

    assert api.get("/memories/1").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/memories", {"coord": "1", "payload": {}}),
        ("POST", "/memories/bulk", {"items": [{"coord": "1", "payload": {}}]}),
        ("POST", "/memories/search", {"query": "x"}),
        ("GET", "/stats", None),
        ("GET", "/api/v1/tenants", None),
    ],
)
def test_a_route_without_parameters_takes_none(api: Api, method: str, path: str, body: Any) -> None:
    problem_of(api.request(method, f"{path}?namespace=n", body), 422, field="namespace")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/memories/1"),
        ("POST", "/memories/1/restore"),
        ("DELETE", "/graph/link?from_coord=1&to_coord=2"),
        ("DELETE", "/api/v1/tenants/acme"),
        ("DELETE", "/api/v1/tenants/acme/keys/abcdefgh"),
        ("POST", "/api/v1/conversations/00000000-0000-0000-0000-000000000000/summary?level=daily"),
        ("POST", "/api/v1/conversations/00000000-0000-0000-0000-000000000000/suggest-labels"),
    ],
)
def test_a_body_that_no_route_reads_is_refused(api: Api, method: str, path: str) -> None:
    api.store("1")

    problem_of(api.request(method, path, {"purge": True}), 422, field="body")

    assert api.get("/memories/1").status_code == 200


def test_an_empty_object_says_nothing_and_is_taken(api: Api) -> None:
    api.store("1")

    assert api.request("DELETE", "/memories/1", {}).json()["deleted"] is True


def test_a_query_of_too_many_parameters_is_400(api: Api) -> None:
    query = "&".join(f"p{number}=1" for number in range(2000))

    problem_of(api.get(f"/memories?{query}"), 400, "malformed_request")


def test_only_authorized_callers_see_the_errors_of_a_query(api: Api) -> None:
    problem_of(get("/memories?surprise=1"), 401)


# --- Compression -------------------------------------------------------------------------------------------------


def test_a_long_answer_is_compressed_for_those_who_can_read_it(api: Api) -> None:
    api.store("1", "x" * 2000)

    plain = api.get("/memories/1")
    packed = api.get("/memories/1", accept_encoding="gzip")

    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert "Content-Encoding" not in plain
    assert "Accept-Encoding" in plain["Vary"]


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br, GZIP ; Q=0.000, identity", "identity;q=1, gzip;q=0.0"])
def test_a_long_answer_is_not_compressed_for_those_who_refuse_gzip(api: Api, accepted: str) -> None:
    api.store("1", "x" * 2000)

    response = api.get("/memories/1", accept_encoding=accepted)

    assert "Content-Encoding" not in response
    assert "Accept-Encoding" in response["Vary"]


@pytest.mark.parametrize("accepted", ["gzip;q=0.001", "br;q=0, gzip", "gzip; q=1.0"])
def test_a_weight_above_zero_accepts_gzip(api: Api, accepted: str) -> None:
    api.store("1", "x" * 2000)

    assert api.get("/memories/1", accept_encoding=accepted)["Content-Encoding"] == "gzip"


def test_a_short_answer_is_not_compressed(api: Api) -> None:
    assert "Content-Encoding" not in api.get("/memories/1", accept_encoding="gzip")


# --- HEAD --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/memories/1", "/memories", "/memories/search?query=x", "/stats", "/ping", "/health", "/memories/9"]
)
def test_head_answers_as_get_does(api: Api, path: str) -> None:
    api.store("1")
    api.get(path)

    head, got = api.request("HEAD", path), api.get(path)

    assert head.status_code == got.status_code
    assert head["Content-Type"] == got["Content-Type"]
    assert head.get("ETag") == got.get("ETag")


def test_head_has_no_body_but_the_length_of_the_body_for_get(api: Api) -> None:
    """Call the application as a server does, because the test client would drop the body."""
    heads: list[list[tuple[str, str]]] = []
    request = RequestFactory().request(REQUEST_METHOD="HEAD", PATH_INFO="/ping").META

    def start(status: str, head: list[tuple[str, str]], error: Any = None, /) -> Any:
        heads.append(head)

    answer = get_wsgi_application()({**request, "wsgi.input": io.BytesIO()}, start)

    assert b"".join(answer) == b""
    assert int(dict(heads[0])["Content-Length"]) == len(api.get("/ping").content)


def test_the_log_says_head(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "soma.requests"):
        api.request("HEAD", "/stats")

    assert vars(caplog.records[-1])["method"] == "HEAD"


def test_the_log_holds_neither_key_nor_content(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        api.store("1,2,77", "a private thought")
        api.get("/memories/1,2,77")
        api.get("/memories/search?query=private")

    output = " ".join(str(vars(record)) for record in caplog.records)
    for private in (api.key, "private", "1,2,77", "1.0,2.0,77.0"):
        assert private not in output


# --- Root aliases ------------------------------------------------------------------------------------------------


def test_memory_search_stats_and_health_routes_answer_at_the_root_too(api: Api) -> None:
    at_the_root = ("/memories", "/graph", "/stats", "/health", "/readyz", "/ping", "/metrics")
    aliased = {route for route in published() if route[1].startswith(at_the_root)}
    assert {path for _, path in aliased} >= {"/memories", "/memories/search", "/graph/link", "/stats", "/ping"}
    for _, path in aliased - {("PUT", path) for _, path in aliased}:
        status = 422 if ("PUT", path) in aliased else 405
        path = path.replace("{coord}", "1")
        assert api.request("PUT", path).status_code == api.request("PUT", V1 + path).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/memories/1",
        "/memories/9",
        "/memories",
        "/memories/search?query=memory",
        "/stats",
        "/ping",
        "/memories?x=1",
        "/readyz",
    ],
)
def test_an_alias_returns_the_same_response(api: Api, path: str) -> None:
    api.store("1")
    drain()  # or the statistics would contain its waiting time

    def body(response: HttpResponse) -> Any:
        return {**json.loads(response.content), "request_id": "", "took_ms": 0}

    alias, original = api.get(path), api.get(V1 + path)

    assert alias.status_code == original.status_code
    assert body(alias) == body(original)


@pytest.mark.parametrize("path", ["/tenants", "/openapi.json", "/docsx", "/memoriesx", "/statsx", "/conversations"])
def test_nothing_else_answers_at_the_root(operator: Api, path: str) -> None:
    problem_of(operator.get(path), 404)


# --- Health ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", V1])
def test_health_routes_need_no_key(generation: Any, prefix: str) -> None:
    assert get(prefix + "/ping").json() == {"status": "ok"}
    assert get(prefix + "/readyz").json() == {"ready": True}
    healthz = get(prefix + "/healthz").json()
    assert {name: healthz[name] for name in ("kv_store", "vector_store", "graph_store")} == {
        "kv_store": True,
        "vector_store": True,
        "graph_store": True,
    }


def test_health_says_how_each_part_is(generation: Any) -> None:
    report = get("/health").json()

    assert (report["status"], report["healthy"], report["version"]) == ("healthy", True, somamemory.__version__)
    assert set(report["checks"]) >= {"database", "vector_index", "cache"}
    assert all(check["status"] == "healthy" and check["latency_ms"] >= 0 for check in report["checks"].values())
    assert {service["name"] for service in report["services"]} == set(report["checks"])
    assert report["uptime_seconds"] >= 0


def no_index(*_: object) -> None:
    raise IndexUnavailable


def test_without_the_index_health_is_degraded_and_still_200(generation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "of", no_index)

    response = get("/health")

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["healthy"]) == ("degraded", False)
    assert get("/healthz").json()["vector_store"] is False


def test_health_reports_that_the_database_is_down(generation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise OperationalError("host 10.0.0.1")

    monkeypatch.setattr(health, "_database", down)

    response = get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "unhealthy"
    ready = get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert "10.0.0.1" not in ready.content.decode() + response.content.decode()
    assert get("/healthz").json()["kv_store"] is False
    assert get("/ping").status_code == 200


def test_health_is_asked_at_most_every_ten_seconds(generation: Any) -> None:
    get("/health")

    with CaptureQueriesContext(connection) as captured:
        get("/health")
        get("/healthz")

    assert len(captured) == 0


def test_health_reveals_nothing_about_tenants(api: Api, stranger: Api) -> None:
    output = " ".join(api.get(path).content.decode() for path in ("/health", "/healthz", "/readyz", "/ping"))

    assert "acme" not in output
    assert "stranger" not in output


# --- The published contract --------------------------------------------------------------------------------------


def test_openapi_is_served_without_a_key(db: None) -> None:
    document = get(f"{V1}/openapi.json").json()

    assert document["openapi"].startswith("3.")
    assert document["info"]["title"] == "SomaMemory"
    assert f"{V1}/memories/{{coord}}" in document["paths"]


def test_every_problem_is_published_as_problem_json(db: None) -> None:
    document = get(f"{V1}/openapi.json").json()

    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                kinds = list(response.get("content", {}))
                if int(status) >= 400 and "Problem" in json.dumps(response):
                    assert kinds == ["application/problem+json"]


@pytest.mark.parametrize("admin", [True, False])
def test_the_page_at_the_root_links_to_existing_pages(admin: bool, operator: Api) -> None:
    with override_settings(ADMIN=admin):
        page = get("/")
    links = re.findall(r'href="([^"]+)"', page.content.decode())

    assert page.status_code == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "/docs" in links
    assert ("/admin/" in links) is admin
    assert all(get(link).status_code in (200, 302) for link in links)


def test_the_page_at_the_root_is_only_read(db: None) -> None:
    response: Any = Client().post("/")

    problem_of(response, 405, "method_not_allowed")


def test_docs_leads_to_the_page_of_the_api(db: None) -> None:
    response = get("/docs")

    assert (response.status_code, response["Location"]) == (302, f"{V1}/docs")


def test_the_docs_ask_no_other_host(db: None) -> None:
    page = get(f"{V1}/docs")

    assert page.status_code == 200
    text = page.content.decode()
    assert not re.findall(r"(?:https?:)?//[a-z]", text)
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert sources
    for source in sources:
        assert source.startswith(settings.STATIC_URL)
        assert finders.find(source.removeprefix(settings.STATIC_URL))
        file = get(source)
        assert b"".join(file)
        file.close()


def test_a_long_query_string_is_answered(api: Api) -> None:
    response = api.get("/memories/search?" + urlencode({"query": "x " * 4000}))

    assert response.status_code == 200
    problem_of(api.get("/memories/search?" + urlencode({"query": "x" * 8193})), 422, field="query")

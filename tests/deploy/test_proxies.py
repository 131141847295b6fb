"""deploy/nginx and deploy/caddy, running in front of a real server."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import unquote

import pytest

from api.routing import policies
from benchmarks.console.data import NAME, PASSWORD
from testing import ROOT, proxies
from testing.browser import Browser
from testing.proxies import CADDY, NGINX, Proxy
from testing.server import Server, free_port

_CREATE_SUPERUSER = f"""
from django.contrib.auth.models import User
User.objects.filter(username={NAME!r}).exists() or User.objects.create_superuser({NAME!r}, password={PASSWORD!r})
"""
pytestmark = [pytest.mark.server, pytest.mark.once]

KINDS = [
    pytest.param(
        "nginx",
        marks=pytest.mark.skipif(not NGINX, reason="NOT CHECKED: nginx is missing (apt-get install nginx-light)"),
    ),
    pytest.param(
        "caddy", marks=pytest.mark.skipif(not CADDY, reason="NOT CHECKED: caddy is missing (apt-get install caddy)")
    ),
]


@pytest.mark.parametrize(
    ("file", "rule"),
    [("nginx/somamemory.conf", r"location ~ (\S+) \{"), ("caddy/Caddyfile", r"@long path_regexp (\S+)")],
)
def test_the_proxies_wait_longer_for_exactly_the_requests_that_may_take_longer(file: str, rule: str) -> None:
    found = re.search(rule, (ROOT / "deploy" / file).read_text())
    assert found is not None

    paths = {re.sub(r"\{[^}]*\}", "x", f"/api/v1{path}") for _, path in policies}
    long = {re.sub(r"\{[^}]*\}", "x", f"/api/v1{path}") for (_, path), policy in policies.items() if policy.long}
    assert {path for path in paths if re.fullmatch(found[1], path)} == long


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"SOMA_ALLOWED_HOSTS": proxies.NAME, "SOMA_TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path_factory.mktemp("server"), SOMA_EMBEDDING_PROVIDER="hashing", **settings) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def proxy(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with getattr(proxies, request.param)(tmp_path_factory.mktemp(request.param), [server.port]) as running:
        yield running


@pytest.fixture(params=KINDS)
def proxy_without_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy without a server behind it."""
    with getattr(proxies, request.param)(tmp_path, [free_port()]) as running:
        yield running


def test_the_proxy_accepts_its_configuration(proxy: Proxy) -> None:
    done = proxy.check()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[emerg]" not in done.stderr


@pytest.mark.skipif(not NGINX, reason="NOT CHECKED: nginx is missing (apt-get install nginx-light)")
def test_the_sticky_variant_is_good_too(tmp_path: Path) -> None:
    done = proxies.nginx(tmp_path, [1, 2], "upstream-sticky.conf").check()

    assert done.returncode == 0, done.stderr


def test_a_memory_stored_through_the_proxy_is_read_through_it(proxy: Proxy, server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    body = json.dumps({"coord": "1,2", "payload": {"text": "behind a proxy"}}).encode()

    assert proxy.call("POST", "/memories", body, headers)[0].status in (200, 201)
    response, answer = proxy.call("GET", "/memories/1,2", headers=headers)

    assert response.status == 200
    assert json.loads(answer)["memory"]["payload"] == {"text": "behind a proxy"}


@pytest.mark.parametrize("path", ["users/ada/%C3%BC%20%25", "users%2Fada%2F%C3%BC%20%25", "a//b", "a%2F%2Fb"])
def test_a_key_comes_through_the_proxy_as_it_was_sent(proxy: Proxy, server: Server, path: str) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    body = json.dumps({"payload": {"text": "behind a proxy"}}).encode()

    assert proxy.call("PUT", f"/memories/by-key/{path}", body, headers)[0].status in (200, 201)
    response, answer = proxy.call("GET", f"/memories/by-key/{path}", headers=headers)

    assert response.status == 200
    assert json.loads(answer)["memory"]["key"] == unquote(path)


def test_every_answer_has_the_headers_of_a_careful_host_once(proxy: Proxy) -> None:
    for path in ("/healthz", "/memories/1"):
        headers = proxy.call("GET", path)[0].headers
        assert headers.get_all("Strict-Transport-Security") == ["max-age=63072000; includeSubDomains"]
        assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert headers.get_all("Referrer-Policy") == ["same-origin"]
        assert len(headers.get_all("Content-Security-Policy", [])) == 1


@pytest.mark.parametrize(("path", "status"), [("/admin/", 301), ("/memories/1", 403), ("/api/v1/memories", 403)])
def test_only_pages_are_redirected_to_https(proxy: Proxy, path: str, status: int) -> None:
    with contextlib.closing(HTTPConnection("127.0.0.1", proxy.plain_port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": proxies.NAME})
        response = connection.getresponse()
        answer = response.read()

    assert response.status == status
    if status == 301:
        assert response.headers["Location"] == f"https://{proxies.NAME}{path}"
    else:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(answer)["status"] == 403


def test_a_weak_cipher_is_refused(proxy: Proxy) -> None:
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    weak.check_hostname, weak.verify_mode = False, ssl.CERT_NONE
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("kRSA:ECDHE+AES+SHA1:@SECLEVEL=0")

    with socket.create_connection(("127.0.0.1", proxy.port), 5) as plain, pytest.raises(ssl.SSLError):
        weak.wrap_socket(plain, server_hostname=proxies.NAME)


@pytest.mark.browser
def test_a_browser_signs_in_to_the_console_through_the_proxy(proxy: Proxy, server: Server) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "shell", "-v", "0", "-c", _CREATE_SUPERUSER],
        env=server.environment,
        check=True,
        capture_output=True,
        timeout=180,
    )
    # A real port in the address would not be in the Host header that the proxy sends.
    here = f"--host-resolver-rules=MAP {proxies.NAME} 127.0.0.1:{proxy.port}"

    with Browser(f"https://{proxies.NAME}", options=[here, "--ignore-certificate-errors"]) as browser:
        browser.sign_in(NAME, PASSWORD)

        assert browser.visit("dashboard", "/admin/").complaints == []
        assert browser.driver.current_url == f"https://{proxies.NAME}/admin/"


def test_the_id_of_a_request_reaches_every_layer(proxy: Proxy) -> None:
    assert proxy.call("GET", "/healthz", headers={"X-Request-ID": "abc-1"})[0].headers["X-Request-ID"] == "abc-1"
    assert proxy.call("GET", "/healthz")[0].headers["X-Request-ID"]


def test_a_body_that_is_too_large_is_refused_with_a_problem(proxy: Proxy, server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    headers["Content-Length"] = str(10 * 1024 * 1024 + 1)  # the proxy need not read more of it
    response, answer = proxy.call("POST", "/memories", headers=headers)

    assert response.status == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer)["code"] == "payload_too_large"


def test_a_body_that_is_just_small_enough_gets_through(proxy: Proxy, server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    response, answer = proxy.call("POST", "/memories", b" " * (10 * 1024 * 1024), headers)

    assert response.status == 400  # not JSON, because only the service knows the details
    assert json.loads(answer)["request_id"]


def test_an_old_tls_is_refused(proxy: Proxy) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    with socket.create_connection(("127.0.0.1", proxy.port), 5) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname=proxies.NAME)


def test_without_a_server_the_proxy_responds_with_a_problem(proxy_without_server: Proxy) -> None:
    response, answer = proxy_without_server.call("GET", "/healthz")

    assert response.status in (502, 503)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer)["status"] == response.status
    assert response.headers["Strict-Transport-Security"]

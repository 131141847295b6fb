"""Client ID metadata documents: only a small document at a public address is fetched, once, and without redirects."""

from __future__ import annotations

import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from console.models import OAuthClient
from console.oauth import client_documents
from console.oauth.protocol import OAuthError
from tests.support.oauth import CALLBACK, URL, App

Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """A web server with TLS on the loopback interface. `respond` writes its next responses."""

    def __init__(self, folder: Path) -> None:
        site = self
        self.respond: Respond = lambda handler: None
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                site.respond(self)

            def log_message(self, *args: object) -> None:
                pass

        self.certificate = _certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/app.json"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, document: object) -> None:
        self.send(json.dumps(document).encode())

    def send(self, body: bytes) -> None:
        def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.respond = respond

    def document(self, **changes: Any) -> dict[str, Any]:
        return {"client_id": self.url, "client_name": "Notes", "redirect_uris": [CALLBACK], **changes}


def _certificate(folder: Path) -> Path:
    """Return a file with a key and a self-signed certificate for localhost."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    signed = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    file = folder / "site.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def site(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site that counts as public, and whose certificate is trusted."""
    shared_site.requests = 0
    shared_site.serve(shared_site.document())
    trust = ssl.create_default_context(cafile=str(shared_site.certificate))
    monkeypatch.setattr(client_documents, "public_address", lambda host, port: "127.0.0.1")
    monkeypatch.setattr(client_documents, "tls", lambda: trust)
    return shared_site


def reason_for(url: str) -> str:
    with pytest.raises(OAuthError) as caught:
        client_documents.fetch(url)
    assert caught.value.error == "invalid_client"
    return caught.value.description


def test_an_app_with_a_document_is_connected_and_fetched_once(site: Site, staff: Client, settings: Any) -> None:
    settings.OAUTH_URL = URL
    app = App(staff, site.url)

    assert "published by <strong>localhost" in app.show().content.decode()
    assert app.connect()["access_token"]
    assert site.requests == 1
    assert OAuthClient.objects.get().client_id == site.url


def test_nothing_is_fetched_for_users_who_are_not_signed_in(site: Site, settings: Any, tenant: Any) -> None:
    settings.OAUTH_URL = URL

    assert App(Client(), site.url).show().status_code == 302
    assert App(Client(), site.url).exchange("guessed").status_code == 401
    assert site.requests == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata service of cloud providers
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "2002:7f00:1::1",
        "fec0::1",  # site-local
        "192.0.0.192",  # the metadata service of a cloud provider
        "ff02::1",
    ],
)
def test_a_document_at_a_private_address_is_not_fetched(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    answers: list[Any] = [(0, 0, 0, "", ("8.8.8.8", 443)), (0, 0, 0, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answers)

    assert "public address" in reason_for("https://app.example.com/app.json")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "0"])
def test_a_literal_private_address_is_not_fetched(host: str) -> None:
    reason_for(f"https://{host}/app.json")


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/app.json",
        "file:///etc/passwd",
        "https://app.example.com",
        "https://app.example.com/",
        "https://user:secret@app.example.com/app.json",
        "https://app.example.com/app.json#fragment",
        "https://app.example.com/a/../app.json",
        "https://app.example.com:port/app.json",
        "https://[broken/app.json",
        "https://app.example.com/a b",
        "https://app.example.com/" + "x" * 500,
    ],
)
def test_an_unusual_url_is_not_fetched(url: str) -> None:
    assert "URL" in reason_for(url)


def test_the_checked_address_is_the_one_that_is_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a second lookup would return another address."""
    monkeypatch.setattr(socket, "getaddrinfo", _addresses_only)

    assert client_documents.fetch(site.url)["client_name"] == "Notes"


def _addresses_only(host: str, *args: Any, **options: Any) -> Any:
    ipaddress.ip_address(host)  # raises ValueError for a name
    return _resolve(host, *args, **options)


_resolve = socket.getaddrinfo


def test_a_resolver_that_does_not_respond_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    responds = threading.Event()
    monkeypatch.setattr(client_documents, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: responds.wait(60))

    try:
        for _ in range(6):  # more than there are threads for resolving names
            assert "could not be fetched" in reason_for("https://app.example.com/app.json")
    finally:
        responds.set()


def test_a_site_that_accepts_a_connection_too_late_is_abandoned(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.create_connection

    def connect_late(address: Any, timeout: float) -> socket.socket:
        connection = connect(address, timeout)
        time.sleep(0.4)
        return connection

    monkeypatch.setattr(client_documents, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(socket, "create_connection", connect_late)

    assert "could not be fetched" in reason_for(site.url)
    assert site.requests == 0


def test_a_redirect_is_not_followed(site: Site) -> None:
    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", site.url)
        handler.end_headers()

    site.respond = respond

    assert "status 302" in reason_for(site.url)
    assert site.requests == 1


def test_a_deeply_nested_document_is_refused(site: Site) -> None:
    site.send(b"[" * 16_000)

    assert "is not JSON" in reason_for(site.url)


def test_a_large_document_is_refused(site: Site) -> None:
    site.serve(site.document(more="x" * client_documents.MAX_BYTES))

    assert "larger than" in reason_for(site.url)


@pytest.mark.parametrize(
    "beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"]
)
def test_a_slow_site_is_abandoned(site: Site, monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    monkeypatch.setattr(client_documents, "TIMEOUT_S", 0.3)
    noticed = threading.Event()

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(beginning)
        for _ in range(100):  # each byte arrives before the socket's timeout
            try:
                handler.wfile.write(b"x")
            except OSError:
                noticed.set()
                return
            time.sleep(0.1)

    site.respond = respond

    assert reason_for(site.url)
    assert noticed.wait(5)  # the connection is closed before the site has finished


def test_a_site_with_an_untrusted_certificate_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_documents, "tls", ssl.create_default_context)

    assert "could not be fetched" in reason_for(site.url)


@pytest.mark.parametrize("document", [[], "x", {}, {"client_id": "https://other.example.com/app.json"}])
def test_a_document_of_another_app_is_refused(site: Site, document: object) -> None:
    site.serve(document)

    assert "its own URL" in reason_for(site.url)


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": ["http://evil.example.com/"]},
        {"redirect_uris": []},
        {"client_name": None},
        {"token_endpoint_auth_method": "client_secret_basic"},
    ],
)
def test_a_document_needs_what_a_registration_needs(
    site: Site, staff: Client, settings: Any, changes: dict[str, Any]
) -> None:
    settings.OAUTH_URL = URL
    site.serve(site.document(**changes))

    assert App(staff, site.url).show().status_code == 400
    assert not OAuthClient.objects.exists()

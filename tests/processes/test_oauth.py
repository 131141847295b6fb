"""The official MCP SDK's OAuth client against a real server: discovery, registration, consent, use and refresh."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from testing.server import ROOT, Server

pytestmark = [pytest.mark.server, pytest.mark.once]
CALLBACK = "http://127.0.0.1:9/callback"
PASSWORD = "a long enough pass phrase"


class Storage:
    """The tokens and the registration that the app stores."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """A user who signs in and authorizes the app."""

    result: dict[str, Any]

    async def open(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=True) as http:
            login = await http.get(url)
            form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token_in(login.text)}
            consent = await http.post(login.url, data=form)
            assert "Connect an app" in consent.text
            form = {"tenant": "default", "scopes": "read", "decision": "allow"}
            sent = {**form, "csrfmiddlewaretoken": token_in(consent.text)}
            response = await http.post(consent.url, data=sent, follow_redirects=False)
        self.result = parse_qs(urlsplit(response.headers["Location"]).query)

    async def returned(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**{name: values[0] for name, values in self.result.items()})


def token_in(html: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    assert found
    return found[1]


def create_user(server: Server) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "createsuperuser", "--noinput", "--username=ada", "--email="]
    environment = {**server.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_the_sdk_connects_uses_the_memory_and_refreshes_its_token(tmp_path: Path) -> None:
    server = Server(tmp_path, SOMA_EMBEDDING_PROVIDER="hashing", SOMA_ADMIN_SECURE_COOKIES="false")
    url = f"http://127.0.0.1:{server.port}"
    server.environment["SOMA_OAUTH_URL"] = url
    storage, browser = Storage(), Browser()
    metadata = OAuthClientMetadata(client_name="SDK", redirect_uris=[AnyUrl(CALLBACK)], scope="read")

    async def count() -> Any:
        auth = OAuthClientProvider(f"{url}/mcp", metadata, storage, browser.open, browser.returned)
        async with httpx2.AsyncClient(auth=auth) as http:
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
            async with Client(transport) as client:
                stored = await client.call_tool("memory_store", {"content": "x"})
                assert stored.is_error  # the user allowed only reading
                stats = await client.call_tool("memory_stats", {})
                auth.context.token_expiry_time = 1.0
                again = await client.call_tool("memory_stats", {})
                assert again.structured_content == stats.structured_content
                return stats.structured_content

    with server:
        create_user(server)
        asyncio.run(count())
        assert storage.tokens is not None
        assert storage.tokens.scope == "read"
        assert storage.tokens.refresh_token is not None
        assert storage.tokens.refresh_token.split(".")[1] == "2"  # the second generation

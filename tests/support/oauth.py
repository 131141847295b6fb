"""An app that connects with OAuth, as a browser and the token endpoint see it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client

from console.models import OAuthClient

URL = "https://memory.example.org"
RESOURCE = f"{URL}/mcp"
CALLBACK = "https://app.example.com/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
AUTHORIZE = "/admin/oauth/authorize/"


@dataclass
class App:
    """A registered app, and the browser of the user who connects it."""

    browser: Client
    client_id: str
    consent: dict[str, Any] = field(default_factory=lambda: {"tenant": "acme", "scopes": ["read", "write", "delete"]})

    @classmethod
    def create(cls, browser: Client, redirect_uri: str = CALLBACK) -> App:
        client = OAuthClient.objects.create(client_id=f"app {redirect_uri}", name="Notes", redirect_uris=[redirect_uri])
        return cls(browser, client.client_id)

    def request(self, **changes: str | None) -> dict[str, str]:
        """Return the parameters of an authorization request. None removes one."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": RESOURCE,
            "scope": "read write delete",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def show(self, **changes: str | None) -> Any:
        """Return the response to the authorization request."""
        return self.browser.get(AUTHORIZE, self.request(**changes))

    def decide(self, decision: str = "allow", **changes: str | None) -> Any:
        """Submit the consent form, and return the response."""
        query = self.request(**changes)
        return self.browser.post(AUTHORIZE, {**self.consent, "decision": decision}, query_params=query)

    def code(self, **changes: str | None) -> str:
        response = self.decide("allow", **changes)
        assert response.status_code == 302, response.content
        return returned(response)["code"]

    def exchange(self, code: str, /, **changes: str | None) -> Any:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "resource": RESOURCE,
            **changes,
        }
        return post("/oauth/token", fields)

    def refresh(self, token: str, /, **changes: str | None) -> Any:
        fields = {"grant_type": "refresh_token", "client_id": self.client_id, "refresh_token": token, **changes}
        return post("/oauth/token", fields)

    def revoke(self, token: str, /, **changes: str | None) -> Any:
        return post("/oauth/revoke", {"client_id": self.client_id, "token": token, **changes})

    def connect(self) -> dict[str, Any]:
        """Return the first tokens."""
        response = self.exchange(self.code())
        assert response.status_code == 200, response.content
        tokens: dict[str, Any] = response.json()
        return tokens


def post(path: str, fields: dict[str, str | None]) -> Any:
    content = urlencode({name: value for name, value in fields.items() if value is not None})
    client = Client(raise_request_exception=False)
    return client.generic("POST", path, content, content_type="application/x-www-form-urlencoded")


def returned(response: Any) -> dict[str, str]:
    """Return the parameters of the redirect to the app."""
    return {name: values[0] for name, values in parse_qs(urlsplit(response["Location"]).query).items()}


def answer(token: str, path: str = "/mcp", tool: str = "memory_stats") -> Any:
    """Return the response to a tool call with an access token."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    headers = {"Authorization": f"Bearer {token}"}
    client = Client(raise_request_exception=False)
    return client.generic("POST", path, json.dumps(body), content_type="application/json", headers=headers)

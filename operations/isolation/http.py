"""Send the isolation check's requests to a running server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx2

from somamemory.errors import ConfigurationError

TIMEOUT_S = 60.0
MAX_WAIT_S = 60.0


class Server:
    """Sends requests to a URL, and waits when the rate limit rejects a request."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def __call__(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
        """Return the status and the text of the response. Raises ConfigurationError if the server does not respond."""
        until = time.monotonic() + MAX_WAIT_S
        while True:
            try:
                response = self._client.request(method, self._url + path, json=body, headers=dict(headers))
            except httpx2.HTTPError as error:
                raise ConfigurationError(
                    f"{self._url} is not responding ({type(error).__name__}); start the server, or set --url"
                ) from None
            pause_s = float(response.headers.get("Retry-After", 1))
            if response.status_code != 429 or time.monotonic() + pause_s > until:
                return response.status_code, response.text
            time.sleep(pause_s)

    def close(self) -> None:
        self._client.close()

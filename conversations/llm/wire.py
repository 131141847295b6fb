"""JSON requests to a provider over HTTP, with size limits, our own error types, and one deadline for all attempts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from somamemory import failpoints, http_client
from somamemory.breaker import Breaker
from somamemory.errors import ConfigurationError, LlmAnswerInvalid, LlmRefused, LlmUnavailable
from somamemory.retry import RetryPolicy, retry_after_s

log = logging.getLogger("soma.llm")

# While the provider is down, one caller per period tries again. A separate probe would cost tokens.
BREAKER_PAUSE_S = 20.0
RETRY = RetryPolicy(attempts=3, first_pause_s=0.5)
MAX_ANSWER_BYTES = 4 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# These statuses mean that the request is invalid. Other errors, such as a wrong key or model name, can be fixed in the
# settings.
_INVALID_REQUEST = frozenset({400, 413, 422})


class Wire:
    """Connections to one provider, shared by all threads of the process."""

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigurationError("SOMA_LLM_BASE_URL must start with http:// or https://")
        self.timeout_s = timeout_s
        self.breaker = Breaker("the language model", log, pause_s=BREAKER_PAUSE_S)
        self._url = base_url.rstrip("/")
        self._client = http_client.client(headers=dict(headers))
        self._stopped = threading.Event()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the provider's parsed response. All attempts together take at most about `timeout_s`.

        Raises LlmUnavailable, LlmRefused, LlmAnswerInvalid.
        """
        if not self.breaker.allows():
            raise LlmUnavailable(
                "calls to the language model are paused after recent failures; retry later", self.breaker.pause_s
            )
        try:
            answer = self._post_with_retries(path, orjson.dumps(body))
        except (LlmRefused, LlmAnswerInvalid):
            self.breaker.succeeded()  # the provider responds
            raise
        except LlmUnavailable as error:
            self.breaker.failed(error.detail)
            raise
        self.breaker.succeeded()
        return answer

    def close(self) -> None:
        self._stopped.set()
        self._client.close()

    def _post_with_retries(self, path: str, content: bytes) -> Any:
        deadline = time.monotonic() + self.timeout_s
        try:
            return RETRY.run(
                lambda: self._post_once(path, content, deadline),
                lambda error: isinstance(error, _Transient),
                deadline=lambda: deadline,
                min_pause_s=lambda error: error.pause_s if isinstance(error, _Transient) else 0.0,
                sleep=self._stopped.wait,
            )
        except _Transient as error:
            raise LlmUnavailable(str(error), error.pause_s) from error.__cause__

    def _post_once(self, path: str, content: bytes, deadline: float) -> Any:
        left_s = max(0.001, deadline - time.monotonic())
        timeout = httpx2.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            failpoints.reach("call.language_model")
            with (
                http_client.deadline(deadline),
                self._client.stream(
                    "POST", self._url + path, content=content, headers=headers, timeout=timeout
                ) as response,
            ):
                raw = _read(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, failpoints.InjectedError) as error:
            raise _Transient(f"cannot connect to the language model: {type(error).__name__}") from error
        except (httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.PoolTimeout) as error:
            raise LlmUnavailable(
                f"the language model did not respond within {self.timeout_s:g} s", sent=True
            ) from error
        except httpx2.HTTPError as error:
            # The provider may already have charged for this prompt, so it is not sent again.
            raise LlmUnavailable(
                f"the connection to the language model was lost: {type(error).__name__}", sent=True
            ) from error
        return _parse(response, raw)


class HttpModel:
    """Base class for models that are called over HTTP."""

    def __init__(self, model: str, base_url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self.name = model
        self.wire = Wire(base_url, headers, timeout_s)

    @property
    def is_answering(self) -> bool:
        return not self.wire.breaker.is_open


class _Transient(Exception):
    """An error that a retry may resolve, after `pause_s` seconds if the provider requests a delay."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def _read(response: httpx2.Response) -> bytes:
    chunks, size = [], 0
    for chunk in response.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise LlmAnswerInvalid(f"the language model's response is longer than {MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _parse(response: httpx2.Response, raw: bytes) -> Any:
    """Return the parsed response. Error messages never quote the provider's text, which may contain keys or content."""
    status = response.status_code
    if status in _TRANSIENT:
        pause_s = retry_after_s(response.headers.get("Retry-After", ""))
        raise _Transient(f"the language model provider returned HTTP {status}", pause_s)
    if status in _INVALID_REQUEST:
        raise LlmRefused(f"the language model provider rejected the request: HTTP {status}")
    if status != 200:
        raise LlmUnavailable(f"the language model provider returned HTTP {status}; check the SOMA_LLM_* settings")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise LlmAnswerInvalid("the language model provider did not return JSON") from None

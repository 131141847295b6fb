"""Support any provider with an OpenAI-compatible embeddings API, such as OpenAI, Ollama, vLLM or LM Studio."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai

from memories.embeddings.base import Vectors
from somamemory import http_client
from somamemory.errors import ConfigurationError, EmbedderRefused, EmbedderUnavailable
from somamemory.retry import RetryPolicy, retry_after_s
from somamemory.telemetry import metrics

BATCH = 128
RETRY = RetryPolicy(attempts=3, first_pause_s=0.5)
_TRANSIENT = frozenset((408, 409, 429, 500, 502, 503, 504))


class OpenAIEmbedder:
    provider = "openai"
    in_process = False

    def __init__(self, *, model: str, dimension: int, base_url: str, api_key: str, timeout_s: float) -> None:
        if not model or not dimension:
            raise ConfigurationError(
                "SOMA_EMBEDDING_MODEL and SOMA_EMBEDDING_DIMENSION are required when SOMA_EMBEDDING_PROVIDER is openai"
            )
        self.model = model
        self.dimension = dimension
        self._timeout_s = timeout_s
        self._client = openai.OpenAI(
            base_url=base_url or None,
            api_key=api_key or "none",
            max_retries=0,  # the library would retry without a deadline, and wait for up to a minute each time
            http_client=http_client.client(),  # type: ignore[arg-type]  # accepted, like `openai.DefaultHttpx2Client`
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        # Providers reject empty strings, so a text without words is not sent and keeps its row of zeros.
        filled = [at for at, text in enumerate(texts) if text.strip()]
        for start in range(0, len(filled), BATCH):
            batch = filled[start : start + BATCH]
            vectors[batch] = self._embed_batch([texts[at] for at in batch])
        return vectors

    def _embed_batch(self, texts: list[str]) -> Vectors:
        with translating_errors():
            answer = self._request(texts)
        metrics.embedding_tokens.labels(self.provider).inc(_tokens(answer))
        rows = _rows(answer)
        if len(rows) != len(texts):
            raise EmbedderUnavailable(
                f"the embedding provider returned {len(rows)} vectors for {len(texts)} texts; check that its API is "
                "compatible with OpenAI's"
            )
        if any(row.shape != (self.dimension,) for row in rows):
            raise EmbedderUnavailable(
                f"the model '{self.model}' creates vectors with {rows[0].size} dimensions, "
                f"but SOMA_EMBEDDING_DIMENSION is {self.dimension}; correct the setting"
            )
        vectors = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise EmbedderRefused("the embedding provider returned numbers that are not finite, such as NaN")
        return vectors

    def _request(self, texts: list[str]) -> Any:
        """Send a request, and retry it within the timeout, which applies to all attempts together."""
        ends_at = time.monotonic() + self._timeout_s

        def attempt() -> Any:
            left_s = max(0.001, ends_at - time.monotonic())
            with http_client.deadline(ends_at):
                return self._client.embeddings.create(
                    model=self.model, input=texts, encoding_format="float", timeout=left_s
                )

        return RETRY.run(attempt, _is_transient, deadline=lambda: ends_at, min_pause_s=_pause_s)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _TRANSIENT
    return isinstance(error, openai.APIConnectionError)


def _pause_s(error: BaseException) -> float:
    headers = error.response.headers if isinstance(error, openai.APIStatusError) else {}
    return retry_after_s(headers.get("Retry-After", ""))


def _rows(answer: Any) -> list[Vectors]:
    """Return the vectors in a response, in the order of the texts. Raises EmbedderUnavailable if they are missing.

    The response is checked here because the client library does not validate successful responses.
    """
    try:
        items = sorted(answer.data, key=lambda item: item.index)
        with np.errstate(over="ignore"):  # a number that is too large for float32 becomes infinite
            return [np.array(item.embedding, dtype=np.float32) for item in items]
    except (AttributeError, TypeError, ValueError) as error:
        raise EmbedderUnavailable(
            "the embedding provider's response contains no embeddings; check SOMA_EMBEDDING_BASE_URL"
        ) from error


def _tokens(answer: Any) -> int:
    """Return the number of tokens that the provider reports, or 0 if it reports none or the number makes no sense."""
    tokens = getattr(getattr(answer, "usage", None), "total_tokens", None)
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


@contextmanager
def translating_errors() -> Iterator[None]:
    try:
        yield
    except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
        raise EmbedderUnavailable(f"the embedding provider failed: {type(error).__name__}") from error
    except openai.APIStatusError as error:
        # Only these status codes mean that the input is at fault. Other errors, such as those caused by a wrong API
        # key, can be fixed, so the same input is retried.
        refused = EmbedderRefused if error.status_code in (400, 413, 422) else EmbedderUnavailable
        raise refused(f"the embedding provider rejected the request: HTTP {error.status_code}") from error
    except openai.OpenAIError as error:
        raise EmbedderUnavailable(f"the embedding provider failed: {type(error).__name__}") from error
    # The client library does not translate these errors, such as for a number with too many digits.
    except (ValueError, OverflowError, RecursionError) as error:
        raise EmbedderUnavailable(
            "the embedding provider's response is not valid JSON; check SOMA_EMBEDDING_BASE_URL"
        ) from error

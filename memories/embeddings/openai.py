"""Support any provider with an OpenAI-compatible embeddings API, such as OpenAI, Ollama, vLLM or LM Studio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai

from memories.embeddings.base import Vectors
from somamemory.errors import ConfigurationError, EmbedderRefused, EmbedderUnavailable
from somamemory.telemetry import metrics

BATCH = 128
RETRIES = 2  # made by the client library, with exponential backoff and jitter; it also respects Retry-After


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
        self._client = openai.OpenAI(
            base_url=base_url or None,
            api_key=api_key or "none",
            timeout=timeout_s,
            max_retries=RETRIES,
            # Do not follow redirects, which could send the key and the input to an address that is not in the settings.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
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
            answer = self._client.embeddings.create(model=self.model, input=texts, encoding_format="float")
        usage = getattr(answer, "usage", None)
        metrics.embedding_tokens.labels(self.provider).inc(getattr(usage, "total_tokens", None) or 0)
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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:  # the client library does not translate these errors
        raise EmbedderUnavailable(
            "the embedding provider's response is not valid JSON; check SOMA_EMBEDDING_BASE_URL"
        ) from error

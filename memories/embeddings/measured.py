"""An embedder wrapper that records metrics."""

from __future__ import annotations

from collections.abc import Sequence

from memories.embeddings.base import Embedder, Vectors
from somamemory.telemetry import metrics, tracing


class MeasuredEmbedder:
    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.provider, self.model, self.dimension = inner.provider, inner.model, inner.dimension
        self.in_process = inner.in_process

    def embed(self, texts: Sequence[str]) -> Vectors:
        outcome = "failed"
        try:
            with tracing.span("embed", provider=self.provider, texts=len(texts)):
                vectors = self._inner.embed(texts)
            outcome = "ok"
            metrics.embedded_texts.labels(self.provider).inc(len(texts))
            return vectors
        finally:
            metrics.embedding_calls.labels(self.provider, outcome).inc()

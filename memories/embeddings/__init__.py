"""Create embedders, including the one selected in the settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from memories.embeddings.base import Embedder
from memories.embeddings.measured import MeasuredEmbedder
from somamemory import extras
from somamemory.errors import ConfigurationError

PROVIDERS = ("wordllama", "openai", "onnx", "hashing")


class Recipe(Protocol):
    """The parameters of an embedder, such as those recorded in an embedding generation."""

    provider: str
    model: str
    dimension: int


def of(recipe: Recipe) -> Embedder:
    """Return the embedder for a generation. A remote provider's URL and API key come from the settings.

    Raises ConfigurationError if the embedder cannot be created.
    """
    return made(recipe.provider, recipe.model, recipe.dimension)


def current() -> Embedder:
    """Return the embedder that is configured in the settings. The first generation uses it.

    Raises ConfigurationError if it cannot be created.
    """
    return made(settings.EMBEDDING_PROVIDER, settings.EMBEDDING_MODEL, settings.EMBEDDING_DIMENSION)


@lru_cache(maxsize=8)
def made(provider: str, model: str = "", dimension: int = 0) -> Embedder:
    """Return the embedder with these parameters, creating it if necessary.

    An empty model or a dimension of 0 selects the provider's default. Raises ConfigurationError if the embedder cannot
    be created.
    """
    if provider == "wordllama":
        from memories.embeddings.wordllama import WordLlamaEmbedder

        return _checked(WordLlamaEmbedder(), model, dimension)
    if provider == "hashing":
        from memories.embeddings.hashing import DIMENSION, HashingEmbedder

        return _checked(HashingEmbedder(dimension or DIMENSION), model, dimension)
    if provider == "onnx":
        extras.require("onnx", "the embedding provider 'onnx'")
        from memories.embeddings.onnx import OnnxEmbedder

        return _checked(OnnxEmbedder(model), model, dimension)
    if provider == "openai":
        extras.require("openai", "the embedding provider 'openai'")
        from memories.embeddings.cache import CachedEmbedder
        from memories.embeddings.openai import OpenAIEmbedder

        inner = OpenAIEmbedder(
            model=model,
            dimension=dimension,
            base_url=settings.EMBEDDING_BASE_URL,
            api_key=settings.EMBEDDING_API_KEY,
            timeout_s=settings.EMBEDDING_TIMEOUT_S,
        )
        return CachedEmbedder(MeasuredEmbedder(inner))
    raise ConfigurationError(f"unknown embedding provider '{provider}'; must be one of {', '.join(PROVIDERS)}")


def check_settings(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Check, for `manage.py check --deploy`, that the configured embedder can be created."""
    try:
        current()
    except ConfigurationError as error:
        return [Error(str(error), id="soma.E007")]
    return []


def _checked(embedder: Embedder, model: str, dimension: int) -> Embedder:
    """Return the embedder, wrapped to record metrics.

    Raises ConfigurationError if it has a different model or dimension.
    """
    if model not in ("", embedder.model):
        raise ConfigurationError(
            f"{embedder.provider} supports only the model '{embedder.model}'; unset SOMA_EMBEDDING_MODEL"
        )
    if dimension not in (0, embedder.dimension):
        raise ConfigurationError(
            f"{embedder.provider} creates vectors with {embedder.dimension} dimensions, "
            f"but SOMA_EMBEDDING_DIMENSION is {dimension}; unset it"
        )
    return MeasuredEmbedder(embedder)

"""Language models, selected by the settings. Without a model, all features except fact extraction use heuristics."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from conversations.llm.base import ChatModel
from somamemory.errors import ConfigurationError, LlmMissing

OFFLINE = "offline"


def current() -> ChatModel | None:
    """Return the configured model, or None if there is none. Raises ConfigurationError if the settings are invalid."""
    if settings.LLM_PROVIDER == OFFLINE:
        return None
    return create(
        settings.LLM_PROVIDER,
        settings.LLM_MODEL,
        settings.LLM_BASE_URL,
        settings.LLM_API_KEY,
        settings.LLM_TIMEOUT_S,
    )


def needed() -> ChatModel:
    """Return the configured model. Raises LlmMissing if there is none, and the same errors as `current`."""
    model = current()
    if model is None:
        raise LlmMissing("no language model is configured; set SOMA_LLM_PROVIDER")
    return model


def healthy() -> bool | None:
    """Return whether the model's circuit breaker is closed, or None if no model is configured.

    Sends no request to the model, because requests cost money.
    """
    model = current()
    return None if model is None else model.is_answering


@lru_cache(maxsize=2)
def create(provider: str, model: str, base_url: str, api_key: str, timeout_s: float) -> ChatModel:
    """Return a client that is shared by all callers with the same settings.

    Raises ConfigurationError if the provider is unknown or a setting is not valid.
    """
    if provider == "openai":
        from conversations.llm.openai import OpenAIChat

        return OpenAIChat(model=model, base_url=base_url, api_key=api_key, timeout_s=timeout_s)
    if provider == "anthropic":
        from conversations.llm.anthropic import AnthropicChat

        return AnthropicChat(model=model, base_url=base_url, api_key=api_key, timeout_s=timeout_s)
    raise ConfigurationError(f"unknown SOMA_LLM_PROVIDER '{provider}'; must be offline, openai or anthropic")

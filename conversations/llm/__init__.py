"""Language models, and the one that the settings choose. Without one, everything here has another way."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from conversations.llm.base import ChatModel
from somamemory.errors import ConfigurationError, LlmMissing

OFFLINE = "offline"


def current() -> ChatModel | None:
    """The model of the settings; None: there is none. Raises ConfigurationError."""
    if settings.LLM_PROVIDER == OFFLINE:
        return None
    return made(
        settings.LLM_PROVIDER,
        settings.LLM_MODEL,
        settings.LLM_BASE_URL,
        settings.LLM_API_KEY,
        settings.LLM_TIMEOUT_S,
    )


def needed() -> ChatModel:
    """The model of the settings, for what cannot be done without one. Raises LlmMissing, ConfigurationError."""
    model = current()
    if model is None:
        raise LlmMissing("this installation has no language model; its settings (SOMA_LLM_PROVIDER) name one")
    return model


def healthy() -> bool | None:
    """Whether the model has answered lately; None: there is none. Nobody is asked, as each question costs."""
    model = current()
    return None if model is None else model.is_answering


@lru_cache(maxsize=2)
def made(provider: str, model: str, base_url: str, api_key: str, timeout_s: float) -> ChatModel:
    """Raises ConfigurationError."""
    if provider == "openai":
        from conversations.llm.openai import OpenAIChat

        return OpenAIChat(model=model, base_url=base_url, api_key=api_key, timeout_s=timeout_s)
    if provider == "anthropic":
        from conversations.llm.anthropic import AnthropicChat

        return AnthropicChat(model=model, base_url=base_url, api_key=api_key, timeout_s=timeout_s)
    raise ConfigurationError(f"SOMA_LLM_PROVIDER is '{provider}'; it can be offline, openai or anthropic")

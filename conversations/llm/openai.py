"""Client for OpenAI's chat completions API, which Ollama, vLLM, Google and others also provide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from conversations.llm.base import Completion, Message, completed
from conversations.llm.schemas import provider_schema
from conversations.llm.wire import HttpModel
from somamemory.errors import LlmAnswerInvalid, LlmRefused

BASE_URL = "https://api.openai.com/v1"


class OpenAIChat(HttpModel):
    """A model that is called with POST /chat/completions, and with `response_format` for structured output."""

    def __init__(self, *, model: str, base_url: str, api_key: str, timeout_s: float) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(model, base_url or BASE_URL, headers, timeout_s)
        # OpenAI's newer models accept only `max_completion_tokens`; most other providers accept only `max_tokens`.
        self._limit = "max_tokens" if base_url and base_url.rstrip("/") != BASE_URL else "max_completion_tokens"
        self._supports_schemas = True

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            self._limit: max_tokens,
        }
        if schema is None or not self._supports_schemas:
            return self._post(body)
        shape = {"name": schema.__name__, "strict": True, "schema": provider_schema(schema)}
        try:
            return self._post({**body, "response_format": {"type": "json_schema", "json_schema": shape}})
        except LlmRefused:
            # Not every compatible server supports `response_format`, so the prompt describes the schema as well.
            completion = self._post(body)
            self._supports_schemas = False
            return completion

    def _post(self, body: dict[str, Any]) -> Completion:
        return _completion(self.wire.post("/chat/completions", body))


def _completion(answer: Any) -> Completion:
    try:
        text = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage") or {}
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise LlmAnswerInvalid("the language model provider did not return a completion") from None
    if not isinstance(text, str):
        raise LlmAnswerInvalid("the language model returned no text")
    return completed(text, *counts)

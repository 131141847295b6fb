"""Any provider that speaks OpenAI's chat completions: OpenAI, Ollama, vLLM, Google's compatible endpoint, …"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from conversations.llm.base import Completion, Message, completed
from conversations.llm.schemas import plain
from conversations.llm.wire import OverWire
from somamemory.errors import LlmAnswerInvalid, LlmRefused

BASE_URL = "https://api.openai.com/v1"


class OpenAIChat(OverWire):
    """POST /chat/completions of the API reference, with `response_format` for structured output."""

    def __init__(self, *, model: str, base_url: str, api_key: str, timeout_s: float) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(model, base_url or BASE_URL, headers, timeout_s)
        # OpenAI's newer models know only the one name, most others only the older one.
        self._limit = "max_tokens" if base_url and base_url.rstrip("/") != BASE_URL else "max_completion_tokens"
        self._takes_schemas = True

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            self._limit: max_tokens,
        }
        if schema is None or not self._takes_schemas:
            return _completion(self.wire.post("/chat/completions", body))
        shape = {"name": schema.__name__, "strict": True, "schema": plain(schema)}
        try:
            return _completion(
                self.wire.post(
                    "/chat/completions",
                    {**body, "response_format": {"type": "json_schema", "json_schema": shape}},
                )
            )
        except LlmRefused:
            # Not every server that speaks this API knows that field. The prompt asks for the shape as well.
            completion = _completion(self.wire.post("/chat/completions", body))
            self._takes_schemas = False
            return completion


def _completion(answer: Any) -> Completion:
    try:
        text = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage") or {}
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise LlmAnswerInvalid("the language model's provider answered something else than a completion") from None
    if not isinstance(text, str):
        raise LlmAnswerInvalid("the language model said nothing")
    return completed(text, *counts)

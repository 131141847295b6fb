"""Client for Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel

from conversations.llm.base import Completion, Message, completed
from conversations.llm.schemas import provider_schema
from conversations.llm.wire import HttpModel
from somamemory.errors import LlmAnswerInvalid

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
_TOOL = "answer"
# With these values of `stop_reason`, the tool's input may be incomplete but still match the schema.
_CUT = ("max_tokens", "model_context_window_exceeded", "refusal")


class AnthropicChat(HttpModel):
    """A model that is called with POST /v1/messages.

    For structured output, the model must call a tool, and the tool's input is the output. The tool is never run.
    """

    def __init__(self, *, model: str, base_url: str, api_key: str, timeout_s: float) -> None:
        headers = {"x-api-key": api_key, "anthropic-version": VERSION}
        super().__init__(model, base_url or BASE_URL, headers, timeout_s)

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": max_tokens,
            "system": "\n\n".join(message.content for message in messages if message.role == "system"),
            "messages": [
                {"role": message.role, "content": message.content} for message in messages if message.role != "system"
            ],
        }
        if schema is not None:
            body["tools"] = [
                {"name": _TOOL, "description": "Give your answer.", "input_schema": provider_schema(schema)}
            ]
            body["tool_choice"] = {"type": "tool", "name": _TOOL}
        return _completion(self.wire.post("/v1/messages", body))


def _completion(answer: Any) -> Completion:
    try:
        blocks = answer["content"]
        used = [block["input"] for block in blocks if block["type"] == "tool_use"]
        if used:
            text = "" if answer.get("stop_reason") in _CUT else orjson.dumps(used[0]).decode()
        else:
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
        usage = answer.get("usage") or {}
        return completed(text, usage.get("input_tokens"), usage.get("output_tokens"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise LlmAnswerInvalid("the language model provider did not return a message") from None

"""The protocol of a language model, and token estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel

# A low figure: real tokenizers need fewer tokens for nearly every text, so an estimate is an upper bound.
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Completion:
    """The answer of a model. The counts are the provider's; None if it reported none."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def completed(text: str, prompt_tokens: object, completion_tokens: object) -> Completion:
    """Return a completion with the provider's counts; None for a count that is not a whole number of at least 0."""
    counts = (
        count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
        for count in (prompt_tokens, completion_tokens)
    )
    return Completion(text, *counts)


class ChatModel(Protocol):
    """Messages in, one text out. With a schema, the model is asked for JSON of that schema; the caller validates it."""

    name: str  # as shown in answers and stored summaries

    @property
    def is_answering(self) -> bool:
        """False while its breaker is open."""
        ...

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        """Raises LlmUnavailable (retry later), LlmRefused (a retry cannot help) or LlmAnswerInvalid."""
        ...


def estimated_tokens(text: str) -> int:
    """Return an upper estimate of the tokens of a text."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


def truncated(text: str, max_tokens: int) -> str:
    """Return as much of the beginning of a text as has `max_tokens` by estimate."""
    if estimated_tokens(text) <= max_tokens:
        return text
    return text.encode()[: _BYTES_PER_TOKEN * max_tokens].decode(errors="ignore")

"""What answers a question in words: one small protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel

# Of what a token is at least: real tokenizers make fewer of nearly every text, so an estimate is an upper bound.
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Completion:
    """What a model said. The counts are the provider's; None where it did not give them."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def completed(text: str, prompt_tokens: object, completion_tokens: object) -> Completion:
    """With the provider's counts, as far as they are any."""
    counts = (
        count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
        for count in (prompt_tokens, completion_tokens)
    )
    return Completion(text, *counts)


class ChatModel(Protocol):
    """Messages in, one text out; with a schema, the text is meant to be JSON of that shape, and must be checked."""

    name: str  # as answers and stored summaries show it

    @property
    def is_answering(self) -> bool:
        """False while its breaker is open."""
        ...

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        """Raises LlmUnavailable (try again later), LlmRefused (this will never do) or LlmAnswerInvalid."""
        ...


def estimated_tokens(text: str) -> int:
    """About as many tokens as a text has, rather more."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)

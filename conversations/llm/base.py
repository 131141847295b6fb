"""The protocol for language models, and token estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel

# A low estimate. For nearly every text, real tokenizers produce fewer tokens than this number implies, so the estimated
# number of tokens is an upper bound.
_BYTES_PER_TOKEN = 3
# Far more than any model reads or writes. A larger count is an error, and may not fit in the database.
_MAX_COUNT = 1_000_000_000


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Completion:
    """A model's response. The token counts come from the provider; None means that the provider reported none."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def completed(text: str, prompt_tokens: object, completion_tokens: object) -> Completion:
    """Return a completion with the provider's counts. A count that is not a plausible integer becomes None."""
    counts = (
        count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MAX_COUNT else None
        for count in (prompt_tokens, completion_tokens)
    )
    return Completion(text, *counts)


class ChatModel(Protocol):
    """A model that responds to a list of messages with text.

    If a schema is given, the model is asked for JSON that matches it. The caller must validate the response.
    """

    name: str  # as shown in responses and stored summaries

    @property
    def is_answering(self) -> bool:
        """Return whether the circuit breaker is closed."""
        ...

    def complete(
        self, messages: Sequence[Message], max_tokens: int, schema: type[BaseModel] | None = None
    ) -> Completion:
        """Return the model's response.

        Raises LlmUnavailable (retry later), LlmRefused (retrying does not help) or LlmAnswerInvalid.
        """
        ...


def estimated_tokens(text: str) -> int:
    """Return a high estimate of the number of tokens in a text."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


def truncated(text: str, max_tokens: int) -> str:
    """Return the beginning of a text, at most an estimated `max_tokens` tokens long."""
    if estimated_tokens(text) <= max_tokens:
        return text
    return text.encode()[: _BYTES_PER_TOKEN * max_tokens].decode(errors="ignore")

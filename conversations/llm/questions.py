"""Prompts for the language model: instructions from a file, data as JSON, and an answer with a known schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from conversations.llm import ledger
from conversations.llm.base import ChatModel, Completion, Message, estimated_tokens
from somamemory.errors import LlmAnswerInvalid, LlmUnavailable
from somamemory.telemetry import tracing
from tenants.caller import Caller

_PROMPTS = Path(__file__).parent / "prompts"
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True)
class Answer(Generic[Shape]):
    """A validated answer. `tokens` is the total for all prompts and answers, including any rejected answer."""

    value: Shape
    tokens: int


def ask(
    caller: Caller,
    model: ChatModel,
    prompt: str,
    data: Mapping[str, Any],
    shape: type[Shape],
    *,
    max_tokens: int = 1_000,
    **blanks: object,
) -> Answer[Shape]:
    """Prompt the model, and retry once if the answer does not match the schema.

    Must not be called inside a transaction, because a call takes seconds. Conversations are passed as one JSON
    document, so their text cannot be mistaken for the instructions outside that document. The answer is only shown or
    stored; a model cannot trigger any action.

    Raises LlmBudgetExceeded, LlmUnavailable, LlmRefused, LlmAnswerInvalid.
    """
    messages = [
        Message("system", _prompt(prompt, tuple(sorted((name, str(value)) for name, value in blanks.items())))),
        Message("user", orjson.dumps(data, option=orjson.OPT_UTC_Z).decode()),
    ]
    tokens = 0
    for last in (False, True):
        completion, counted = _complete(caller, model, prompt, messages, max_tokens, shape)
        tokens += counted
        try:
            return Answer(shape.model_validate_json(_json_of(completion.text)), tokens)
        except ValidationError:
            if last:
                break
        messages += [Message("assistant", completion.text or "-"), Message("user", _prompt("repair", ()))]
    raise LlmAnswerInvalid("the language model's answer does not match the requested schema")


def _complete(
    caller: Caller, model: ChatModel, purpose: str, messages: list[Message], max_tokens: int, shape: type[BaseModel]
) -> tuple[Completion, int]:
    estimate = sum(estimated_tokens(message.content) for message in messages)
    reserved = ledger.reserve(caller, purpose, model.name, estimate, max_tokens)
    try:
        with tracing.span("language model", purpose=purpose):
            completion = model.complete(messages, max_tokens, shape)
    except LlmUnavailable as error:
        # The provider charges for a prompt that it has read, even if its answer was not received.
        reserved.settle(estimate if error.sent or isinstance(error, LlmAnswerInvalid) else 0, 0)
        raise
    counted = (
        estimate if completion.prompt_tokens is None else completion.prompt_tokens,
        estimated_tokens(completion.text) if completion.completion_tokens is None else completion.completion_tokens,
    )
    reserved.settle(*counted)
    return completion, sum(counted)


def _json_of(text: str) -> str:
    """Return the JSON object in a text. Models often wrap it in a code block."""
    return text[text.find("{") : text.rfind("}") + 1]


@lru_cache(maxsize=64)
def _prompt(name: str, blanks: tuple[tuple[str, str], ...]) -> str:
    text = (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
    for blank, value in blanks:
        text = text.replace("{" + blank + "}", value)
    return text

"""The shapes a model may answer in. Whatever else it says is refused, and nothing it says is ever done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_SUMMARY_LENGTH = 8_000
MAX_REASON_LENGTH = 500
MAX_FACT_LENGTH = 500
MAX_NAME_LENGTH = 100

# What providers do not take in a schema; pydantic checks it afterwards.
_UNTOLD = ("title", "default", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "pattern")


def _printable(text: str) -> str:
    """No NUL, which no database holds, and no other control character but those of a text with lines."""
    if any((ord(letter) < 32 and letter not in "\n\t") or 0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise ValueError("must not hold control characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("must be one line")
    return text


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_printable)]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON_LENGTH), AfterValidator(_printable)
]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SummaryAnswer(_Answer):
    summary: Annotated[Words, Field(max_length=MAX_SUMMARY_LENGTH)]


class LabelAnswer(_Answer):
    label: Annotated[Words, Field(max_length=100), AfterValidator(_one_line)]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    reason: Reason


class LabelsAnswer(_Answer):
    labels: Annotated[list[LabelAnswer], Field(max_length=5)]


class ImportanceAnswer(_Answer):
    score: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)]
    reasoning: Reason


class EntityAnswer(_Answer):
    name: Annotated[Words, Field(max_length=MAX_NAME_LENGTH), AfterValidator(_one_line)]
    kind: Literal["person", "organization", "place", "product", "event", "other"]


class FactAnswer(_Answer):
    turn: int
    fact: Annotated[Words, Field(max_length=MAX_FACT_LENGTH)]
    entities: Annotated[list[EntityAnswer], Field(max_length=10)]


class FactsAnswer(_Answer):
    facts: Annotated[list[FactAnswer], Field(max_length=40)]


def plain(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema that providers are told: shapes and names only."""
    told: dict[str, Any] = _stripped(schema.model_json_schema())
    return told


def _stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        # A property may be called "title"; a keyword of that name holds text.
        name: {key: _stripped(item) for key, item in each.items()} if name == "properties" else _stripped(each)
        for name, each in value.items()
        if name not in _UNTOLD
    }

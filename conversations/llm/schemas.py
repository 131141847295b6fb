"""Schemas for a model's answers. Any other answer is rejected, and no answer is ever executed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_SUMMARY_LENGTH = 8_000
MAX_REASON_LENGTH = 500
MAX_FACT_LENGTH = 500
MAX_NAME_LENGTH = 100
MAX_ATTRIBUTE_LENGTH = 50

# Keywords that providers do not accept in a schema. Pydantic enforces them when it validates the answer.
_UNSUPPORTED = ("title", "default", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "pattern")


def _printable(text: str) -> str:
    """Reject NUL, which databases cannot store, and other control characters except newline and tab."""
    if any((ord(letter) < 32 and letter not in "\n\t") or 0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise ValueError("must not contain control characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("must be a single line")
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
    attribute: Annotated[Words, Field(max_length=MAX_ATTRIBUTE_LENGTH), AfterValidator(_one_line)] | None = None
    replaces: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


class FactsAnswer(_Answer):
    facts: Annotated[list[FactAnswer], Field(max_length=40)]


def provider_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema without the keywords that providers do not accept, and with all properties required."""
    stripped: dict[str, Any] = _strip(schema.model_json_schema())
    return stripped


def _strip(node: Any) -> Any:
    if isinstance(node, list):
        return [_strip(item) for item in node]
    if not isinstance(node, dict):
        return node
    required = {"required": list(node["properties"])} if "properties" in node else {}
    return {
        # Under "properties", "title" is the name of a property, not the keyword.
        keyword: {name: _strip(item) for name, item in value.items()} if keyword == "properties" else _strip(value)
        for keyword, value in node.items()
        if keyword not in _UNSUPPORTED
    } | required

"""Message content in the format of model APIs: a text, or a list of parts such as texts, images and tool results.

Parts are objects with a `type`. Most APIs call text parts `text`; OpenAI's Responses API calls them `input_text` and
`output_text`.
"""

from __future__ import annotations

from memories.payloads import Json

MAX_PARTS = 100  # parts of a message, and its tool calls
MAX_NAME_LENGTH = 255  # also of the id of a tool call

Content = str | list[dict[str, object]] | None

_TEXT_TYPES = ("text", "input_text", "output_text")


def is_text(part: Json) -> bool:
    return part.get("type") in _TEXT_TYPES


def problem(part: Json) -> str:
    """Return what is wrong with a part, or an empty text."""
    if not isinstance(part.get("type"), str):
        return 'must have a "type", such as "text"'
    if is_text(part) and not isinstance(part.get("text"), str):
        return 'must have a "text"'
    return ""


def text_of(content: Content) -> str:
    """Return the text of a message's content. The texts of parts are on separate lines."""
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if is_text(part))
    return content or ""

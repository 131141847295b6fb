"""Message content in the format used by model APIs: a string, or a list of parts such as text, images and tool results.

Parts are objects with a `type`. Most APIs call text parts `text`; OpenAI's Responses API calls them `input_text` and
`output_text`.
"""

from __future__ import annotations

from memories.payloads import Json

MAX_PARTS = 100  # maximum number of parts, and of tool calls, in a message
MAX_NAME_LENGTH = 255  # also the maximum length of a tool call's id

Content = str | list[dict[str, object]] | None

_TEXT_TYPES = ("text", "input_text", "output_text")


def is_text(part: Json) -> bool:
    return part.get("type") in _TEXT_TYPES


def problem(part: Json) -> str:
    """Return what is wrong with a part, or an empty string if the part is valid."""
    if not isinstance(part.get("type"), str):
        return 'must have a "type", such as "text"'
    if is_text(part) and not isinstance(part.get("text"), str):
        return 'must have a "text"'
    return ""


def text_of(content: Content) -> str:
    """Return the text of a message's content. The text of each part begins on a new line."""
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if is_text(part))
    return content or ""

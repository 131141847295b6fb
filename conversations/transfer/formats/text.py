"""Markdown and plain text: our own export, and transcripts.

In our own Markdown, a comment with the properties precedes each message, so that importing it restores the same
conversation. In other files, a message begins where a heading, a bold word or the beginning of a line names a speaker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from conversations.messages import NewMessage
from conversations.transfer.formats import simple
from conversations.transfer.formats.base import Imported, Unreadable, is_role, label_of, role_of
from memories.payloads import Json

MARKDOWN = "markdown"
TEXT = "text"
_MARK = "<!-- soma:"
_MARKED = re.compile(r"<!-- soma:(conversation|message) (\{.*\}) -->")
_ESCAPED = re.compile(r"^(\\*<!-- soma:)", re.MULTILINE)
_UNESCAPE = re.compile(r"^\\(\\*<!-- soma:)", re.MULTILINE)
_BEGINNING = re.compile(rf"^{_MARK}conversation ", re.MULTILINE)
_NAME = r"[A-Za-z]{2,12}"
_SPEAKERS = {
    MARKDOWN: re.compile(rf"^(?:#{{1,6}} +({_NAME}):? *$|\*\*({_NAME}):?\*\*:?[ \t]*|({_NAME}):[ \t]+)", re.MULTILINE),
    TEXT: re.compile(rf"^({_NAME}):(?:[ \t]+|$)", re.MULTILINE),
}
_TITLE = re.compile(r"\A\s*# (.+)$", re.MULTILINE)


def mark(kind: str, facts: Json) -> str:
    """Return the comment that precedes a conversation or message. Escapes `>`, because `-->` would end the comment."""
    return (
        f"<!-- soma:{kind} {orjson.dumps(facts, option=orjson.OPT_UTC_Z).decode().replace('>', chr(92) + 'u003e')} -->"
    )


def escaped(content: str) -> str:
    """Escape lines of a message that look like our comments."""
    return _ESCAPED.sub(r"\\\1", content)


def with_unix_line_endings(text: str) -> str:
    """Replace Windows line endings. In our own export, they belong to messages, unless the first line has one, too."""
    is_exported = is_ours(text) and not text.partition("\n")[0].endswith("\r")
    return text if is_exported else text.replace("\r\n", "\n")


def is_ours(text: str) -> bool:
    return text.startswith(f"{_MARK}conversation ")


def parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the conversations in our own Markdown, with their positions."""
    starts = [match.start() for match in _BEGINNING.finditer(text)]
    line = 1
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True), start=1):
        part = text[start:end]
        yield f"conversation {number} (line {line})", part
        line += part.count("\n")


def conversation(text: str, kind: str, name: str) -> Imported:
    """Return the conversation in a text file. Raises Unreadable if it is not valid.

    name: the conversation's label if the text has no title.
    """
    title = _TITLE.search(text) if kind == MARKDOWN else None
    if title and is_role(title[1].strip(": ")):
        title = None
    label, full_title = label_of(title[1] if title else name)
    messages = _messages(text[title.end() :] if title else text, _SPEAKERS[kind])
    source_id = simple.by_beginning(label, messages)
    return Imported(
        source=kind,
        source_id=source_id,
        messages=messages,
        label=label,
        metadata={"imported_from": kind, "source_id": source_id, **full_title},
    )


def _messages(text: str, speakers: re.Pattern[str]) -> list[NewMessage]:
    """Split text into messages. Text before the first speaker, or without any speaker, is attributed to the user."""
    marks = [match for match in speakers.finditer(text) if is_role(_named(match))]
    messages: list[tuple[str, str]] = []
    if before := text[: marks[0].start() if marks else len(text)].strip():
        messages.append(("user", before))
    ends = [match.start() for match in marks[1:]] + [len(text)]
    messages += [
        (role_of(_named(match)), text[match.end() : end].strip()) for match, end in zip(marks, ends, strict=bool(marks))
    ]
    return [NewMessage(role, content) for role, content in messages if content]


def _named(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def ours(text: str) -> Imported:
    """Return a conversation from our own Markdown. Raises Unreadable if it is not valid."""
    head, *messages = re.split(rf"^(?={_MARK}message )", text, flags=re.MULTILINE)
    facts, _ = _marked(head)
    return simple.ours({**facts, "messages": [_message(message) for message in messages]})


def _message(part: str) -> Json:
    facts, rest = _marked(part)
    heading, _, content = rest.partition("\n\n")
    if not heading.startswith("## ") or not content.endswith("\n\n"):
        raise Unreadable("the file ends inside a message, or a heading is missing")
    return {**facts, "content": _UNESCAPE.sub(r"\1", content[:-2])}


def _marked(part: str) -> tuple[dict[str, Any], str]:
    line, _, rest = part.partition("\n")
    match = _MARKED.fullmatch(line)
    try:
        facts = orjson.loads(match[2]) if match else None
    except orjson.JSONDecodeError:
        facts = None
    if not isinstance(facts, dict):
        raise Unreadable("its leading comment is not valid JSON")
    return facts, rest

"""Read conversations from files: ChatGPT and Claude exports, simple JSON, Markdown, text, and our own exports.

JSON is read as a stream, with one conversation in memory at a time. An invalid conversation is reported with its
position in the file, and reading continues.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, NoReturn

from conversations.transfer.formats import chatgpt, claude, simple, splitting, text
from conversations.transfer.formats.base import Broken, Imported, Unreadable, checked, dated
from conversations.transfer.formats.splitting import Element

AUTO = "auto"
SOURCES = (AUTO, chatgpt.SOURCE, claude.SOURCE, simple.SOMA, simple.SOURCE, text.MARKDOWN, text.TEXT)
MAX_TEXT_BYTES = 32 * 1024 * 1024  # Markdown and plain text are read as a whole
# Enough for 40 values in each of 50,000 messages. Python needs up to 230 bytes for an object that takes 7 bytes in
# JSON.
MAX_VALUES = 2_000_000
_ZIP = b"PK\x03\x04"
_COMPRESSION = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
)  # LZMA reserves as much memory as the file requests, up to 4 GiB
# For a damaged archive, `zipfile` also raises decompressor errors, and errors caused by invalid names and offsets.
_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError)
_SUFFIX = re.compile(r"\.(md|markdown|txt|text)$", re.IGNORECASE)
_MEMBER = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")
_HEAD_BYTES = 1 << 12
# The beginning of an object, or of a list of objects, lists or strings. A text can also begin with a bracket, such as
# "[ ] buy milk" or "[10:00] Ada: hello".
_JSON = re.compile(rb'[\xef\xbb\xbf\s]*(\{\s*["}]|\[[\s\[]*([{"]|\Z|\]\s*\Z))')
_TOO_DEEP = "it is nested too deeply"
_BLANKS = b"\xef\xbb\xbf \t\r\n"


def read(
    file: BinaryIO, source: str = AUTO, name: str = "", max_bytes: int | None = None, *, may_be_text: bool = True
) -> Iterator[Imported | Broken]:
    """Yield the conversations in a seekable file.

    name: label for a text without a title.
    max_bytes: limit for the unpacked content of a ZIP file.
    may_be_text: whether a file that does not look like JSON is Markdown or plain text, unless `source` names a format.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head.startswith(_ZIP):
        yield from _zipped(file, source, max_bytes)
        return
    if source in (text.MARKDOWN, text.TEXT) or (source == AUTO and may_be_text and not _JSON.match(head)):
        yield from _texts(file, source, name)
        return
    yield from _json(file, source)


def _zipped(file: BinaryIO, source: str, max_bytes: int | None) -> Iterator[Imported | Broken]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = sorted(name for name in archive.namelist() if _MEMBER.fullmatch(name))
            if not members:
                yield Broken("the archive", "contains no conversations.json")
            if max_bytes is not None and sum(archive.getinfo(name).file_size for name in members) > max_bytes:
                yield Broken("the archive", f"unpacks to more than {max_bytes} bytes")
                return
            if any(archive.getinfo(name).compress_type not in _COMPRESSION for name in members):
                yield Broken("the archive", "must be uncompressed or compressed with deflate, like the exports")
                return
            for member in members:
                with archive.open(member) as inner:
                    # The reader stops at the declared size, so the check above cannot be evaded.
                    yield from _json(inner, source)  # type: ignore[arg-type]
    except _DAMAGED as error:
        yield Broken("the archive", f"cannot be unpacked: {type(error).__name__}")


def _json(file: BinaryIO, source: str) -> Iterator[Imported | Broken]:
    parts = splitting.lines(file) if _is_lines(file) else splitting.elements(file)
    first = next(parts, None)
    if first is None:
        yield Broken("the file", "contains no conversations")
    elif source in (AUTO, simple.SOURCE) and _is_message(first):
        yield _read_one("the file", lambda: simple.conversation({"messages": _messages(chain([first], parts))}))
    else:
        for part in chain([first], parts):
            yield from _items(part, source)


def _is_message(part: Element | Broken) -> bool:
    try:
        return isinstance(part, Element) and simple.is_message(_parsed(part.raw))
    except Unreadable:
        return False


def _messages(parts: Iterable[Element | Broken]) -> list[Any]:
    """Return the messages in a file that contains one conversation. Raises Unreadable if one of them is not valid."""
    messages, length = [], 0
    for part in parts:
        if isinstance(part, Broken):
            raise Unreadable(f"{part.place}: {part.reason}")
        length += len(part.raw)
        if length > splitting.MAX_ELEMENT_BYTES:
            raise Unreadable(splitting.TOO_LONG)
        try:
            messages.append(_parsed(part.raw))
        except Unreadable as error:
            raise Unreadable(f"{part.place}: {error}") from None
    return messages


def _is_lines(file: BinaryIO) -> bool:
    """Return whether the first line looks like a complete object. Otherwise, objects may span several lines."""
    first = file.readline(splitting.MAX_ELEMENT_BYTES).strip(_BLANKS)
    file.seek(0)
    return first.startswith(b"{") and first.endswith(b"}")


def _items(part: Element | Broken, source: str) -> Iterator[Imported | Broken]:
    if isinstance(part, Broken):
        yield part
        return
    try:
        value = _parsed(part.raw)
    except Unreadable as error:
        yield Broken(part.place, str(error))
        return
    if isinstance(value, dict) and isinstance(value.get("conversations"), list):
        for at, item in enumerate(value["conversations"], 1):
            yield _read_one(f"{part.place}, conversation {at}", partial(_conversation, item, source))
    else:
        yield _read_one(part.place, partial(_conversation, value, source))


def _parsed(raw: bytes) -> Any:
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Unreadable(f"it contains more than {MAX_VALUES:,} commas and opening brackets")
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Unreadable("it is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not valid JSON: {error.msg} at character {error.pos}") from None
    except Unreadable:
        raise
    except ValueError:  # an integer with thousands of digits
        raise Unreadable("it contains a number outside the 64-bit range") from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None


def _no_number(name: str) -> NoReturn:
    raise Unreadable(f"it contains {name}, which is not a JSON number")


_KINDS = (
    (chatgpt.SOURCE, chatgpt.is_one, chatgpt.conversation),
    (claude.SOURCE, claude.is_one, claude.conversation),
    (simple.SOMA, lambda item: simple.is_ours(item) and simple.is_one(item), simple.ours),
    (simple.SOURCE, simple.is_one, simple.conversation),
)


def _conversation(item: Any, source: str) -> Imported:
    if isinstance(item, list):  # a list of messages
        item = {"messages": item}
    if not isinstance(item, dict):
        raise Unreadable("it is not an object")
    for name, is_one, conversation in _KINDS:
        if source in (AUTO, name) and is_one(item):
            return conversation(item)
    raise Unreadable(
        "it is not a conversation in a known format"
        if source == AUTO
        else f"it is not a conversation in the '{source}' format"
    )


def _texts(file: BinaryIO, source: str, name: str) -> Iterator[Imported | Broken]:
    raw = file.read(MAX_TEXT_BYTES + 1)
    if len(raw) > MAX_TEXT_BYTES:
        yield Broken("the file", f"is longer than {MAX_TEXT_BYTES} bytes, the limit for text files")
        return
    try:
        whole = text.with_unix_line_endings(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        yield Broken("the file", "is neither JSON nor UTF-8 text")
        return
    if not whole.strip():
        yield Broken("the file", "is empty")
    elif source != text.TEXT and text.is_ours(whole):
        for place, part in text.parts(whole):
            yield _read_one(place, partial(text.ours, part))
    else:
        kind = _kind_of_text(whole, source, name)
        yield _read_one("the file", partial(text.conversation, whole, kind, _SUFFIX.sub("", name)))


def _kind_of_text(whole: str, source: str, name: str) -> str:
    if source != AUTO:
        return source
    is_markdown = name.lower().endswith((".md", ".markdown")) or whole.lstrip().startswith(("#", "**"))
    return text.MARKDOWN if is_markdown else text.TEXT


def _read_one(place: str, read: Callable[[], Imported]) -> Imported | Broken:
    try:
        return checked(dated(read()))
    except Unreadable as error:
        return Broken(place, str(error))
    except RecursionError:
        return Broken(place, _TOO_DEEP)

"""The commands of Claude's memory tool. Files are stored as memories.

Each command returns the same text as the vendor's tool for local files, so a model sees no difference. A directory is a
memory with an empty payload, so that empty directories can exist.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from somamemory_client import PreconditionFailed
from somamemory_client.adapters._calls import Calls, call, memories, pages, slices

ROOT = "/memories"
DEPTH = 2  # levels shown in a directory listing
MAX_LINES = 999_999
WIDTH = len(str(MAX_LINES))
DIRECTORY_SIZE = "4K"  # as in most file systems
MAX_TRIES = 100  # attempts to store a change while others are changing the same file


class Refused(Exception):
    """Raised if a command cannot be executed. The message is for the model."""


class Entry(NamedTuple):
    """A file, or a directory if it has no text."""

    path: str
    text: str | None
    version: int


class Files:
    """The files in a namespace. In this class, paths are relative to ROOT, and "" is ROOT itself."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def view(self, name: str, view_range: Sequence[int] | None) -> Calls[str]:
        path = located(name)
        entries = yield from self._below(path)
        entry = entries.get(path) or (Entry("", None, 0) if not path or entries else None)
        if entry is None:
            raise Refused(f"The path {name} does not exist. Please provide a valid path.")
        if entry.text is not None:
            return _numbered(name, entry.text, view_range)
        header = f"Here're the files and directories up to 2 levels deep in {name}, excluding hidden items:"
        shown = (f"{size}\t{name}/{item}" for size, item in _listing(path, entries.values()))
        return "\n".join([header, f"{DIRECTORY_SIZE}\t{name}", *shown])

    def create(self, name: str, text: str) -> Calls[str]:
        path = located(name)
        yield from self._make_parents(path)
        if not path or not (yield from self._store(path, text)):
            raise Refused(f"File {name} already exists")
        return f"File created successfully at: {name}"

    def str_replace(self, name: str, old: str, new: str) -> Calls[str]:
        for _ in range(MAX_TRIES):
            entry = yield from self._file(name)
            text = str(entry.text)
            position = _only_position(name, text, old)
            changed = text.replace(old, new)
            if (yield from self._store(entry.path, changed, entry.version)):
                return _snippet(changed, text[:position].count("\n"))
        raise _busy(name)

    def insert(self, name: str, line: int, text: str) -> Calls[str]:
        for _ in range(MAX_TRIES):
            entry = yield from self._file(name)
            lines = str(entry.text).removesuffix("\n").split("\n") if entry.text else []
            if not 0 <= line <= len(lines):
                raise Refused(
                    f"Invalid `insert_line` parameter: {line}. It should be within the range [0, {len(lines)}]."
                )
            lines.insert(line, text.rstrip("\n"))
            changed = "\n".join(lines)
            changed = changed if changed.endswith("\n") else changed + "\n"
            if (yield from self._store(entry.path, changed, entry.version)):
                return f"The file {name} has been edited."
        raise _busy(name)

    def delete(self, name: str) -> Calls[str]:
        path = located(name)
        if not path:
            raise Refused("Cannot delete the /memories directory itself")
        entries = yield from self._below(path)
        if not entries:
            raise Refused(f"The path {name} does not exist")
        for keys in slices(list(entries)):
            yield call("memories.delete_many", namespace=self.namespace, keys=keys)
        return f"Successfully deleted {name}"

    def rename(self, name: str, new_name: str) -> Calls[str]:
        path, new = located(name), located(new_name)
        if not path:
            raise Refused("Cannot rename the /memories directory itself")
        if not new or (yield from self._below(new)):
            raise Refused(f"The destination {new_name} already exists")
        yield from self._make_parents(new)
        entries = yield from self._below(path)
        if not entries:
            raise Refused(f"The path {name} does not exist")
        if new.startswith(path + "/"):
            raise Refused(f"Cannot move {name} into itself")
        for entry in entries.values():
            yield from self._move(entry, new + entry.path.removeprefix(path))
        return f"Successfully renamed {name} to {new_name}"

    # --- Memories ------------------------------------------------------------------------------------------------

    def _below(self, path: str) -> Calls[dict[str, Entry]]:
        """Return the entries at and under a path."""
        listed = yield from pages("memories.list", namespace=self.namespace, key_prefix=path or None, limit=1000)
        entries = (_entry(memory) for memory in listed if memory["key"])
        return {entry.path: entry for entry in entries}

    def _file(self, name: str) -> Calls[Entry]:
        path = located(name)
        [memory] = (yield from memories("keys", [path], self.namespace)) if path else [None]
        if memory is None and path:
            raise Refused(f"The path {name} does not exist. Please provide a valid path.")
        if memory is None or (entry := _entry(memory)).text is None:
            raise Refused(f"The path {name} is not a file.")
        return entry

    def _store(self, path: str, text: str | None, version: int | None = None) -> Calls[bool]:
        """Store an entry if the stored one still has this version. Return whether it was stored.

        If `version` is None, store the entry only if it does not exist.
        """
        condition = {"if_none_match": "*"} if version is None else {"if_match": version}
        payload = {} if text is None else {"text": text}
        try:
            yield call("memories.store_by_key", key=path, namespace=self.namespace, payload=payload, **condition)
        except PreconditionFailed:
            return False
        return True

    def _make_parents(self, path: str) -> Calls[None]:
        parents = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        found = (yield from memories("keys", parents, self.namespace)) if parents else []
        for parent, memory in zip(parents, found, strict=True):
            if memory is None:
                yield from self._store(parent, None)
            elif _entry(memory).text is not None:
                raise Refused(f"{ROOT}/{parent} is not a directory")

    def _move(self, entry: Entry, path: str) -> Calls[None]:
        """Store an entry at another path, then delete it at its old path, so that it is never missing.

        Changes that others make to the entry in the meantime are copied, too.
        """
        if not (yield from self._store(path, entry.text)):
            raise Refused(f"The destination {ROOT}/{path} already exists")
        while True:
            try:
                yield call("memories.delete_by_key", key=entry.path, namespace=self.namespace, if_match=entry.version)
            except PreconditionFailed:
                [memory] = yield from memories("keys", [entry.path], self.namespace)
                if memory is None:
                    return
                entry = _entry(memory)
                [moved] = yield from memories("keys", [path], self.namespace)
                yield from self._store(path, entry.text, moved and moved["version"])
            else:
                return


def located(name: str) -> str:
    """Return the path of a name relative to ROOT. Raises Refused if the name is outside ROOT."""
    if not name.startswith(ROOT):
        raise Refused(f"Path must start with {ROOT}, got: {name}")
    full = posixpath.normpath(f"/base{ROOT}/{name[len(ROOT) :].lstrip('/')}")
    if full != f"/base{ROOT}" and not full.startswith(f"/base{ROOT}/"):
        raise Refused(f"Path {name} would escape {ROOT} directory")
    return full.removeprefix(f"/base{ROOT}").removeprefix("/")


def _entry(memory: Any) -> Entry:
    return Entry(memory["key"], memory["payload"].get("text"), memory["version"])


def _busy(name: str) -> Refused:
    return Refused(f"The file {name} is being changed by others. View it, and try again.")


def _listing(path: str, entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """Return the size and the name of each item. Directories precede their contents."""
    sizes: dict[tuple[str, ...], str] = {}
    for entry in entries:
        parts = tuple(entry.path.removeprefix(path).removeprefix("/").split("/")) if entry.path != path else ()
        sizes |= {(*parts[:depth], ""): DIRECTORY_SIZE for depth in range(1, min(len(parts), DEPTH + 1))}
        if 0 < len(parts) <= DEPTH:
            sizes[(*parts, "") if entry.text is None else parts] = _size(entry)
    visible = sorted(parts for parts in sizes if not any(part.startswith(".") for part in parts))
    return [(sizes[parts], "/".join(parts)) for parts in visible]


def _size(entry: Entry) -> str:
    if entry.text is None:
        return DIRECTORY_SIZE
    count = len(entry.text.encode())
    unit = min(max(count.bit_length() - 1, 0) // 10, 3)
    size = count / 1024**unit
    return f"{int(size)}{'BKMG'[unit]}" if size == int(size) else f"{size:.1f}{'BKMG'[unit]}"


def _line(number: int, text: str) -> str:
    return f"{number:>{WIDTH}}\t{text}"


def _numbered(name: str, text: str, view_range: Sequence[int] | None) -> str:
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise Refused(f"File {name} exceeds maximum line limit of 999,999 lines.")
    first, last = view_range if view_range and len(view_range) == 2 else (1, -1)
    start = max(1, first) - 1
    shown = lines[start : len(lines) if last == -1 else last]
    numbered = (_line(number, line) for number, line in enumerate(shown, start + 1))
    return f"Here's the content of {name} with line numbers:\n" + "\n".join(numbered)


def _only_position(name: str, text: str, old: str) -> int:
    positions = [at for at in range(len(text) + 1) if text.startswith(old, at)]
    if text.count(old) == 0:
        raise Refused(f"No replacement was performed, old_str `{old}` did not appear verbatim in {name}.")
    if text.count(old) > 1:
        lines = ", ".join(str(text[:at].count("\n") + 1) for at in positions)
        raise Refused(
            f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {lines}. "
            "Please ensure it is unique"
        )
    return positions[0]


def _snippet(text: str, changed: int) -> str:
    lines = text.split("\n")
    shown = range(max(0, changed - 2), min(len(lines), changed + 3))
    head = "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
    return head + "\n".join(_line(at + 1, lines[at]) for at in shown)

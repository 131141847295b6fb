"""API operations: build a request from the fields of a call."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from uuid import UUID

from ._rules import Rule, problem_with
from .errors import InvalidArgument

PREFIX = "/api/v1"
NOT_UNICODE = "must be valid UTF-8 text"
# Fields that identify objects, or contain items with their own fields. A call with one of them needs no scope.
_NAMES = frozenset(
    {
        "coord", "coords", "key", "keys", "id", "ids", "from_coord", "conversation_id", "conversation_ids", "items",
        "links",
    }
)  # fmt: skip
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its method, its path, and the location of each field.

    path, query: the fields in the path and in the query; all other fields are in the body.
    headers: the name of the header for each field that is sent in a header.
    once: whether the operation takes effect only once per Idempotency-Key.
    """

    id: str
    method: str
    template: str
    path: tuple[str, ...]
    query: tuple[str, ...]
    headers: Mapping[str, str]
    required: tuple[str, ...]
    once: bool
    rules: Mapping[str, tuple[Rule, ...]]

    @property
    def repeatable(self) -> bool:
        """Return whether the request can be sent again without further effect."""
        return self.method in ("GET", "DELETE") or self.once or self.id in READING_POSTS

    @property
    def has_body(self) -> bool:
        """Return whether the request has a JSON body, which may be an empty object."""
        return self.method not in ("GET", "DELETE") and len(self.rules) > len(self.path) + len(self.query)

    def takes(self, field: str) -> bool:
        return field in self.rules

    @property
    def names_an_object(self) -> bool:
        return bool(self.path) or any(name in self.rules for name in _NAMES)

    def check(self, fields: Mapping[str, object]) -> None:
        """Check the fields. Raises InvalidArgument if one is unknown, missing or invalid."""
        for name, value in fields.items():
            rules = self.rules.get(name)
            if rules is None:
                if name not in self.headers:
                    raise InvalidArgument(name, self._unknown(name))
            elif value is not None and (problem := problem_with(value, rules)):
                raise InvalidArgument(name, problem)
        for name in self.required:
            if fields.get(name) is None:
                raise InvalidArgument(name, f"is required by {self.id}")

    def _unknown(self, name: str) -> str:
        known = [*self.rules, *self.headers]
        similar = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {similar[0]}?" if similar else f"it takes {', '.join(known) or 'none'}"
        return f"{self.id} has no such field; {remedy}"

    def target(self, fields: Fields) -> str:
        """Return the path and the query string, and remove the fields that they contain from `fields`."""
        path = self.template
        for name in self.path:
            path = path.replace("{" + name + "}", _in_path(name, _text(fields.pop(name))))
        return target(path, {name: fields.pop(name, None) for name in self.query})

    def header_values(self, fields: Fields) -> dict[str, str]:
        """Return the headers, and remove the fields that they contain from `fields`. A version becomes an ETag."""
        found = {}
        for name, header in self.headers.items():
            if (value := fields.pop(name, None)) is not None:
                found[header] = f'"{value}"' if isinstance(value, int) else str(value)
        return found


# POST operations that only read data, so they can be retried safely.
READING_POSTS = frozenset(
    {
        "memories.search", "memories.get_many", "messages.search", "messages.search_smart", "messages.search_full_text",
        "context.assemble", "pruning.preview",
    }
)  # fmt: skip

# Operations for which the service allows more time, by default ten minutes (SOMA_LONG_REQUEST_DEADLINE_S).
LONG = frozenset(
    {
        "conversations.import", "conversations.export", "graph.export", "tenants.export", "tenants.erase",
        "namespaces.rename", "namespaces.delete", "summaries.create", "summaries.create_for_conversation",
        "labels.suggest", "labels.suggest_for_conversation", "facts.extract", "messages.rate",
    }
)  # fmt: skip


def _in_path(field: str, text: str) -> str:
    """Return a value as part of a path. Raises InvalidArgument if the request would reach another route.

    Servers decode an escaped slash before they look for a route, and proxies resolve the segments '.' and '..'.
    """
    if not {".", ".."}.isdisjoint(text.split("/")):
        raise InvalidArgument(field, "must not contain the segment '.' or '..'")
    if "/" in text and field != "key":
        raise InvalidArgument(field, "must not contain a slash")
    return quote(encodable(field, text))


def _in_query(field: str, value: object) -> str:
    try:
        text = _text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(field, f"cannot be sent: {error}") from None
    return encodable(field, text)


def target(path: str, query: Mapping[str, object]) -> str:
    """Return a path under /api/v1 with the query parameters that are not None."""
    given = {name: _in_query(name, value) for name, value in query.items() if value is not None}
    return f"{PREFIX}{path}?{urlencode(given)}" if given else PREFIX + path


def encode(value: object, field: str = "body") -> bytes:
    """Return a value as JSON. If JSON cannot represent it, raise InvalidArgument with the name of the field."""
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(value, dict) and field == "body":
            for name, part in value.items():
                encode(part, str(name))
        reason = NOT_UNICODE if isinstance(error, UnicodeEncodeError) else f"cannot be sent as JSON: {error}"
        raise InvalidArgument(field, reason) from None


def encodable(field: str, text: str) -> str:
    """Return the text if it can be encoded in UTF-8.

    Raises InvalidArgument if it contains an unpaired surrogate, which Python can create when it decodes invalid bytes.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(field, NOT_UNICODE) from None
    return text


def _plain(value: object) -> object:
    """Convert a time, an id or a collection to its JSON representation."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def instant(moment: datetime) -> str:
    """Return a time in RFC 3339 format. A time without a time zone is interpreted as local time.

    Raises ValueError for a local time that is too close to `datetime.min` or `datetime.max`.
    """
    try:
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError):
        raise ValueError(f"the time {moment.isoformat()} cannot be converted to UTC") from None


def _text(value: object) -> str:
    """Convert a value to text for a path or a query."""
    if isinstance(value, str):
        return str.__str__(value)  # `str` would return the name of an enum member
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping):
        return json.dumps(value, default=_plain)
    if isinstance(value, Sequence):
        return ",".join(_text(item) for item in value)
    return str(value)


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

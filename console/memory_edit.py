"""Edit a memory's payload, either in a form with a field per member or as JSON.

A change is a JSON merge patch, as in the API. It is rejected if the memory has changed since the page was opened. After
any error, the page shows the user's text again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, QueryDict

from api import json as strict_json
from api.memories.schemas import PatchBody
from console.validation import validated
from memories import lookup, payloads
from memories.models import Memory
from memories.payloads import Json
from memories.precondition import Precondition
from somamemory.errors import InvalidInput, MalformedRequest, PreconditionFailed, SomaError
from somamemory.json_pieces import indented
from tenants.caller import Caller

FORM, AS_JSON = MODES = ("form", "json")
MAX_FIELDS = 100  # maximum number of fields in a form; a payload with more members can be edited only as JSON
MAX_LENGTH = 200_000  # maximum number of characters, as JSON, of a payload that can be edited
_NEW = "new"  # the number of the field for adding a member


@dataclass(frozen=True)
class Member:
    """A payload member in the form. Strings are shown as text, and other values as JSON."""

    number: int
    name: str
    is_text: bool
    value: str
    removed: bool = False


@dataclass(frozen=True)
class Draft:
    """The state of the editor. `problem` says why the text was not saved."""

    mode: str
    version: int
    members: list[Member] = field(default_factory=list)
    text: str = ""
    new_name: str = ""
    new_value: str = ""
    problem: str = ""
    is_outdated: bool = False  # the memory has changed since the page was opened


def may_edit(memory: Memory) -> bool:
    return len(_indented_json(memory.payload)) <= MAX_LENGTH


def begin(request: HttpRequest, memory: Memory) -> Draft | None:
    """Return the editor if the URL's query requests it."""
    mode = request.GET.get("edit", "")
    if mode not in MODES or not may_edit(memory):
        return None
    if mode == FORM and len(memory.payload) > MAX_FIELDS:
        mode = AS_JSON
    return Draft(mode, memory.version, _members(memory.payload), _indented_json(memory.payload))


def save(request: HttpRequest, caller: Caller, memory: Memory) -> Draft | None:
    """Change the payload and return None. After an error, return the editor with the user's text and the problem."""
    post = request.POST
    mode = AS_JSON if post.get("mode") == AS_JSON else FORM
    version = _version(post.get("version", ""))
    try:
        payload = _parsed(post.get("payload", "")) if mode == AS_JSON else _from_form(post, memory.payload)
        _patch(caller, memory, payload, version)
    except PreconditionFailed:
        return _rejected(post, mode, memory, problem="", is_outdated=True)
    except SomaError as error:
        return _rejected(post, mode, memory, problem=error.detail, version=version)
    return None


def merge_patch_from(old: Json, new: Json) -> Json:
    """Return the merge patch that turns `old` into `new`. Pure function.

    Raises InvalidInput if there is no such patch, because `new` contains a new null.
    """
    patch = _patch_from(old, new)
    if _canonical_json(payloads.merge_patch(old, patch)) != _canonical_json(new):
        raise InvalidInput("payload", "cannot contain a new null; remove the member instead")
    return patch


def _patch_from(old: Json, new: Json) -> Json:
    patch: Json = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if name in old and _canonical_json(before) == _canonical_json(value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = _patch_from(before, value)
        else:
            patch[name] = value
    return patch


def _canonical_json(value: Any) -> str:
    """Return a value as JSON, for comparisons: in Python, `False` equals `0`, even inside lists and objects."""
    return json.dumps(value, sort_keys=True)


def _patch(caller: Caller, memory: Memory, payload: Json, version: int) -> None:
    condition = Precondition(version=version)
    condition.check(memory)  # the patch is computed from this version
    patch = merge_patch_from(memory.payload, payload)
    if patch:
        changes = validated(PatchBody, {"payload": patch}).model_dump(include={"payload"})
        lookup.patch(caller, memory.namespace, memory.id, changes, condition)


def _parsed(text: str) -> Json:
    try:
        value = strict_json.parse(text.encode("utf-8", "surrogatepass"))
    except MalformedRequest as error:
        raise InvalidInput("payload", error.detail.removeprefix("the body ")) from None
    if not isinstance(value, dict):
        raise InvalidInput("payload", 'must be a JSON object, such as {"text": "…"}')
    return value


def _from_form(post: QueryDict, old: Json) -> Json:
    payload: Json = {}
    for member in _submitted(post):
        if not member.removed:
            payload[member.name] = _value_of(member, old.get(member.name))
    name = post.get(f"name-{_NEW}", "").strip()
    if name:
        if name in payload:
            raise InvalidInput(name, "is already a member of the payload; change its value, or choose another name")
        payload[name] = _normalized(post.get(f"value-{_NEW}", ""))
    elif post.get(f"value-{_NEW}", ""):
        raise InvalidInput("name", "is required for a new member")
    return payload


def _value_of(member: Member, before: Any) -> Any:
    if member.is_text:
        # A browser sends every line break as CR LF.
        return before if isinstance(before, str) and _normalized(before) == member.value else member.value
    wrapped = f"[{member.value}\n]"  # the parser expects an object or a list
    try:
        (value,) = strict_json.parse(wrapped.encode("utf-8", "surrogatepass"))
    except (SomaError, ValueError):
        raise InvalidInput(member.name, 'must be JSON, such as 3, true, ["a"] or "text"') from None
    return value


def _submitted(post: QueryDict) -> list[Member]:
    return [
        Member(
            number,
            post.get(f"name-{number}", ""),
            post.get(f"kind-{number}") != AS_JSON,
            _normalized(post.get(f"value-{number}", "")),
            f"remove-{number}" in post,
        )
        for number in range(MAX_FIELDS)
        if f"name-{number}" in post
    ]


def _rejected(
    post: QueryDict, mode: str, memory: Memory, *, problem: str, version: int | None = None, is_outdated: bool = False
) -> Draft:
    return Draft(
        mode,
        memory.version if version is None else version,
        _submitted(post),
        _normalized(post.get("payload", "")),
        post.get(f"name-{_NEW}", ""),
        _normalized(post.get(f"value-{_NEW}", "")),
        problem,
        is_outdated,
    )


def _members(payload: Json) -> list[Member]:
    return [
        Member(
            number,
            name,
            isinstance(value, str),
            _normalized(value) if isinstance(value, str) else _indented_json(value),
        )
        for number, (name, value) in enumerate(payload.items())
    ]


def _version(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _normalized(text: str) -> str:
    return text.replace("\r\n", "\n")


def _indented_json(value: Any) -> str:
    """Return a value as indented JSON, or only the beginning if the JSON is longer than MAX_LENGTH."""
    return indented(value, MAX_LENGTH + 1, sort_keys=True)

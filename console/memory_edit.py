"""Edit the payload of a memory, as a form with a field for each member, or as JSON.

A change is the same merge patch that the API takes, on the condition that nobody has changed the memory since the page
was opened. If that or anything else fails, the page shows the user's text again.
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
from tenants.caller import Caller

FORM, AS_JSON = MODES = ("form", "json")
MAX_FIELDS = 100  # of a form; a payload with more can be edited as JSON
MAX_LENGTH = 200_000  # characters of a payload as JSON
_NEW = "new"  # the number of the field that adds a member


@dataclass(frozen=True)
class Member:
    """A member of the payload in the form. Text is shown as it is, and everything else as JSON."""

    number: int
    name: str
    is_text: bool
    value: str
    removed: bool = False


@dataclass(frozen=True)
class Draft:
    """What the editor shows. `problem` says why the last attempt was not saved."""

    mode: str
    version: int
    members: list[Member] = field(default_factory=list)
    text: str = ""
    new_name: str = ""
    new_value: str = ""
    problem: str = ""
    is_outdated: bool = False  # somebody else has changed the memory


def may_edit(memory: Memory) -> bool:
    return len(_dumped(memory.payload)) <= MAX_LENGTH


def begin(request: HttpRequest, memory: Memory) -> Draft | None:
    """Return the editor that the address of the page asks for."""
    mode = request.GET.get("edit", "")
    if mode not in MODES or not may_edit(memory):
        return None
    if mode == FORM and len(memory.payload) > MAX_FIELDS:
        mode = AS_JSON
    return Draft(mode, memory.version, _members(memory.payload), _dumped(memory.payload))


def save(request: HttpRequest, caller: Caller, memory: Memory) -> Draft | None:
    """Change the payload, and return None; or return the editor with the user's text and the problem."""
    post = request.POST
    mode = AS_JSON if post.get("mode") == AS_JSON else FORM
    version = _version(post.get("version", ""))
    try:
        payload = _parsed(post.get("payload", "")) if mode == AS_JSON else _from_form(post, memory.payload)
        _patch(caller, memory, payload, version)
    except PreconditionFailed:
        return _again(post, mode, memory, problem="", is_outdated=True)
    except SomaError as error:
        return _again(post, mode, memory, problem=error.detail, version=version)
    return None


def merge_patch_from(old: Json, new: Json) -> Json:
    """Return the merge patch that turns `old` into `new`. Pure function. Raises InvalidInput if there is none."""
    patch = _patch_from(old, new)
    if _written(payloads.merge_patch(old, patch)) != _written(new):
        raise InvalidInput(
            "payload", "can only be set to null here where it is null already; remove the member instead"
        )
    return patch


def _patch_from(old: Json, new: Json) -> Json:
    patch: Json = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if name in old and _written(before) == _written(value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = _patch_from(before, value)
        else:
            patch[name] = value
    return patch


def _written(value: Any) -> str:
    """Return a value as JSON. Python considers `False` and `0` equal, even within lists and objects."""
    return json.dumps(value, sort_keys=True)


def _patch(caller: Caller, memory: Memory, payload: Json, version: int) -> None:
    condition = Precondition(version=version)
    condition.check(memory)  # the patch is only right for the version that the user has seen
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
        payload[name] = _lines(post.get(f"value-{_NEW}", ""))
    elif post.get(f"value-{_NEW}", ""):
        raise InvalidInput("name", "of the new member is missing")
    return payload


def _value_of(member: Member, before: Any) -> Any:
    if member.is_text:
        # A browser sends every line break as CR LF.
        return before if isinstance(before, str) and _lines(before) == member.value else member.value
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
            _lines(post.get(f"value-{number}", "")),
            f"remove-{number}" in post,
        )
        for number in range(MAX_FIELDS)
        if f"name-{number}" in post
    ]


def _again(
    post: QueryDict, mode: str, memory: Memory, *, problem: str, version: int | None = None, is_outdated: bool = False
) -> Draft:
    return Draft(
        mode,
        memory.version if version is None else version,
        _submitted(post),
        _lines(post.get("payload", "")),
        post.get(f"name-{_NEW}", ""),
        _lines(post.get(f"value-{_NEW}", "")),
        problem,
        is_outdated,
    )


def _members(payload: Json) -> list[Member]:
    return [
        Member(number, name, isinstance(value, str), _lines(value) if isinstance(value, str) else _dumped(value))
        for number, (name, value) in enumerate(payload.items())
    ]


def _version(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)

"""Generate the reference page for the Python client from its classes. `make reference` runs this script."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "clients" / "python" / "src"
INTRODUCTION = """\
# Python client

`somamemory_client` provides the `Client` and `AsyncClient` classes, which have the same methods. The methods of
`AsyncClient` are coroutines, except those that return `Pages`. [Use the Python client](../how-to/python.md) shows how
to use both classes. The response types in `somamemory_client.types`, such as `MemoryOut`, are dictionaries
(`TypedDict`). The [REST API reference](rest-api.md) describes their fields.

A method that lists objects returns a `Pages` object. Iterate over the object to get the items of all pages, or over its
`pages()` to get one list per page. `first_page()` returns only the first list. A search returns a `Results` object: a
sequence of hits with the attributes `degraded`, `next_offset` and `body` (the whole response).
"""
TRANSPORTS = """\
## Transports

A client sends its requests with a transport: an object with `send(request, timeout_s)`, which returns a `Response`, and
`close()`. For `AsyncClient`, both methods are coroutines. `send` raises `ConnectionFailed` if nothing was sent, and
`ConnectionLost` or `ResponseTimeout` if the request may have taken effect, so that the client knows which requests it
may retry.
"""
RESOURCES = ("memories", "conversations", "context", "graph", "namespaces", "proposals", "admin")


def page() -> str:
    sys.path.insert(0, str(SOURCE))
    import somamemory_client
    from somamemory_client import Client, errors, hooks
    from somamemory_client._api_errors import BY_CODE

    client = Client()
    parts = [INTRODUCTION, *section("Client", Client, constructor=True)]
    for name in RESOURCES:
        parts += resource(f"client.{name}", getattr(client, name))
    ours = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SomaError)]
    rows = [f"| `{kind.__name__}` | {first(kind)} |" for kind in (*ours, somamemory_client.BulkStopped)]
    by_code = sorted({(kind.__name__, first(kind)) for kind in BY_CODE.values()})
    parts += ["## Errors", table("class", "meaning", rows)]
    parts += [table("class", "error code", [f"| `{name}` | {text} |" for name, text in by_code])]
    parts += ["## Hooks", str(inspect.getdoc(hooks.Hook))]
    parts += [
        table(
            "hook", "purpose", [f"| `{kind.__name__}` | {first(kind)} |" for kind in (hooks.LogHook, hooks.TraceHook)]
        )
    ]
    parts += [table("method", "called", list(methods(hooks.Hook))), TRANSPORTS]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def resource(title: str, instance: object) -> Iterator[str]:
    yield from section(title, type(instance))
    for name, value in vars(instance).items():
        if not name.startswith("_"):
            yield from resource(f"{title}.{name}", value)


def section(title: str, kind: type[Any], *, constructor: bool = False) -> Iterator[str]:
    yield f"## {title}" if constructor else f"## `{title}`"
    if constructor:
        yield f"`Client{parameters(kind.__init__)}`"
        yield re.sub(r"^(\w+): ", r"- `\1`: ", inspect.getdoc(kind.__init__) or "", flags=re.MULTILINE)
    else:
        yield inspect.getdoc(kind) or ""
    rows = list(methods(kind))
    if rows:
        yield table("method", "purpose", rows)


def methods(kind: type[Any]) -> Iterator[str]:
    for name, value in inspect.getmembers(kind, callable):
        if not name.startswith("_"):
            yield f"| `{name}{parameters(value)}` | {first(value)}{options(value)} |"


def parameters(function: Any) -> str:
    """Return a method's parameters and result type, without `self` and without the names of the options."""
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            shown.append(parameter.name)
        else:
            shown.append(f"{parameter.name}={parameter.default!r}")
    result = str(inspect.signature(function).return_annotation).replace("types.", "")
    return f"({', '.join(shown)})" + (f" -> {result}" if result not in ("None", "Any") else "")


def options(function: Any) -> str:
    """Return a sentence with the names of a method's options, or an empty string if it takes none."""
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if match := re.fullmatch(r"Unpack\[types\.(\w+)\]", str(annotation)):
            from somamemory_client import types

            fields = typing.get_type_hints(getattr(types, match[1]))
            return f" `{name}`: " + (", ".join(f"`{field}`" for field in fields) or "none") + "."
    return ""


def first(value: Any) -> str:
    """Return the first paragraph of a docstring. Raises ValueError if there is none."""
    text = inspect.getdoc(value)
    if not text:
        raise ValueError(f"{value.__qualname__} needs a docstring")
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def table(left: str, right: str, rows: list[str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *rows])

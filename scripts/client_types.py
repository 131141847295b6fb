"""Generate the Python client's typed contract from the OpenAPI document and the error classes.

`make reference` runs this script when it generates the reference pages. tests/contract/test_reference.py fails if a
file is out of date. Each schema becomes a TypedDict, each operation an entry in `OPERATIONS`, and each error code a
class.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "clients" / "python" / "src" / "somamemory_client"
HEAD = '"""{title} Written by scripts/client_types.py. Do not edit: run `make reference`."""\n\n'
TYPES_IMPORTS = (
    "from __future__ import annotations\n\nfrom collections.abc import Mapping, Sequence\n"
    "from datetime import datetime\nfrom typing import Any, Literal, NotRequired, TypedDict\n\n"
)
COMMON_HEADERS = ("X-Tenant", "traceparent", "Idempotency-Key")
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
# Fields that determine the form of the response. Callers cannot set them, because the client's methods do.
DECIDED = {"context.assemble": ("format", "manifest")}
ITEMS = ("StoreBody", "NamedLinkBody")  # the items of bulk requests; their bodies do not refer to these schemas
LIMITS = ("enum", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems", "pattern")

Schema = Mapping[str, Any]


# --- types


class Types:
    """Translates schemas to annotations. A value in a request (`sent`) accepts more types than one in a response."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self.components = components
        self.used: dict[tuple[str, bool], None] = {}

    def annotation(self, schema: Schema, *, sent: bool) -> str:
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            self.used.setdefault((name, sent))
            return str(name)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                parts = [self.annotation(part, sent=sent) for part in schema[several]]
                return " | ".join(dict.fromkeys(parts))
        if "enum" in schema:
            return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
        return self.simple(schema, sent=sent)

    def simple(self, schema: Schema, *, sent: bool) -> str:
        kind = schema.get("type")
        if kind == "array":
            return f"{'Sequence' if sent else 'list'}[{self.annotation(schema.get('items', {}), sent=sent)}]"
        if kind == "object":
            values = schema.get("additionalProperties")
            text = self.annotation(values, sent=sent) if isinstance(values, dict) and values else "Any"
            return f"{'Mapping' if sent else 'dict'}[str, {text}]"
        if kind == "string" and sent:
            return {"date-time": "str | datetime", "coordinate": "str | Sequence[float]"}.get(
                schema.get("format"), "str"
            )
        return SIMPLE.get(str(kind), "Any")

    def component(self, name: str, *, sent: bool) -> str:
        schema = self.components[name]
        if "properties" not in schema:
            return f"{name} = {self.annotation(schema, sent=sent)}\n"
        required = set(schema.get("required", ()))
        return typed_dict(name, schema["properties"].items(), required, self, sent=sent, text=schema.get("description"))

    def components_used(self) -> Iterator[str]:
        written: dict[str, None] = {}
        position = 0
        while position < len(self.used):  # `used` grows when a component refers to others
            name, sent = list(self.used)[position]
            position += 1
            if name not in written:
                written[name] = None
                yield self.component(name, sent=sent)


def typed_dict(
    name: str, fields: Iterable[tuple[str, Schema]], required: set[str], types: Types, *, sent: bool, text: str | None
) -> str:
    kinds = {field: types.annotation(schema, sent=sent) for field, schema in fields}
    kinds = {field: kind if field in required else f"NotRequired[{kind}]" for field, kind in kinds.items()}
    if any(iskeyword(field) for field in kinds):  # a class cannot declare a field such as `from`
        return f"{name} = TypedDict({name!r}, {kinds!r})\n"
    lines = [f"class {name}(TypedDict):", docstring(text or about(name)), ""]
    return "\n".join([*lines, *(f"    {field}: {kind}" for field, kind in kinds.items())]) + "\n"


def about(name: str) -> str:
    return f"The `{name}` object."


def docstring(text: str) -> str:
    """Return the first paragraph of a text, formatted as a class docstring."""
    lines = textwrap.wrap(text.strip().split("\n\n")[0].replace("\\", "\\\\"), 108)
    end = '"""' if len(lines) == 1 else '\n    """'
    return '    """' + "\n    ".join(lines) + end


# --- operations


class Operation:
    """An operation in the OpenAPI document, with the fields that a call can send."""

    def __init__(self, method: str, path: str, operation: Schema, components: Mapping[str, Schema]) -> None:
        self.id: str = operation["operationId"]
        self.method, self.path = method.upper(), path
        self.parameters = [item for item in operation.get("parameters", ()) if item["name"] not in COMMON_HEADERS]
        self.once = any(item["name"] == "Idempotency-Key" for item in operation.get("parameters", ()))
        self.body = body_of(operation, components)

    def named(self, place: str) -> dict[str, Schema]:
        return {item["name"]: item["schema"] for item in self.parameters if item["in"] == place}

    def fields(self) -> dict[str, Schema]:
        return {**self.named("path"), **self.named("query"), **self.body.get("properties", {})}

    def required(self) -> list[str]:
        parameters = [item["name"] for item in self.parameters if item.get("required") and item["in"] != "header"]
        return [*parameters, *self.body.get("required", ())]

    def options(self, types: Types) -> str:
        """Return the TypedDict for the optional fields. The client's methods take the required fields as parameters."""
        left_out = {*self.required(), *self.named("path"), *DECIDED.get(self.id, ())}
        fields = {name: schema for name, schema in self.fields().items() if name not in left_out}
        if self.method != "GET":  # conditional GETs are not supported, because a method must return a value, not a 304
            fields |= {header_field(name): HEADER for name in self.named("header")}
        name = options_name(self.id)
        return typed_dict(name, fields.items(), set(), types, sent=True, text=f"Optional parameters of `{self.id}`.")

    def row(self) -> str:
        rules = {name: rule(schema) for name, schema in self.fields().items()}
        headers = {header_field(name): name for name in self.named("header")}
        places = ", ".join(f"{place}={tuple(self.named(place))!r}" for place in ("path", "query"))
        return (
            f"{self.id!r}: Operation({self.id!r}, {self.method!r}, {self.path!r}, {places}, headers={headers!r}, "
            f"required={tuple(self.required())!r}, once={self.once}, rules={rules!r}),"
        )


HEADER: Schema = {"anyOf": [{"type": "string"}, {"type": "integer"}]}


def header_field(name: str) -> str:
    return name.lower().replace("-", "_")


def options_name(operation_id: str) -> str:
    return "".join(word.title() for word in re.split(r"[._]", operation_id)) + "Options"


def body_of(operation: Schema, components: Mapping[str, Schema]) -> Schema:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for part in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in part:
            return components[part["$ref"].rsplit("/", 1)[1]]
    return {}


def rule(schema: Schema) -> tuple[dict[str, Any], ...]:
    """Return the rule for checking a value before it is sent: the alternatives, with their types and limits."""
    parts = [part for several in ("anyOf", "oneOf", "allOf") for part in schema.get(several, ())]
    if parts:
        return tuple(choice for part in parts for choice in rule(part))
    if "$ref" in schema or "type" not in schema:
        return ({"type": "object"} if "$ref" in schema else {},)
    limits = {name: schema[name] for name in LIMITS if name in schema}
    if schema.get("format") in ("date-time", "coordinate"):
        limits = {"format": schema["format"]}
    return ({"type": schema["type"], **limits},)


# --- files


def types_text(contract: Schema, operations: list[Operation]) -> str:
    types = Types(contract["components"]["schemas"])
    options = [operation.options(types) for operation in operations]
    types.used.update(dict.fromkeys((name, True) for name in ITEMS))
    for methods in contract["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if str(status).startswith("2"):
                    for content in response.get("content", {}).values():
                        types.annotation(content.get("schema", {}), sent=False)
    return (
        HEAD.format(title="Request and response types.")
        + TYPES_IMPORTS
        + "\n".join([*types.components_used(), *options])
    )


def contract_text(operations: list[Operation], version: str) -> str:
    rows = "\n    ".join(operation.row() for operation in operations)
    return (
        HEAD.format(title="The operations of the API.")
        + "from __future__ import annotations\n\nfrom ._operation import Operation\n\n"
        + f"VERSION = {version!r}\nOPERATIONS: dict[str, Operation] = {{\n    {rows}\n}}\n"
    )


def errors_text(classes: Mapping[str, list[type[Any]]]) -> str:
    """Return the source code of one class per error code, with the same names and bases as in the service."""
    ours = {kind for kinds in classes.values() for kind in kinds}
    written: dict[str, str] = {}

    def write(kind: type[Any]) -> str:
        base = write(kind.__base__) if kind.__base__ in ours and kind.__base__.__name__ != "SomaError" else "ApiError"
        name = "ServerError" if kind.__name__ == "SomaError" else kind.__name__
        written.setdefault(name, f'class {name}({base}):\n    """{kind.status} `{kind.code}`: {kind.title}."""\n')
        return name

    rows = [f"({code!r}, {kind.status}): {write(kind)}," for code, kinds in classes.items() for kind in kinds]
    return (
        HEAD.format(title="An error class for each code.")
        + "from __future__ import annotations\n\nfrom .errors import ApiError\n\n\n"
        + "\n\n".join(written.values())
        + f"\n\n__all__ = {sorted(written)!r}\n"
        + "\nBY_CODE: dict[tuple[str, int], type[ApiError]] = {\n    "
        + "\n    ".join(rows)
        + "\n}\n"
    )


def files(contract: Schema, error_classes: Mapping[str, list[type[Any]]]) -> dict[Path, str]:
    """Return the text of each generated file, before formatting.

    contract: the OpenAPI document, whose paths have no prefix.
    """
    components = contract["components"]["schemas"]
    operations = [
        Operation(method, "/" + path.lstrip("/"), operation, components)
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    ]
    return {
        FOLDER / "types.py": types_text(contract, operations),
        FOLDER / "_contract.py": contract_text(operations, contract["info"]["version"]),
        FOLDER / "_api_errors.py": errors_text(error_classes),
    }


def formatted(texts: Mapping[Path, str]) -> dict[Path, str]:
    """Return the files formatted as `make lint` requires, with sorted imports and wrapped lines."""
    root = FOLDER.parent.parent.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        copies = {path: Path(folder) / path.relative_to(root) for path in texts}
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(texts[path], encoding="utf-8")
        for arguments in (["check", "--select", "I", "--fix"], ["format"]):
            command = [
                sys.executable,
                "-m",
                "ruff",
                *arguments,
                "--quiet",
                "--config",
                str(root / "pyproject.toml"),
                ".",
            ]
            subprocess.run(command, cwd=folder, check=True)  # noqa: S603
        return {path: copy.read_text(encoding="utf-8") for path, copy in copies.items()}

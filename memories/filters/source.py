"""Conditions on a memory's source (`source`), or on one of the source's fields, such as `source.kind`."""

from __future__ import annotations

import json
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, Q, TextField
from django.db.models.lookups import In, IsNull
from django.db.models.sql.compiler import SQLCompiler

from memories.filters.grammar import Leaf


def condition(leaf: Leaf) -> Q:
    """Return the condition for a leaf on the source. Only strings are compared; other types never match."""
    path = leaf.column.split(".")[1:]
    if leaf.operator == "exists":
        return Q(IsNull(_Value(path, text=False), not leaf.operand))
    text = _Value(path, text=True)
    # Without the first condition, the result would be unknown instead of false for a source without this text.
    return Q(IsNull(text, False)) & Q(In(text, leaf.operand))


class _Value(Func):
    """The string at a path in the source or, if `text` is False, the type of the value there. NULL if there is none."""

    output_field = TextField()

    def __init__(self, path: list[str], *, text: bool) -> None:
        super().__init__(F("source"))
        self.path, self.text = path, text

    def as_sqlite(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, list[Any]]:
        source, parameters = compiler.compile(self.source_expressions[0])
        # Keys are escaped as in stored JSON, because SQLite before 3.45 compares them exactly as they are written.
        path = "$" + "".join(f".{json.dumps(segment)}" for segment in self.path)
        kind = f"json_type({source}, %s)"
        if not self.text:
            return kind, [*parameters, path]
        return f"CASE {kind} WHEN 'text' THEN json_extract({source}, %s) END", [*parameters, path, *parameters, path]

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, list[Any]]:
        source, parameters = compiler.compile(self.source_expressions[0])
        # The operand of each arrow is text, so "0" is a key. In the path array of `#>`, it would also match a list
        # position.
        value = f"({source}{' -> %s::text' * len(self.path)})"
        kind = f"jsonb_typeof({value})"
        if not self.text:
            return kind, [*parameters, *self.path]
        text = f"CASE {kind} WHEN 'string' THEN {value} #>> '{{}}' END"
        return text, [*parameters, *self.path, *parameters, *self.path]

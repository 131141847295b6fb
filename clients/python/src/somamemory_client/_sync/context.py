# Written by scripts/client_sync.py from _async/context.py. Do not edit: run `make reference`.
"""Context for a prompt."""

from __future__ import annotations

from typing import Literal, Unpack

from somamemory_client import types
from somamemory_client._sync.caller import Caller


class Context:
    """Assemble the context for a prompt."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def assemble(self, query: str, /, **options: Unpack[types.ContextAssembleOptions]) -> list[types.ContextMessageOut]:
        """Return the most useful messages that fit in `context_budget` tokens, best first."""
        fields = {**options, "query": query}
        return self._caller.fetch(list[types.ContextMessageOut], "context.assemble", fields)

    def prompt(
        self,
        query: str,
        /,
        format: Literal["text", "messages"] = "text",
        **options: Unpack[types.ContextAssembleOptions],
    ) -> types.ContextPromptOut:
        """Return the context as a single string or as messages for a model's API, with citations."""
        fields = {**options, "query": query, "format": format}
        return self._caller.fetch(types.ContextPromptOut, "context.assemble", fields)

    def manifest(self, query: str, /, **options: Unpack[types.ContextAssembleOptions]) -> types.ManifestOut:
        """Return the context, with the reason for including or leaving out each candidate."""
        fields = {**options, "query": query, "manifest": True}
        return self._caller.fetch(types.ManifestOut, "context.assemble", fields)

"""Parse the `filters` query parameter, which is JSON text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api import json
from memories import filters
from memories.filters import Filter
from somamemory.errors import InvalidInput, MalformedRequest

FilterText = Annotated[str, Field(max_length=65_536)]


def parse(text: str | None) -> Filter | None:
    """Return the filter, or None if there is no text. Raises InvalidInput with the name of the invalid field."""
    return None if text is None else filters.parse(_document(text))


def _document(text: str) -> object:
    try:
        return json.parse(text.encode("utf-8", "surrogatepass"))
    except MalformedRequest as error:
        raise InvalidInput("filters", error.detail.removeprefix("the body ")) from None
    except InvalidInput as error:
        fields = {f"filters.{name}".removesuffix(".body"): message for name, message in error.fields.items()}
        raise InvalidInput(*fields.popitem(), **fields) from None

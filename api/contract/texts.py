"""Descriptions of parameters and fields."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_TEXTS = tomllib.loads((Path(__file__).parent / "texts.toml").read_text(encoding="utf-8"))
_FIELDS: dict[str, str] = _TEXTS["fields"]
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def meaning(owner: str, name: str) -> str:
    """Return the description of an object's field or a route's parameter, or an empty string if there is none."""
    return _FIELDS.get(f"{owner}.{name}", _FIELDS.get(name, ""))


def plain(text: str) -> str:
    """Return the text with its documentation links reduced to their labels."""
    return _LINK.sub(r"\1", text)

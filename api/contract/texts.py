"""What each parameter and field means."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_TEXTS = tomllib.loads((Path(__file__).parent / "texts.toml").read_text(encoding="utf-8"))
_FIELDS: dict[str, str] = _TEXTS["fields"]
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def meaning(owner: str, name: str) -> str:
    """Return the meaning of a field of an object, or of a parameter of a route. Empty if it is not known."""
    return _FIELDS.get(f"{owner}.{name}", _FIELDS.get(name, ""))


def plain(text: str) -> str:
    """Return a text without its links, which lead to pages of the documentation."""
    return _LINK.sub(r"\1", text)

"""Prepared statements, where a plan may be kept. The only file that knows psycopg."""

from __future__ import annotations

import re
from typing import Any, Self

from django.db.backends.postgresql.base import ServerBindingCursor

# Full text and JSON: how many rows such a condition leaves depends on its value, which a kept plan does not see.
# PostgreSQL then guesses too low, and a search takes 38 ms instead of 9.
_DEPENDS_ON_ITS_VALUES = re.compile(r"@@|@>|::jsonb")


class Cursor(ServerBindingCursor):
    """Each connection prepares the statements that it repeats, but none whose best plan depends on a value."""

    def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None, **more: Any) -> Self:
        if prepare is None and isinstance(query, str) and _DEPENDS_ON_ITS_VALUES.search(query):
            prepare = False
        super().execute(query, params, prepare=prepare, **more)  # type: ignore[misc]  # the stubs lack psycopg
        return self

"""Prepared statements, where a plan can be reused. The only file that imports psycopg."""

from __future__ import annotations

import re
from typing import Any, Self

from django.db.backends.postgresql.base import ServerBindingCursor

# Full text and JSON: the number of matching rows depends on the value, which a reused plan does not see. PostgreSQL
# then underestimates it, and a search takes 38 ms instead of 9 ms.
_DEPENDS_ON_ITS_VALUES = re.compile(r"@@|@>|::jsonb")


class Cursor(ServerBindingCursor):
    """Prepares repeated statements on each connection, except those whose best plan depends on a value."""

    def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None, **more: Any) -> Self:
        if prepare is None and isinstance(query, str) and _DEPENDS_ON_ITS_VALUES.search(query):
            prepare = False
        super().execute(query, params, prepare=prepare, **more)  # type: ignore[misc]  # the stubs lack psycopg
        return self

"""Case folding, the same in Python and in both databases."""

from __future__ import annotations

import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper

FINAL_SIGMA, SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"


def fold(text: str) -> str:
    """Fold the case. A final sigma is a sigma, so that the parts of a word fold like the word."""
    return text.lower().replace(FINAL_SIGMA, SIGMA)


def register_functions(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Add `soma_fold` to a new SQLite connection, whose own `lower` knows ASCII only.

    Connected to the `connection_created` signal in memories/apps.py.
    """
    if isinstance(connection.connection, sqlite3.Connection):
        connection.connection.create_function("soma_fold", 1, fold, deterministic=True)

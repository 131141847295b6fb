"""Case folding that gives the same result in Python and in both databases."""

from __future__ import annotations

import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper

FINAL_SIGMA, SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"


def fold(text: str) -> str:
    """Fold the case.

    A final sigma becomes a normal sigma, so that a part of a word folds the same way as the whole word.
    """
    return text.lower().replace(FINAL_SIGMA, SIGMA)


def register_functions(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Add the function `soma_fold` to a new SQLite connection, because SQLite's `lower` supports only ASCII.

    Connected to the `connection_created` signal in memories/apps.py.
    """
    if isinstance(connection.connection, sqlite3.Connection):
        connection.connection.create_function("soma_fold", 1, fold, deterministic=True)

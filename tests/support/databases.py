"""Separate databases for servers started by a test."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings

from somamemory.db.databases import drop
from testing import template


@contextmanager
def own_database() -> Iterator[str]:
    """Create a database on the engine under test, yield its URL ("" for SQLite), and drop it afterwards.

    It is a copy of the template, if the tests have one.
    """
    if not settings.DATABASE_URL.startswith("postgres"):
        yield ""
        return
    name = f"soma_own_{os.getpid()}_{random.randrange(10**9)}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{template.copy_clause(settings.DATABASE_URL)}")
        try:
            yield urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))
        finally:
            drop(connection.execute, name)

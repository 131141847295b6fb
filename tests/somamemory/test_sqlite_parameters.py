"""Cached statements of SQLite connections do not keep large parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from somamemory.db.sqlite.base import LARGE, DatabaseWrapper

pytestmark = pytest.mark.django_db


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DatabaseWrapper]:
    settings: dict[str, Any] = {
        "NAME": str(tmp_path / "database"),
        "OPTIONS": {},
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": False,
    }
    wrapper = DatabaseWrapper({**settings, "AUTOCOMMIT": True, "TIME_ZONE": None, "TEST": {}}, "large")
    yield wrapper
    wrapper.close()


@pytest.mark.parametrize(
    ("params", "is_closed"),
    [(["a" * (LARGE + 1)], True), ([b"a" * LARGE, "a"], True), (["a" * LARGE, 1, None], False), ([], False)],
)
def test_a_connection_with_large_parameters_is_closed_after_the_request(
    database: DatabaseWrapper, params: list[Any], is_closed: bool
) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT 1 " + "".join(", %s" for _ in params), params)

    database.close_if_unusable_or_obsolete()

    assert (database.connection is None) is is_closed

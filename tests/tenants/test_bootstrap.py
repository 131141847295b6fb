"""The first key of an installation."""

from __future__ import annotations

import errno
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from somamemory.db import databases
from tenants import bootstrap
from tenants.models import ApiKey, Tenant


@pytest.fixture
def folder(db: None, settings: Any, tmp_path: Path) -> Path:
    """The data folder of an installation without a key."""
    Tenant.objects.get_or_create(slug="default")
    ApiKey.objects.all().delete()
    settings.DATA_DIR, settings.BOOTSTRAP_KEY = tmp_path, ""
    return tmp_path


def test_the_first_key_is_created_once(folder: Path) -> None:
    assert bootstrap.ensure()
    assert not bootstrap.ensure()
    assert ApiKey.objects.count() == 1
    assert (folder / "first-key").read_text().startswith("soma_")


def test_no_key_is_created_if_its_secret_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(secret: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            bootstrap.ensure()
    assert not ApiKey.objects.exists()
    assert bootstrap.ensure()


def test_a_postgresql_without_icu_is_reported(
    folder: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "lacks_icu", lambda connection: True)

    call_command("bootstrap", stdout=StringIO(), stderr=(errors := StringIO()))

    assert errors.getvalue().startswith("warning: this PostgreSQL was built without ICU, so filters with icontains")


def test_the_database_of_the_tests_does_not_lack_icu(db: None) -> None:
    assert not databases.lacks_icu(connection)

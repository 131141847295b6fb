"""The first key of an installation."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

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

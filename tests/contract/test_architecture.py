"""docs/architecture.md matches the source tree: it describes every module, and every name in it exists."""

from __future__ import annotations

import re

import pytest
from django.apps import apps

from testing.processes import HOME

PACKAGES = ("somamemory", "tenants", "memories", "graph", "conversations", "operations", "api", "console")
PAGE = (HOME / "docs" / "architecture.md").read_text()
NAMED = re.findall(rf"`((?:{'|'.join(PACKAGES)}|tests|testing|docs)/[\w./-]*)`", PAGE)


def modules(package: str) -> list[str]:
    """Modules by path, without migrations and commands, which are listed on other pages."""
    found = (path.relative_to(HOME) for path in (HOME / package).rglob("*.py") if path.name != "__init__.py")
    return sorted(
        path.as_posix() for path in found if "migrations" not in path.parts and path.parent.name != "commands"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_or_its_folder_is_described(package: str) -> None:
    folders = tuple(name for name in NAMED if name.endswith("/") and name.count("/") > 1)
    missing = [path for path in modules(package) if path not in NAMED and not path.startswith(folders)]

    assert missing == [], "describe them in docs/architecture.md"


def test_everything_the_page_names_exists() -> None:
    assert [name for name in NAMED if not (HOME / name).exists()] == []


def test_every_table_is_described_and_no_other() -> None:
    tables = {model._meta.db_table for model in apps.get_models() if model._meta.db_table.startswith("sfm_")}

    assert set(re.findall(r"`(sfm_\w+)`", PAGE)) == tables

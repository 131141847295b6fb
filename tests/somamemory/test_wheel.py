"""The built wheel: it contains everything, runs without the checkout, and clashes with no other package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from somamemory import installation
from testing.processes import HOME

# A checkout's environment has the checkout on its path; an installation's does not.
CHECKOUT = {str(HOME), str(HOME / "clients" / "python" / "src")}
WITHOUT_THE_CHECKOUT = f"import sys; sys.path = [folder for folder in sys.path if folder not in {CHECKOUT}]; "


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=HOME, check=True, capture_output=True, timeout=300)
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def site(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages, with the unpacked wheel."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def run(site: Path, code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SOMA_", "XDG_", "PYTHON"))}
    variables = {**kept, "PYTHONPATH": str(site), "HOME": str(home), "DJANGO_SETTINGS_MODULE": "somamemory.settings"}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_CHECKOUT + code],
        cwd=home,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_wheel_contains_every_file_of_the_packages_and_one_top_level_package(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "somamemory", *installation.PACKAGES], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout.split()
    expected = {name if name.startswith("somamemory/") else f"somamemory/bundled/{name}" for name in listed}

    assert expected - set(wheel.namelist()) == set()
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"somamemory"}


def test_the_service_starts_from_the_wheel_with_its_data_in_the_home_folder(site: Path, tmp_path: Path) -> None:
    code = (
        "import django; django.setup(); import api.app, memories, console; from django.conf import settings; "
        "from django.template.loader import get_template; from django.contrib.staticfiles import finders; "
        "get_template('console/dashboard.html'); assert finders.find('console/console.css'); "
        "assert (settings.BASE_DIR / 'deploy' / 'gunicorn.conf.py').is_file(); "
        "print(memories.__file__); print(settings.DATA_DIR)"
    )
    done = run(site, code, tmp_path)

    assert done.stdout.split() == [
        str(site / "somamemory" / "bundled" / "memories" / "__init__.py"),
        str(tmp_path / ".local" / "share" / "somamemory"),
    ], done.stderr


def test_the_data_folder_follows_the_xdg_variable(site: Path, tmp_path: Path) -> None:
    code = "from somamemory import settings; print(settings.DATA_DIR)"

    assert run(site, code, tmp_path, XDG_DATA_HOME=str(tmp_path / "data")).stdout.strip() == str(
        tmp_path / "data" / "somamemory"
    )


def test_a_data_folder_that_cannot_be_created_is_refused_with_the_remedy(site: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(site, "import somamemory.settings", tmp_path, SOMA_DATA_DIR=str(tmp_path / "file" / "data"))

    assert "ConfigurationError: the data folder could not be created" in done.stderr
    assert "set SOMA_DATA_DIR to a folder that you can write to" in done.stderr


def test_our_processes_ignore_packages_of_other_projects(site: Path, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("")
    code = "import django; django.setup(); import api; print(api.__file__)"

    assert run(site, code, tmp_path).stdout.strip() == str(site / "somamemory" / "bundled" / "api" / "__init__.py")


@pytest.mark.parametrize("first", ["import api; ", ""], ids=["imported", "importable"])
def test_a_program_with_a_package_of_the_same_name_is_refused_with_the_remedy(
    site: Path, tmp_path: Path, first: str
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("")
    done = run(site, first + "from somamemory import installation; installation.refuse_clashes()", tmp_path)

    assert "ConfigurationError: this program has its own package 'api'" in done.stderr
    assert "'somamemory serve'" in done.stderr


def test_a_package_without_an_init_file_is_refused_too(site: Path, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "routes.py").write_text("")
    done = run(site, "from somamemory import installation; installation.refuse_clashes()", tmp_path)

    assert "ConfigurationError: this program has its own package 'api'" in done.stderr


def test_a_folder_without_modules_is_not_a_package(site: Path, tmp_path: Path) -> None:
    (tmp_path / "memories").mkdir()
    done = run(site, "from somamemory import installation; installation.refuse_clashes()", tmp_path)

    assert done.stderr == ""


def test_another_module_that_is_already_imported_is_refused_by_the_settings(site: Path, tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text("")
    done = run(site, "import graph, somamemory.settings", tmp_path)

    assert "ConfigurationError: this program has its own package 'graph'" in done.stderr


def test_the_packages_of_the_wheel_do_not_clash_with_each_other(site: Path, tmp_path: Path) -> None:
    done = run(site, "from somamemory import installation as i; i.refuse_clashes(); i.refuse_clashes()", tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("setting", "value", "extra"),
    [
        ("SOMA_DATABASE_URL", "postgres://user@127.0.0.1/name", "postgres"),
        ("SOMA_REDIS_URL", "redis://127.0.0.1", "redis"),
        ("SOMA_BROKER_URL", "redis://127.0.0.1", "worker"),
        ("SOMA_COLD_STORAGE", "s3://bucket", "s3"),
    ],
)
def test_a_setting_names_the_extra_that_it_requires(
    site: Path, tmp_path: Path, setting: str, value: str, extra: str
) -> None:
    hide = "import sys; [sys.modules.__setitem__(m, None) for m in ('psycopg', 'redis', 'celery', 'storages')]; "
    done = run(site, hide + "import somamemory.settings", tmp_path, **{setting: value})

    assert f"requires the '{extra}' extra, which is not installed; run pip install 'somamemory[{extra}]'" in done.stderr


def test_no_module_of_the_embedded_service_imports_an_extra(site: Path, tmp_path: Path) -> None:
    vendors = "psycopg redis django_redis celery openai pymilvus opentelemetry botocore django_mcpz"
    code = (
        f"import sys; [sys.modules.__setitem__(name, None) for name in '{vendors}'.split()]; "
        "import somamemory.wsgi; from django.core.management import call_command; call_command('bootstrap'); "
        "from django.test import Client; print(Client().post('/mcp', headers={'host': 'localhost'}).json()['detail'])"
    )
    done = run(site, code, tmp_path)

    assert done.returncode == 0, done.stderr
    assert "/mcp requires the 'mcp' extra, which is not installed; run pip install 'somamemory[mcp]'" in done.stdout
    assert (tmp_path / ".local" / "share" / "somamemory" / "first-key").exists()

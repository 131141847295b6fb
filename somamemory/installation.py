"""Locate this installation's own packages, and avoid name clashes with other packages.

A checkout has `api/`, `memories/` and the other packages next to `somamemory/`. The wheel has them in
`somamemory/bundled/`, because such general names would clash with other projects' packages.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path

from somamemory.errors import ConfigurationError

_PROJECT = Path(__file__).resolve().parent
_BUNDLED = _PROJECT / "bundled"
# True in an installed wheel, False in a checkout.
IS_BUNDLED = _BUNDLED.is_dir()
# The folder that contains `api/`, `memories/`, the other packages, and `deploy/gunicorn.conf.py`.
HOME = _BUNDLED if IS_BUNDLED else _PROJECT.parent
# The program name to show before a management command in messages: `somamemory` or, in a checkout, `manage.py`.
COMMAND = "somamemory" if IS_BUNDLED else "manage.py"
# The Python client, which is a separate package once installed.
_CLIENT = HOME / "clients" / "python" / "src"
PACKAGES = ("api", "console", "conversations", "graph", "memories", "operations", "tenants")

_process_is_ours = False


def activate() -> None:
    """Make the bundled packages importable, ahead of all other packages. The settings call this.

    Raises ConfigurationError if this process has already imported another package with the same name as a bundled one.
    """
    if not IS_BUNDLED:
        return
    if str(HOME) in sys.path:
        sys.path.remove(str(HOME))
    sys.path.insert(0, str(HOME))
    for name in PACKAGES:
        if (module := sys.modules.get(name)) and not _is_ours(getattr(module, "__file__", None)):
            raise _clash(name, str(getattr(module, "__file__", None)))


def use_process() -> None:
    """Declare that this process belongs to SomaMemory and runs no other program."""
    global _process_is_ours
    _process_is_ours = True
    os.environ["DJANGO_SETTINGS_MODULE"] = "somamemory.settings"  # the shell may have another project's
    activate()
    if not IS_BUNDLED and str(_CLIENT) not in sys.path:
        sys.path.append(str(_CLIENT))


def refuse_clashes() -> None:
    """Raise ConfigurationError if another program in this process has a package with the same name as one of ours.

    Otherwise, call `activate` if the service is bundled with the client.

    After `activate`, that program's own `import api` would silently import our package. Call this before the first
    import of the service in another program.
    """
    if not IS_BUNDLED or _process_is_ours:
        return
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != HOME]
    for name in PACKAGES:
        spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
        if spec and (file := spec.origin or _module_in(spec)) and not _is_ours(file):
            raise _clash(name, file)
    activate()


def _module_in(spec: importlib.machinery.ModuleSpec) -> str | None:
    """Return a module in a package without `__init__.py`, or None if it is only a folder with the same name."""
    folders = spec.submodule_search_locations or ()
    return next((str(file) for folder in folders for file in sorted(Path(folder).glob("*.py"))), None)


def _is_ours(file: str | None) -> bool:
    return file is not None and Path(file).resolve().is_relative_to(HOME)


def _clash(name: str, file: str) -> ConfigurationError:
    return ConfigurationError(
        f"this program has its own package '{name}' ({file}), and SomaMemory contains a package with the same name; "
        "run SomaMemory in a separate process with 'somamemory serve', and connect with its URL"
    )

"""Locate this installation's own packages, and avoid name clashes with other packages.

A checkout has `api/`, `memories/` and the other packages next to `somamemory/`. The wheel has them in
`somamemory/bundled/`, because such general names would clash with other projects' packages.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path

from somamemory.errors import ConfigurationError

_PROJECT = Path(__file__).resolve().parent
_BUNDLED = _PROJECT / "bundled"
# True in an installed wheel, False in a checkout.
IS_BUNDLED = _BUNDLED.is_dir()
# The folder that contains `api/`, `memories/` and the others, and `deploy/gunicorn.conf.py`.
HOME = _BUNDLED if IS_BUNDLED else _PROJECT.parent
# How messages call a management command: `somamemory backup` or, in a checkout, `manage.py backup`.
COMMAND = "somamemory" if IS_BUNDLED else "manage.py"
# The Python client, which is a separate package once installed.
_CLIENT = HOME / "clients" / "python" / "src"
PACKAGES = ("api", "console", "conversations", "graph", "memories", "operations", "tenants")

_process_is_ours = False


def activate() -> None:
    """Make the bundled packages importable, before all others. The settings call this.

    Raises ConfigurationError if this process has already imported another package with one of the names.
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
    activate()
    if not IS_BUNDLED and str(_CLIENT) not in sys.path:
        sys.path.append(str(_CLIENT))


def refuse_clashes() -> None:
    """Refuse to run inside the process of another program that has packages with our names.

    After `activate`, the program's own `import api` would silently import ours. Call this before the first import of
    the service in another program. Raises ConfigurationError.
    """
    if not IS_BUNDLED or _process_is_ours:
        return
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != HOME]
    for name in PACKAGES:
        spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
        if spec and spec.origin and not _is_ours(spec.origin):
            raise _clash(name, spec.origin)
    activate()


def _is_ours(file: str | None) -> bool:
    return file is not None and Path(file).resolve().is_relative_to(HOME)


def _clash(name: str, file: str) -> ConfigurationError:
    return ConfigurationError(
        f"this program has its own package '{name}' ({file}), and SomaMemory contains a package with the same name; "
        "run SomaMemory in a separate process with 'somamemory serve', and connect with its URL"
    )

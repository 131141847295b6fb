"""The commands of `somamemory`."""

from __future__ import annotations


def run() -> None:
    import os
    import sys

    from django.core.management import execute_from_command_line

    from somamemory import files

    files.create_privately()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    execute_from_command_line(sys.argv)

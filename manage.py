#!/usr/bin/env python3
"""Django's command line: `python manage.py help`."""

import os
import sys

from django.core.management import BaseCommand, execute_from_command_line

from somamemory import files
from somamemory.errors import ConfigurationError
from somamemory.management import existing_database

if __name__ == "__main__":
    files.create_privately()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    # Every command runs the checks in somamemory/checks.py. Those of Django look for mistakes in the code, import every
    # route and page, and double the CPU time of a command, so only `check` runs them.
    BaseCommand.requires_system_checks = ["soma"]
    try:
        existing_database.require(sys.argv[1:])
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(f"error: {error}")

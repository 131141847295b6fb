#!/usr/bin/env python3
"""Django's command line: `python manage.py help`."""

import os
import sys

from django.core.management import execute_from_command_line

from somamemory import files
from somamemory.errors import ConfigurationError
from somamemory.management import existing_database

if __name__ == "__main__":
    files.create_privately()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    try:
        existing_database.require(sys.argv[1:])
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(f"error: {error}")

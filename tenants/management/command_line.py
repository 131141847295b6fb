"""Helpers for all commands: the caller they act as, and how they report errors."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.core.management.base import CommandError
from django.db import DatabaseError

from somamemory.errors import ConfigurationError, SomaError
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.models import DEFAULT_TENANT_SLUG


def operator() -> Caller:
    """Return the caller for a command. Access to a shell on the server implies operator permissions."""
    return Caller.command(find_tenant(DEFAULT_TENANT_SLUG))


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return an argument type that accepts only whole numbers in a range."""

    def parsed(text: str) -> int:
        with suppress(ValueError):
            if lowest <= int(text) <= highest:
                return int(text)
        raise ArgumentTypeError(f"must be a whole number from {lowest:,} to {highest:,}, not {text[:50]!r}")

    return parsed


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Report our own errors, file errors and database errors as one line. `--traceback` shows the cause."""
    try:
        yield
    except SomaError as error:
        raise CommandError(error.detail) from None
    except (ConfigurationError, OSError) as error:
        raise CommandError(str(error)) from None
    except DatabaseError as error:
        raise CommandError(f"the database reports: {' '.join(str(error).split())}") from error

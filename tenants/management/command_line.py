"""Helpers for all commands: the caller they act as, and how they report errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from somamemory.errors import ConfigurationError, SomaError
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.models import DEFAULT_TENANT_SLUG


def operator() -> Caller:
    """Return the caller for a command. Access to a shell on the server implies operator permissions."""
    return Caller.command(find_tenant(DEFAULT_TENANT_SLUG))


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Report our own errors and file errors as one line, without a traceback."""
    try:
        yield
    except SomaError as error:
        raise CommandError(error.detail) from None
    except (ConfigurationError, OSError) as error:
        raise CommandError(str(error)) from None

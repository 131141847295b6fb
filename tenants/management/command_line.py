"""What the commands of this folder share: who runs them, and how they say what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from somamemory.errors import ConfigurationError, SomaError
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.models import DEFAULT_TENANT_SLUG


def operator() -> Caller:
    """Whoever has a shell on the server runs the installation."""
    return Caller.command(find_tenant(DEFAULT_TENANT_SLUG))


@contextmanager
def speaking_errors() -> Iterator[None]:
    """Our errors, and those of files, as one clear line instead of a traceback."""
    try:
        yield
    except SomaError as error:
        raise CommandError(error.detail) from None
    except (ConfigurationError, OSError) as error:
        raise CommandError(str(error)) from None
